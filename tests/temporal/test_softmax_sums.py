"""Attention and the sums that it is divided by: torch's kernel and the definition, and which one is taken."""

from __future__ import annotations

import logging

import pytest
import torch

from texvlm.temporal import softmax_sums
from texvlm.temporal.kept_attention import KeptAttention
from texvlm.temporal.softmax_sums import attend, fused, fused_is_right, plain

VIEWS, HEADS, QUERIES, KEYS, WIDE = 2, 3, 7, 11, 4


@pytest.fixture(autouse=True)
def _asked_anew():
    fused_is_right.cache_clear()
    yield
    fused_is_right.cache_clear()


def states():
    random = torch.Generator().manual_seed(1)
    return [torch.randn(VIEWS, HEADS, rows, WIDE, generator=random) for rows in (QUERIES, KEYS, KEYS)]


def by_loops(query, key, value, bias, scaling):
    mixed, sums = torch.empty_like(query).double(), torch.empty(query.shape[:3]).double()
    for place in torch.cartesian_prod(*(torch.arange(size) for size in query.shape[:3])).tolist():
        view, head, row = place
        scores = scaling * (key[view, head].double() @ query[view, head, row].double())
        weights = (scores + bias).exp()
        mixed[view, head, row] = weights @ value[view, head].double() / weights.sum()
        sums[view, head, row] = weights.sum().log()
    return mixed.float(), sums.float()


@pytest.mark.parametrize("way", [fused, plain, attend])
@pytest.mark.parametrize("hidden", [0, 4])
def test_every_way_gives_the_definition(way, hidden):
    """Of states as they are kept, too: heads side by side in a row."""
    bias = torch.zeros(1, 1, 1, KEYS)
    bias[..., KEYS - hidden :] = -torch.inf
    expected = by_loops(*states(), bias[0, 0, 0].double(), 0.3)
    side_by_side = [part.transpose(1, 2).contiguous().transpose(1, 2) for part in states()]
    for given in (states(), side_by_side):
        for found, wanted in zip(way(*given, bias=bias if hidden else None, scaling=0.3), expected, strict=True):
            torch.testing.assert_close(found, wanted, rtol=0, atol=1e-5)


def test_this_torch_has_the_kernel():
    """Without it all is as right, and slower: whoever moves to such a torch should know."""
    assert fused_is_right()


def one_result(query, key, value, **options):
    return plain(query, key, value, bias=options["attn_mask"], scaling=options["scale"])[0]


def other_sums(query, key, value, **options):
    mixed, sums = plain(query, key, value, bias=options["attn_mask"], scaling=options["scale"])
    return mixed, torch.empty_like(sums).fill_(torch.nan)


def other_arguments(query, key, value, *, mask=None):
    raise AssertionError("not called")


@pytest.mark.parametrize("kernel", [None, one_result, other_sums, other_arguments])
def test_a_torch_without_it_or_with_another_one_takes_the_definition(kernel, monkeypatch, caplog):
    monkeypatch.setattr(softmax_sums, "_KERNEL", kernel)
    with caplog.at_level(logging.INFO, logger="texvlm"):
        found = attend(*states(), bias=None, scaling=0.3)
        attend(*states(), bias=None, scaling=0.3)
    for one, other in zip(found, plain(*states(), bias=None, scaling=0.3), strict=True):
        assert torch.equal(one, other)
    (record,) = caplog.records  # told once
    assert "computed by its definition, more slowly" in record.getMessage()


def test_kept_attention_is_the_same_either_way(monkeypatch):
    random = torch.Generator().manual_seed(2)
    news = torch.randn(3, 40, 8, generator=random)
    changed = torch.tensor([3, 17])
    later = torch.randn(3, 2, 8, generator=random)
    idle = torch.arange(40).numpy() >= 36
    found = []
    for kernel in (softmax_sums._KERNEL, None):
        monkeypatch.setattr(softmax_sums, "_KERNEL", kernel)
        fused_is_right.cache_clear()
        kept = KeptAttention(heads=2, scaling=0.5, rows=40, width=8)
        kept.reserve(1)
        kept.hide(0, torch.from_numpy(idle))
        kept.update(0, torch.arange(36).numpy(), news[:, :36], idle=idle, settled=False, rotations=None)
        total, weight, products = kept.update(0, changed.numpy(), later, idle=idle, settled=True, rotations=None)
        assert products == (2 * 2 + 2) * 40
        found.append((total / weight[..., None])[:, :36].clone())
    torch.testing.assert_close(*found, rtol=0, atol=1e-5)
