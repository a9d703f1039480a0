"""The bound on reused tokens, checked from outside: what a method says is not asked.

Only which tokens it encoded is taken from it. The pixels of that moment are kept here, and every
later frame of a reused token is held against them.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from texvlm.evaluation.temporal.methods import Step
from texvlm.tokens import TokenBatch


class OutsideCheck:
    """Of one method on one clip; all views together.

    Args:
        scale: deviation that each channel's pixels were divided by, (channels, 1, 1).

    Attributes:
        worst_mean: largest mean |pixels now - pixels encoded| of a reused token, fraction of full scale.
        worst_max: largest of any of its pixels.
        worst_age: most frames since a reused token was encoded.
    """

    def __init__(self, scale: torch.Tensor) -> None:
        self._scale = scale
        self._kept: torch.Tensor | None = None
        self._known: torch.Tensor | None = None
        self._ages: NDArray[np.int64] | None = None
        self.worst_mean = 0.0
        self.worst_max = 0.0
        self.worst_age = 0

    def add(self, batch: TokenBatch, step: Step) -> None:
        """Look at one step.

        Raises:
            ValueError: the first step reuses tokens, or a mask has the wrong shape.
        """
        used = (~batch.is_padding).cpu()
        encoded = torch.from_numpy(step.encoded)
        if encoded.shape != used.shape:
            raise ValueError(f"a mask of {tuple(encoded.shape)} for {tuple(used.shape)} tokens")
        pixels = batch.pixels.cpu()
        if self._kept is None or self._known is None or self._ages is None:
            if not bool(encoded[used].all()):
                raise ValueError("the first step reuses tokens, but nothing was encoded before it")
            self._kept, self._known = pixels.clone(), used.clone()
            self._ages = np.zeros(encoded.shape, np.int64)
            return
        if step.moved is not None:  # from elsewhere: no pixels of this place to hold it against
            self._known &= ~torch.from_numpy(step.moved)
        self._kept[encoded] = pixels[encoded]
        self._known |= encoded
        self._ages = np.where(step.encoded, 0, self._ages + 1)
        reused = used & ~encoded
        if bool(reused.any()):
            self.worst_age = max(self.worst_age, int(self._ages[reused.numpy()].max()))
        here = reused & self._known
        if bool(here.any()):
            change = (pixels[here] - self._kept[here]).abs() * self._scale
            self.worst_mean = max(self.worst_mean, float(change.mean(dim=(1, 2, 3)).max()))
            self.worst_max = max(self.worst_max, float(change.max()))
