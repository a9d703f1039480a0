"""Aggregation: each token as a weighted mean of what it was in the last frames, with learned weights.

The newest token asks, the same token of each remembered frame answers: a softmax over at most
`frames` of them, per head of channels, from how well they match and how old they are. What is missing
(before the first frame, behind a cut) has no weight. A learned share per channel says how far a token
goes from what it is now towards that mean; it starts at 0.
"""

from __future__ import annotations

import math

import torch
from torch import nn

from texvlm.video_models.head import State, TemporalHead, check_at_least

HIDDEN = 16
"""Width of the little network that turns an age into a bias; an age is one number."""


class FrameAggregation(TemporalHead):
    """Weighs the last frames' tokens; see the module.

    Args:
        width: numbers a token.
        frames: how many frames count, the newest with them.
        heads: groups of channels with weights of their own; divides the width.
        keys: numbers that a head compares by.
    """

    def __init__(self, width: int, *, frames: int = 4, heads: int = 4, keys: int = 16) -> None:
        super().__init__(width)
        self.frames = check_at_least("frames", frames, 2)
        self.heads = check_at_least("heads", heads, 1)
        self.keys = check_at_least("keys", keys, 1)
        if width % heads:
            raise ValueError(f"{heads} heads for a width of {width}; the width must be a multiple of them")
        self.norm = nn.LayerNorm(width)
        self.ask = nn.Linear(width, heads * keys)
        self.answer = nn.Linear(width, heads * keys, bias=False)  # a bias would shift all frames alike
        self.age_bias = nn.Sequential(nn.Linear(1, HIDDEN), nn.GELU(), nn.Linear(HIDDEN, heads, bias=False))
        self.share = nn.Parameter(torch.zeros(width))

    @property
    def options(self) -> dict[str, int]:
        """See TemporalHead."""
        return {"width": self.width, "frames": self.frames, "heads": self.heads, "keys": self.keys}

    def memory(self) -> tuple[tuple[int, ...], ...]:
        """Tokens of earlier frames, newest first; and 1 + age of each, 0 where there is none."""
        return (self.frames - 1, self.width), (self.frames - 1,)

    def weights(self, tokens: torch.Tensor, state: State, ages: torch.Tensor) -> torch.Tensor:
        """Weight of each frame, newest first, (views, tokens, heads, frames); they sum to 1.

        Args:
            tokens: as for `correction`.
            state: likewise.
            ages: likewise.
        """
        kept, counts = _with_newest(tokens, state, ages)
        lead = tokens.shape[:2]
        asked = self.ask(self.norm(tokens)).reshape(*lead, self.heads, self.keys)
        answers = self.answer(self.norm(kept)).reshape(*lead, self.frames, self.heads, self.keys)
        scores = torch.einsum("vthk,vtfhk->vthf", asked, answers) / math.sqrt(self.keys)
        # ages span from one frame to minutes: their logarithm is what a small network can read
        scores = scores + self.age_bias(counts.clamp_min(1).log()[..., None]).transpose(2, 3)
        weights: torch.Tensor = scores.masked_fill((counts == 0)[:, :, None], -math.inf).softmax(dim=-1)
        return weights

    def correction(self, tokens: torch.Tensor, state: State, ages: torch.Tensor) -> tuple[torch.Tensor, State]:
        """See TemporalHead."""
        weights = self.weights(tokens, state, ages)
        kept, counts = _with_newest(tokens, state, ages)
        grouped = kept.reshape(*kept.shape[:3], self.heads, -1)
        mean = torch.einsum("vthf,vtfhc->vthc", weights, grouped).flatten(2)
        counts = counts[:, :, :-1]
        older = torch.where(counts > 0, counts + 1, counts)  # a frame later
        return self.share * (tokens - mean), (kept[:, :, :-1], older)


def _with_newest(tokens: torch.Tensor, state: State, ages: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Tokens of all frames, newest first, and 1 + age of each."""
    past, counts = state
    return torch.cat([tokens[:, :, None], past], dim=2), torch.cat([ages[:, :, None] + 1, counts], dim=2)
