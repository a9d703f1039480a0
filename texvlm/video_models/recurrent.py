"""A recurrent head: a gated state for each token, whose reading is taken off the token.

A gated recurrent unit (Cho et al., 2014) that all tokens share; its state is small, and what it says
goes back to the token's width through a projection that starts at zero.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import nn

from texvlm.video_models.head import State, TemporalHead, check_at_least, zeroed


class RecurrentHead(TemporalHead):
    """A gated recurrent unit per token; see the module.

    Args:
        width: numbers a token.
        hidden: numbers remembered of each token.
    """

    def __init__(self, width: int, *, hidden: int = 64) -> None:
        super().__init__(width)
        self.hidden = check_at_least("hidden", hidden, 1)
        self.norm = nn.LayerNorm(width)
        self.cell = nn.GRUCell(width + 1, hidden)  # the token and its age
        self.out = zeroed(nn.Linear(hidden + width, width))

    @property
    def options(self) -> dict[str, int]:
        """See TemporalHead."""
        return {"width": self.width, "hidden": self.hidden}

    def memory(self) -> tuple[tuple[int, ...], ...]:
        """The unit's state."""
        return ((self.hidden,),)

    def correction(self, tokens: torch.Tensor, state: State, ages: torch.Tensor) -> tuple[torch.Tensor, State]:
        """See TemporalHead."""
        (before,) = state
        normed = self.norm(tokens)
        seen = torch.cat([normed, ages.log1p()[..., None]], dim=-1)
        after = self.cell(seen.flatten(0, 1), before.flatten(0, 1)).reshape(before.shape)
        return cast(torch.Tensor, self.out(torch.cat([after, normed], dim=-1))), (after,)
