"""CompiledBlockCache is BlockCache, made faster: whatever comes, and with whatever torch is told besides."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from block_caches import SITES, History, Watching, cache_of, kept
from hypothesis import given, settings
from hypothesis import strategies as st
from reuse_scenes import assert_equal, look, painted, picture, small_vit
from torch import nn

from texvlm.temporal._row_kernels import pick_mixed, pick_normed
from texvlm.temporal.block_cache import BlockCache
from texvlm.temporal.block_parts import parts_of
from texvlm.temporal.compiled_cache import CompiledBlockCache, can_compile
from texvlm.temporal.gates import Given, Threshold
from texvlm.temporal.reuse import ReuseEncoder

ROWS, WIDTH, BLOCKS = 24, 16, 2
ENCODER = small_vit(blocks=BLOCKS)
CPU = torch.device("cpu")


def rows_of(views, *, seed=3):
    return torch.randn(views, ROWS, WIDTH, generator=torch.Generator().manual_seed(seed))


def rows_like(views, value):
    return torch.full((views, ROWS), value)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_any_history_is_that_of_the_plain_cache(seed):
    """Rows that sleep, padding that comes and goes, gates that open and close, slots that are used again."""
    history = History(seed, rows=ROWS, width=WIDTH, blocks=BLOCKS)
    caches = compiled, plain = [cache_of(ENCODER, rows=ROWS, slots=1, compiled=way) for way in (True, False)]
    last = torch.full((history.slots, ROWS, WIDTH), torch.nan)
    for call in history(15):
        for cache in caches:
            cache.reserve(max(call.slots) + 1)
            for slot in call.forgotten:
                cache.forget(slot)
        before = call.hidden.clone()
        found = compiled.run(call.hidden, call.slots, gates=call.gates, **call.options)
        assert torch.equal(call.hidden, before)
        watching = Watching(call.gates)
        expected = plain.run(call.hidden, call.slots, gates=watching, **call.options)
        if watching.close:
            return
        assert call.options["changed"] is None or found.fresh[call.options["changed"]].all()
        now = torch.where(found.fresh[..., None], found.hidden, last[call.slots])
        seen = ~call.options["padding"] if "padding" in call.options else rows_like(len(call.slots), True)
        torch.testing.assert_close(now[seen], expected.hidden[seen], rtol=0, atol=2e-4)
        last[call.slots] = now


@pytest.mark.parametrize("compiled", [True, False])
def test_rows_that_are_given_are_taken_though_nothing_changed(compiled):
    """At each site, of a view in whose midst nobody else is taken."""
    cache = cache_of(ENCODER, rows=ROWS, slots=2, compiled=compiled)
    hidden = rows_of(2)
    cache.run(hidden, [0, 1], forced=rows_like(2, True), gates=Threshold(0))
    forced, few = rows_like(2, False), rows_like(2, False)
    forced[0, 0] = few[1, 5] = True
    for site in SITES:
        names = {"attention": "query", "projection": "attended", "mlp": "passed"}
        for block in range(BLOCKS):
            made = kept(cache, block, names[site])
            made[1, 5:7] = 77
        shut = Given(rows_like(2, False))
        plan = {one: Given(few) if one == site else shut for one in SITES}
        cache.run(
            hidden,
            [0, 1],
            forced=forced,
            gates=lambda block, one, plan=plan: plan[one],
            changed=rows_like(2, False),
        )
        for block in range(BLOCKS):
            made = kept(cache, block, names[site])
            assert (made[1, 5] != 77).all(), (block, site)
            assert (made[1, 6] == 77).all(), (block, site)


@pytest.mark.parametrize("compiled", [True, False])
def test_a_gate_behind_attention_that_gets_stricter_takes_rows_though_no_key_changed(compiled):
    cache = cache_of(ENCODER, rows=ROWS, compiled=compiled)
    hidden = rows_of(1)
    cache.run(hidden, [0], forced=rows_like(1, True), gates=Threshold(0))
    nobody = rows_like(1, False)
    for share in (1e3, 0.0):
        plan = {"attention": Threshold(0.05), "projection": Threshold(share), "mlp": Threshold(0)}
        hidden = hidden + 0.3 * rows_of(1, seed=4) if share else hidden
        cache.run(hidden, [0], forced=nobody, gates=lambda block, site, plan=plan: plan[site])
    for block in range(BLOCKS):
        q, k, v = (kept(cache, block, name)[0].view(ROWS, 2, -1).transpose(0, 1) for name in ("query", "key", "value"))
        mixed = ((q @ k.transpose(1, 2) * (WIDTH // 2) ** -0.5).softmax(dim=-1) @ v).transpose(0, 1).flatten(1)
        torch.testing.assert_close(kept(cache, block, "mixed")[0], mixed, rtol=0, atol=1e-5)


def test_padding_of_others_costs_a_view_nothing():
    """Attention goes on from what is kept, whether or not somebody else in the call has padding."""
    caches = [cache_of(ENCODER, rows=ROWS, slots=2) for _ in range(2)]
    hidden, nothing = rows_of(1), rows_like(1, False)
    for step, padding in enumerate([None, nothing, None, nothing]):
        hidden[0, 3] += 1
        one, other = (
            cache.run(hidden, [0], forced=rows_like(1, step == 0), gates=Threshold(0.5), padding=hide)
            for cache, hide in zip(caches, (padding, None), strict=True)
        )
        assert torch.equal(one.hidden, other.hidden)
        assert torch.equal(one.flops, other.flops)


def test_gates_of_ones_own_are_asked_though_they_derive_from_a_threshold():
    class Nobody(Threshold):
        def select(self, change):
            return torch.zeros_like(change, dtype=torch.bool)

    cache = cache_of(ENCODER, rows=ROWS)
    cache.run(rows_of(1), [0], forced=rows_like(1, True), gates=Nobody(0))
    assert float(cache.run(rows_of(1, seed=4), [0], forced=rows_like(1, False), gates=Nobody(0)).flops) == 0


def test_norms_that_are_not_plain_are_left_to_torch():
    class Louder(nn.LayerNorm):
        def forward(self, rows):
            return 2 * super().forward(rows)

    encoder = small_vit(blocks=BLOCKS)
    plain = {"dtypes": {torch.float32}, "device": CPU}
    assert can_compile(parts_of(encoder), **plain)
    assert not can_compile(parts_of(encoder), dtypes={torch.float32, torch.bfloat16}, device=CPU)
    assert not can_compile(parts_of(encoder), dtypes={torch.float32}, device=torch.device("cuda"))
    louder = Louder(WIDTH)
    louder.load_state_dict(encoder.blocks[1].layernorm_after.state_dict())
    encoder.blocks[1].layernorm_after = louder
    assert not can_compile(parts_of(encoder), **plain)
    assert isinstance(cache_of(encoder, rows=ROWS), BlockCache)


@pytest.mark.parametrize("slots", [[1], [-1], [0, 1]])
def test_slots_that_are_not_there_are_refused(slots):
    """Compiled passes would write somewhere else."""
    cache = cache_of(ENCODER, rows=ROWS, slots=1)
    with pytest.raises(IndexError, match=r"accepted: \(24, 16\), slots below 1: reserve more") as refusal:
        cache.run(rows_of(len(slots)), slots, forced=rows_like(len(slots), True), gates=Threshold(0))
    assert "\n" not in str(refusal.value)
    with pytest.raises(IndexError, match=r"rows of \(23, 16\) in slots \[0\]"):
        cache.run(rows_of(1)[:, 1:], [0], forced=rows_like(1, True)[:, 1:], gates=Threshold(0))


def test_what_torch_is_told_besides_makes_no_difference():
    """Its default type, and autocast: what is kept and compared stays float32."""
    frame = picture((24, 24), 1)
    batches = [look(ENCODER, frame), look(ENCODER, painted(frame, (4, 4), 8, 5))]

    def run():
        reuse = ReuseEncoder(ENCODER, level="L2", gates=Threshold(0))
        return [reuse(batch) for batch in batches][-1]

    expected = run().features
    torch.set_default_dtype(torch.float64)
    try:
        assert_equal(run(), expected, bound=0)
    finally:
        torch.set_default_dtype(torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):  # of embedding and pooling alone
        assert_equal(run(), expected, bound=0.1)
    assert isinstance(cache_of(ENCODER, rows=ROWS), CompiledBlockCache)


def test_rows_whose_lengths_overflow_are_picked():
    """An infinite change of an infinite row is no number, which passes every gate."""
    one, nobody = np.zeros(1, np.int64), np.zeros(1, bool)
    seen, weight, bias = np.zeros((1, 4), np.float32), np.full(4, 1e25, np.float32), np.zeros(4, np.float32)
    rest = nobody, nobody, 0.01, np.empty((2, 4), np.float32), np.empty(1, np.int64)
    rows, none = np.array([[1, 2, 3, 5]], np.float32), np.empty(0, np.float32)
    assert pick_normed(rows, ~nobody, one, weight, bias, 1e-5, seen, *rest, none) == 1
    total, divisor = (1e25 * rows)[None].astype(np.float32), np.ones((1, 1), np.float32)
    seen[:] = 0
    assert pick_mixed(total, divisor, 0, one, seen, *rest, 0, none) == 1
