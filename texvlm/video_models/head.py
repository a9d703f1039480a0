"""TemporalHead: what all heads over time share.

A head takes the tokens of one frame and what it remembers of earlier ones, and gives corrected tokens
of that frame: causal, one step a frame. Everything that it remembers is per token, and zeros mean
"nothing seen yet". A source that is new, a cut, and a token whose place moved are therefore one and
the same thing: rows of the state set to zero.

Every head starts as the identity, bit for bit: put behind a pretrained encoder it changes nothing
until it has learned something.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import nn

State = tuple[torch.Tensor, ...]
"""What a head remembers: tensors (views, tokens, ...)."""


class TemporalHead(nn.Module, ABC):
    """A small model over time, behind an encoder.

    Args:
        width: numbers a token.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = check_at_least("width", width, 1)

    # ------------------------------------------------------------------ what a head supplies

    @abstractmethod
    def memory(self) -> tuple[tuple[int, ...], ...]:
        """Shape of each tensor of the state, for one token."""

    @abstractmethod
    def correction(self, tokens: torch.Tensor, state: State, ages: torch.Tensor) -> tuple[torch.Tensor, State]:
        """What is to be taken off the tokens, like them, and the next state; zero before any training.

        Args:
            tokens: (views, tokens, width), in the head's element type.
            state: as `memory` says.
            ages: frames since each token was encoded, (views, tokens).
        """

    @property
    @abstractmethod
    def options(self) -> dict[str, int]:
        """Keyword arguments that make another head of this shape."""

    # ------------------------------------------------------------------ what a caller uses

    @property
    def dtype(self) -> torch.dtype:
        """Element type of the parameters, and of the state."""
        return next(self.parameters()).dtype

    def begin(self, views: int, tokens: int) -> State:
        """The state of views of which nothing was seen, on the head's device."""
        like = next(self.parameters())
        return tuple(like.new_zeros(views, tokens, *shape) for shape in self.memory())

    def step(
        self,
        tokens: torch.Tensor,
        state: State | None = None,
        *,
        fresh: torch.Tensor | None = None,
        ages: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor, State]:
        """Corrected tokens of one frame, and the state for the next one. Neither argument is written.

        Args:
            tokens: (views, tokens, width); row i of a view stands for the same place as in the frame before.
            state: what the last step returned; None for a first frame.
            fresh: bool, (views,) or (views, tokens): rows whose past must not count (cut, new source, new place).
            ages: frames since each token was encoded, (views, tokens), where tokens are reused; None for 0.
        Raises:
            ValueError: shapes that disagree, or a negative age.
            TypeError: tokens that are no floats, or a mask that is not bool.
        """
        self._check(tokens)
        views, count = tokens.shape[:2]
        state = self.begin(views, count) if state is None else self._checked(state, tokens)
        if fresh is not None:
            state = forget(state, _mask(fresh, tokens))
        if ages is None:
            ages = tokens.new_zeros(views, count, dtype=self.dtype)
        elif tuple(ages.shape) != (views, count) or (not ages.is_cuda and bool((ages < 0).any())):
            # on a device a look at the numbers would wait for it
            raise ValueError(f"ages of shape {tuple(ages.shape)}; need {(views, count)}, each 0 or more frames")
        found, state = self.correction(tokens.to(self.dtype), state, ages.to(self.dtype))
        return take_off(tokens, found), state

    def forward(
        self, clip: torch.Tensor, *, cuts: torch.Tensor | None = None, ages: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Corrected tokens of whole clips: `step` from the first frame to the last.

        Args:
            clip: (views, frames, tokens, width).
            cuts: bool, (views, frames): first frames of shots; None where the clips hold one shot.
            ages: as for `step`, (views, frames, tokens).
        Raises:
            ValueError, TypeError: as for `step`.
        """
        if clip.ndim != 4:
            raise ValueError(f"clip of shape {tuple(clip.shape)}; need (views, frames, tokens, width)")
        for name, part, lead in (("cuts", cuts, 2), ("ages", ages, 3)):
            if part is not None and part.shape != clip.shape[:lead]:
                raise ValueError(f"{name} of shape {tuple(part.shape)}; need {tuple(clip.shape[:lead])}")
        state, found = None, []
        for frame in range(clip.shape[1]):
            tokens, state = self.step(
                clip[:, frame],
                state,
                fresh=None if cuts is None else cuts[:, frame],
                ages=None if ages is None else ages[:, frame],
            )
            found.append(tokens)
        return torch.stack(found, dim=1)

    def _check(self, tokens: torch.Tensor) -> None:
        if tokens.ndim != 3 or tokens.shape[2] != self.width:
            raise ValueError(f"tokens of shape {tuple(tokens.shape)}; this head takes (views, tokens, {self.width})")
        if not tokens.is_floating_point():
            raise TypeError(f"tokens of {tokens.dtype}; give an encoder's features, which are floats")

    def _checked(self, state: State, tokens: torch.Tensor) -> State:
        lead = tuple(tokens.shape[:2])
        wanted = [(*lead, *shape) for shape in self.memory()]
        if (seen := [tuple(part.shape) for part in state]) != wanted:
            raise ValueError(f"state of shapes {seen}; tokens {lead} need {wanted}: begin anew with state=None")
        return state


def take_off(tokens: torch.Tensor, correction: torch.Tensor) -> torch.Tensor:
    """Tokens less a correction; where that is zero the very same bits, those of -0.0 too."""
    # x - 0.0 is x for every x, while -0.0 + 0.0 is 0.0; adding 0.0 makes each zero of the correction positive
    return tokens - (correction + 0.0).to(tokens.dtype)


def forget(state: State, fresh: torch.Tensor) -> State:
    """The state with the rows of a mask (views, tokens) as if nothing had been seen."""
    return tuple(part.masked_fill(fresh.reshape(*fresh.shape, *[1] * (part.ndim - 2)), 0) for part in state)


def zeroed(layer: nn.Linear) -> nn.Linear:
    """The layer, giving zero for everything until it is trained."""
    nn.init.zeros_(layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


def check_at_least(name: str, value: int, least: int) -> int:
    """A whole number that is not below `least`; ValueError or TypeError otherwise."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} is {value!r}; give a whole number of {least} or more")
    if value < least:
        raise ValueError(f"{name} is {value}; it must be {least} or more")
    return value


def _mask(fresh: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
    """A mask over views, or over tokens, as one over tokens."""
    if fresh.dtype != torch.bool:
        raise TypeError(f"fresh of {fresh.dtype}; give a bool mask of the rows whose past must not count")
    if fresh.shape == tokens.shape[:1]:
        fresh = fresh[:, None].expand(tokens.shape[:2])
    if fresh.shape != tokens.shape[:2]:
        views, count = tokens.shape[:2]
        raise ValueError(f"fresh of shape {tuple(fresh.shape)}; need ({views},) or ({views}, {count})")
    return fresh.to(tokens.device)
