"""Attention on the CPU, and the logarithms of the sums of weights that its softmax divides by."""

from __future__ import annotations

import logging
from functools import cache

import torch

_log = logging.getLogger(__name__)

_KERNEL = getattr(torch.ops.aten, "_scaled_dot_product_flash_attention_for_cpu", None)
"""What scaled_dot_product_attention calls on CPUs, which drops the logarithms. torch does not promise to keep it."""


def attend(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, *, bias: torch.Tensor | None, scaling: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Attention by the fastest way that is right with the torch that is there.

    Args:
        query: (views, heads, queries, head width), float32.
        key: (views, heads, keys, head width).
        value: likewise.
        bias: added to the scores, (1, 1, 1, keys); None without.
        scaling: of the scores.
    Returns:
        Weighted means of values, shaped like the queries, and logarithms of the sums of weights,
        (views, heads, queries).
    """
    way = fused if fused_is_right() else plain
    return way(query, key, value, bias=bias, scaling=scaling)


def fused(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, *, bias: torch.Tensor | None, scaling: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """See `attend`: in torch's own kernel."""
    if _KERNEL is None:
        raise NotImplementedError("this torch has no kernel that tells the sums of attention")
    mixed, sums = _KERNEL(query, key, value, attn_mask=bias, scale=scaling)
    return mixed, sums


def plain(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, *, bias: torch.Tensor | None, scaling: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """See `attend`: by its definition."""
    scores = scaling * query @ key.transpose(2, 3)
    if bias is not None:
        scores += bias
    sums = scores.logsumexp(dim=-1)
    return scores.sub_(sums[..., None]).exp_() @ value, sums


@cache
def fused_is_right() -> bool:
    """Whether torch's kernel takes what it is given here and answers by the definition; asked once a process."""
    random = torch.Generator().manual_seed(0)
    query, key, value = torch.randn(3, 1, 2, 5, 4, generator=random, dtype=torch.float32, device="cpu")
    hidden = query.new_zeros(1, 1, 1, 5)
    hidden[..., -1] = -torch.inf
    try:
        for bias in (None, hidden):
            ways = (way(query, key, value, bias=bias, scaling=0.4) for way in (fused, plain))
            for found, expected in zip(*ways, strict=True):
                torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)
    except Exception as refusal:  # another signature, other answers: whatever a torch may do that nobody has seen
        why = str(refusal).partition("\n")[0]
        _log.info("attention over time is computed by its definition, more slowly: %s", why)
        return False
    return True
