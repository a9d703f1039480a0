"""Methods: what an evaluation over time compares. A method takes the tokens of every frame and gives features.

A method keeps what it likes from frame to frame. What it says of a step, that tokens were encoded, is
believed; whether what it reused was still true is checked from outside, see `outside`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from texvlm.encoders import Encoder
from texvlm.encoders.features import Features
from texvlm.engine import Engine
from texvlm.frames import Frame
from texvlm.tokens import TokenBatch

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, slots=True, eq=False)
class Moment:
    """What lies around the tokens of one frame time, for methods that want more than tokens.

    Attributes:
        index: of the frame, 0-based, in the clip as it is played.
        frames: of each source, in the order of the batch's views.
        engine: holds them; its mips may be read.
    """

    index: int
    frames: tuple[Frame, ...]
    engine: Engine


@dataclass(frozen=True, slots=True, eq=False)
class Step:
    """What a method did with one batch.

    Attributes:
        features: of all tokens of the batch, reused ones included.
        encoded: bool, (views, tokens): the features come from the pixels of this frame.
        moved: bool, (views, tokens): reused from another place; None for nowhere.
        work, work_full: multiply-adds spent, and those of encoding all; in one unit.
        level: what was done, for the report: "full", "L2", ...
        deviation: the method's own word for how far the pixels lie from those encoded, fraction of full
            scale, (views, tokens); None for no word.
    """

    features: Features
    encoded: NDArray[np.bool_]
    work: float
    work_full: float
    level: str
    moved: NDArray[np.bool_] | None = None
    deviation: NDArray[np.float32] | None = None


class Method(Protocol):
    """One contestant, with its state."""

    @property
    def name(self) -> str:
        """For reports and `--methods`."""

    def begin(self, encoder: Encoder, sources: int) -> None:
        """Forget all; the next steps are of so many sources, one view each, always in the same order."""

    def step(self, batch: TokenBatch, moment: Moment) -> Step:
        """Features of the next frame of every source."""

    def state_bytes(self) -> int:
        """What it keeps now, of all sources together."""


@runtime_checkable
class Guided(Protocol):
    """A method whose gates look at features, timed on a model without trained weights.

    It follows a trained model on the same tokens and works on as many rows of every block as that does.
    """

    def follow(self, encoder: Encoder, guide: Encoder) -> None:
        """After `begin`: encode with one, decide with the other."""

    def rehearse(self, batch: TokenBatch) -> None:
        """Before each `step`, and not timed: let the guide decide."""


Methods = Mapping[str, Callable[[], Method]]
"""Makers by name."""


def tensor_bytes(*tensors: torch.Tensor | None) -> int:
    """Bytes of the numbers in some tensors."""
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors if tensor is not None)


def choose(methods: Methods, wanted: tuple[str, ...]) -> list[Method]:
    """New methods by name, those of the names that there are; all for no names."""
    return [make() for name, make in methods.items() if not wanted or name in wanted]
