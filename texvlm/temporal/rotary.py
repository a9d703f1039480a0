"""Rotary positions on some of the rows of attention."""

from __future__ import annotations

import torch

Rotations = tuple[torch.Tensor, torch.Tensor]
"""Cosine and sine for queries and keys of the last rows of each view, (views, 1, turned rows, head width) each."""


def turned(states: torch.Tensor, cosine: torch.Tensor, sine: torch.Tensor) -> torch.Tensor:
    """Rotary positions on the last rows of (views, heads, rows, head width); rows before those stay.

    Source:
        Su et al., RoFormer, 2021, with the two halves of a head as the parts of each pair.
    """
    before = states.shape[-2] - cosine.shape[-2]
    prefix, tokens = states[..., :before, :], states[..., before:, :]
    first, second = tokens.chunk(2, dim=-1)
    return torch.cat([prefix, tokens * cosine + torch.cat([-second, first], dim=-1) * sine], dim=-2)
