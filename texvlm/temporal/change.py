"""Which tokens are stale: their pixels, against those that were last encoded.

Not against the frame before: a slow fade adds up until it counts. So for every token that is reused,
|pixels now - pixels encoded| <= threshold and age < max_age, whatever happened in between.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch

from texvlm.temporal._change_kernel import mean_change

Measure = Literal["mean", "max"]
"""Of the absolute differences of a token's pixels and channels: their mean, or the greatest one."""


@dataclass(frozen=True, slots=True)
class ChangeRule:
    """When a token is encoded anew.

    Attributes:
        threshold: steps of 255, >= 0; a token whose change exceeds it is stale. With 0, all tokens of a
            view are stale as soon as one of them is, so that none is encoded without the others.
        measure: how the change of a token is measured.
        max_age: frames; a token this old is stale whatever its pixels; None for no limit.
        refresh: tokens that get their turn in each frame of a view, oldest first.
    """

    threshold: float = 1.0
    measure: Measure = "mean"
    max_age: int | None = None
    refresh: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.threshold <= 255:
            raise ValueError(f"threshold {self.threshold}; accepted: 0..255, steps of 255")
        if self.measure not in ("mean", "max"):
            raise ValueError(f"measure {self.measure!r}; accepted: 'mean', 'max'")
        if self.max_age is not None and self.max_age < 1:
            raise ValueError(f"max_age of {self.max_age} frames; accepted: 1 or more, or None")
        if self.refresh < 0 or self.refresh != int(self.refresh):
            raise ValueError(f"refresh of {self.refresh} tokens a frame; accepted: 0 or more")

    def stale(self, change: torch.Tensor, ages: torch.Tensor) -> torch.Tensor:
        """Bool, (tokens,): tokens to encode, by what is measured alone.

        Args:
            change: of each token, steps of 255, (tokens,); infinite for one that was never encoded.
            ages: frames since each was encoded, were it reused now, (tokens,).
        """
        stale = ~(change <= self.threshold)  # pixels that are no numbers are stale, too
        if self.max_age is not None:
            stale |= ages >= self.max_age
        if self.refresh:
            waiting = ages.masked_fill(stale, -1)
            turn = waiting.topk(min(self.refresh, len(waiting))).indices
            stale[turn] = True
        return stale if self.threshold else stale.any().expand(len(stale)).clone()


def token_change(
    now: torch.Tensor, encoded: torch.Tensor, *, measure: Measure, std: Sequence[float] | None = None
) -> torch.Tensor:
    """How far tokens lie from others, steps of 255, float32, (tokens,).

    Args:
        now: (tokens, channels, patch, patch), uint8, or floats normalised with `std`.
        encoded: likewise, of the same type.
        measure: mean or greatest absolute difference.
        std: per channel, of full scale, by which floats were divided; None for floats of full scale 1.
    """
    if now.dtype == torch.uint8 and now.device.type == "cpu" and measure == "mean" and now.numel():
        count = now[0].numel()
        change = torch.empty(len(now), dtype=torch.float32)
        mean_change(now.reshape(-1, count).numpy(), encoded.reshape(-1, count).numpy(), change.numpy())
        return change
    if now.dtype == torch.uint8:
        difference = (now.to(torch.int16) - encoded.to(torch.int16)).abs_().float()
    else:
        difference = (now.float() - encoded.float()).abs_()
        scale = torch.full((now.shape[1],), 1.0) if std is None else torch.tensor(std, dtype=torch.float32)
        difference *= (255 * scale).to(now.device)[:, None, None]
    flat = difference.flatten(1)
    return flat.mean(dim=1) if measure == "mean" else flat.amax(dim=1)
