"""A shift head: some channels come from the frame before, and a small network mixes them in.

The causal temporal shift of Lin, Gan and Han (TSM, ICCV 2019), in the residual branch: nothing is
computed for time itself, only kept. Each block looks one frame further back.
"""

from __future__ import annotations

import torch
from torch import nn

from texvlm.video_models.head import State, TemporalHead, check_at_least, take_off, zeroed


class ShiftHead(TemporalHead):
    """Blocks of norm, shift and a two-layer network; see the module. Ages do not matter to it.

    Args:
        width: numbers a token.
        blocks: how many; the head looks back as many frames.
        hidden: width of each block's network.
        part: one channel of so many comes from the frame before; the paper's online model uses 8.
    """

    def __init__(self, width: int, *, blocks: int = 2, hidden: int = 128, part: int = 8) -> None:
        super().__init__(width)
        self.part = check_at_least("part", part, 1)
        self.shifted = width // part
        if not self.shifted:
            raise ValueError(f"one channel of {part} to shift, of {width}; part must be {width} or less")
        self.hidden = check_at_least("hidden", hidden, 1)
        self.blocks = nn.ModuleList(_Block(width, hidden) for _ in range(check_at_least("blocks", blocks, 1)))

    @property
    def options(self) -> dict[str, int]:
        """See TemporalHead."""
        return {"width": self.width, "blocks": len(self.blocks), "hidden": self.hidden, "part": self.part}

    def memory(self) -> tuple[tuple[int, ...], ...]:
        """The channels that each block shifts; and 1 where there was a frame."""
        return (len(self.blocks), self.shifted), (1,)

    def correction(self, tokens: torch.Tensor, state: State, ages: torch.Tensor) -> tuple[torch.Tensor, State]:
        """See TemporalHead."""
        past, seen = state
        total, kept = torch.zeros_like(tokens), []
        for number, block in enumerate(self.blocks):
            assert isinstance(block, _Block)
            normed = block.norm(take_off(tokens, total))
            own = normed[..., : self.shifted]
            # without a frame before, a token is its own: as if the picture had stood still
            before = torch.where(seen > 0, past[:, :, number], own)
            total = total + block.mix(torch.cat([before, normed[..., self.shifted :]], dim=-1))
            kept.append(own)
        return total, (torch.stack(kept, dim=2), torch.ones_like(seen))


class _Block(nn.Module):
    """Norm and network of one block; what lies between them, the shift, needs the state."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.mix = nn.Sequential(nn.Linear(width, hidden), nn.GELU(), zeroed(nn.Linear(hidden, width)))
