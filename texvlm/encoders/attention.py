"""Who attends to whom: padding that nobody sees, and read-outs that see their region only.

Masks are additive biases, added to the scores before the softmax: 0 lets through, the least finite
number hides, log(w) makes a token count w times. They go into the model's own blocks through their
`attention_mask`. The order of rows is

    class token, registers | read-outs | tokens        (the first two groups are the prefix)

Read-outs stand before the tokens because blocks with rotary positions take the last rows for patches.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from texvlm.encoders.geometry import Geometry
from texvlm.errors import ModelError

MASKED_KINDS = ("sdpa", "eager")
"""Attention implementations of transformers that take an additive bias."""


@dataclass(frozen=True, slots=True)
class Attention:
    """Biases of one forward pass.

    Attributes:
        prefix: rows before the tokens, the class token first; read-outs not counted. 0 without.
        regions: read-outs a view.
        hidden: (views, 1, 1, prefix + tokens), hides padding; None where there is none.
        reading: (views, regions, tokens): log weight of each token for each read-out; None without.
        joint: (views, 1, rows, rows) over prefix, read-outs and tokens; None without read-outs or prefix.
        from_block: first block in which the read-outs take part.
    """

    prefix: int
    regions: int
    hidden: torch.Tensor | None
    reading: torch.Tensor | None
    joint: torch.Tensor | None
    from_block: int


def plan_attention(
    geometry: Geometry,
    *,
    prefix: int,
    dtype: torch.dtype,
    weights: torch.Tensor | None = None,
    from_block: int = 0,
) -> Attention:
    """Biases for tokens and, where weights are given, read-outs.

    Args:
        geometry: of the tokens.
        prefix: rows before them: class token first, then registers; 0 for a model without.
        dtype: of the model.
        weights: (views, regions, tokens), >= 0: how much each token counts for each read-out.
        from_block: see Attention.
    """
    least = torch.finfo(dtype).min
    padding = geometry.padding
    views = padding.shape[0]
    hidden = None
    if not geometry.full:
        hidden = _bias(torch.cat([padding.new_zeros(views, prefix), padding], dim=1), dtype)[:, None, None]
    if weights is None:
        return Attention(prefix, 0, hidden, None, None, from_block)
    reading = weights.log().clamp_min(least).to(dtype).masked_fill(padding[:, None], least)
    regions = int(weights.shape[1])
    if not prefix:
        return Attention(prefix, regions, hidden, reading, None, from_block)
    # ordinary rows see everything but read-outs and padding
    unseen = torch.cat([padding.new_zeros(views, prefix), padding.new_ones(views, regions), padding], dim=1)
    ordinary = _bias(unseen, dtype)[:, None]
    # a read-out stands for the class token: it sees itself instead of that, the registers, and its tokens
    itself = _bias(~torch.eye(regions, dtype=torch.bool, device=padding.device), dtype)
    before = _bias(torch.arange(prefix, device=padding.device) == 0, dtype)
    own = torch.cat([before.expand(views, regions, prefix), itself.expand(views, regions, regions), reading], dim=2)
    tokens = padding.shape[1]
    joint = torch.cat([ordinary.expand(-1, prefix, -1), own, ordinary.expand(-1, tokens, -1)], dim=1)
    return Attention(prefix, regions, hidden, reading, joint[:, None], from_block)


def _bias(unseen: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """0 where false, the least finite number where true: a row that sees nothing then stays finite."""
    return torch.zeros_like(unseen, dtype=dtype).masked_fill(unseen, torch.finfo(dtype).min)


def run_blocks(
    blocks: Iterable[nn.Module], hidden: torch.Tensor, attention: Attention, **arguments: Any
) -> torch.Tensor:
    """A model's own blocks, one after the other, with padding hidden and read-outs put in.

    Args:
        blocks: each called as `block(hidden, attention_mask=..., **arguments)`.
        hidden: (views, prefix + tokens, width).
        attention: see `plan_attention`.
        **arguments: for every block, such as rotary positions of the tokens.
    Raises:
        ValueError: the read-outs start after the last block.
    Returns:
        (views, prefix + read-outs + tokens, width); read-outs are there only where the model has a prefix.
    """
    inserted = attention.joint is None
    number = -1
    for number, block in enumerate(blocks):
        if not inserted and number == attention.from_block:
            prefix = attention.prefix
            copies = hidden[:, :1].expand(-1, attention.regions, -1)
            hidden = torch.cat([hidden[:, :prefix], copies, hidden[:, prefix:]], dim=1)
            inserted = True
        mask = attention.joint if inserted and attention.joint is not None else attention.hidden
        result = block(hidden, attention_mask=mask, **arguments)
        hidden = result[0] if isinstance(result, tuple) else result
    if not inserted:
        raise ValueError(f"from_block is {attention.from_block}; the model has blocks 0..{number}")
    return hidden


def check_takes_masks(model: nn.Module) -> None:
    """ModelError unless the model's attention takes an additive bias."""
    kind = getattr(getattr(model, "config", None), "_attn_implementation", None)
    if kind is not None and kind not in MASKED_KINDS:
        raise ModelError(
            f"attention {kind!r} of {type(model).__name__} takes no mask, which padding and read-outs need; "
            "call model.set_attn_implementation('sdpa') first"
        )
