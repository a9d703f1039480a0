"""Both block caches: gates keep their word at every site, slots are apart, and what is kept is what is said."""

from __future__ import annotations

import pytest
import torch
from block_caches import cache_of, kept
from reuse_scenes import small_vit

from texvlm.temporal.gates import Fraction, Threshold, TopK

ROWS, WIDTH, BLOCKS = 13, 16, 2


class Spy:
    """Gates that take what others take, and remember what they were shown and what they took."""

    def __init__(self, gate):
        self.gate = gate
        self.seen = {}

    def __call__(self, block, site):
        return Place(self, (block, site))


class Place:
    def __init__(self, spy, place):
        self.spy, self.place = spy, place

    def select(self, change):
        taken = self.spy.gate.select(change)
        self.spy.seen[self.place] = (change.clone(), taken | change.isinf())
        return taken


def walk(views, *, steps=6, rows=ROWS, seed=3):
    """Hidden rows that drift, some of them far."""
    random = torch.Generator().manual_seed(seed)
    hidden = torch.randn(views, rows, WIDTH, generator=random)
    yield hidden
    for _ in range(steps - 1):
        step = 0.05 * torch.randn(hidden.shape, generator=random)
        far = torch.rand(views, rows, 1, generator=random) < 0.2
        hidden = hidden + torch.where(far, 20 * step, step)
        yield hidden


def forced_of(views, *, first):
    forced = torch.full((views, ROWS), first)
    forced[:, 0] = True
    return forced


@pytest.mark.parametrize("share", [0.05, 0.3])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_no_row_is_left_out_that_moved_more_than_the_threshold(share, dtype):
    """What each module sees is watched from outside: norms through hooks, mixed heads from kept keys and values."""
    encoder, spy = small_vit(blocks=BLOCKS), Spy(Threshold(share))
    cache = cache_of(encoder, slots=2, compiled=False, dtype=dtype, rows=ROWS)
    now, seen, left_out = {}, {}, 0
    for number, block in enumerate(encoder.blocks):
        for site, norm in (("attention", block.layernorm_before), ("mlp", block.layernorm_after)):
            norm.register_forward_hook(lambda _, __, found, key=(number, site): now.update({key: found.clone()}))
    for step, hidden in enumerate(walk(2)):
        cache.run(hidden, [0, 1], forced=forced_of(2, first=step == 0), gates=spy)
        for (number, site), (_, taken) in spy.seen.items():
            if site == "projection":
                states = (kept(cache, number, name).float().view(2, ROWS, 2, -1) for name in ("query", "key", "value"))
                q, k, v = (part.transpose(1, 2) for part in states)
                weights = ((q @ k.transpose(2, 3)) * (WIDTH // 2) ** -0.5).softmax(dim=-1)
                now[number, site] = (weights @ v).transpose(1, 2).flatten(2)
            shown = now[number, site]
            assert taken[:, 0].all()
            if step:
                moved = (shown - seen[number, site]).norm(dim=-1) / shown.norm(dim=-1)
                assert (moved[~taken] <= share + 2e-3).all()
                assert dtype != torch.float32 or (moved[~taken] <= share + 1e-5).all()
                left_out += int((~taken).sum())
            old = seen.get((number, site), torch.zeros_like(shown))
            seen[number, site] = torch.where(taken[..., None], shown.to(dtype).float(), old)
    assert left_out > 20  # there was something to bound


@pytest.mark.parametrize(("gate", "count"), [(TopK(4), 4), (Fraction(0.5), 6), (TopK(99), ROWS)])
def test_counts_are_kept_exactly_and_forced_rows_are_always_among_them(gate, count):
    encoder, spy = small_vit(blocks=BLOCKS), Spy(gate)
    cache = cache_of(encoder, slots=3, rows=ROWS)
    for step, hidden in enumerate(walk(3)):
        forced = forced_of(3, first=step == 0)
        if step == 2:
            forced[1, :9] = True
        cache.run(hidden, [0, 1, 2], forced=forced, gates=spy)
        wanted = [max(count, int(row.sum())) for row in forced]
        assert len(spy.seen) == 3 * BLOCKS
        for _, taken in spy.seen.values():
            assert taken.sum(dim=1).tolist() == wanted
            assert taken[forced].all()


@pytest.mark.parametrize("compiled", [True, False])
@pytest.mark.parametrize("gate", [Threshold(0.2), TopK(5)])
def test_views_of_one_batch_never_meet(gate, compiled):
    """Whatever the order of the slots, and whoever else is there."""
    encoder = small_vit(blocks=BLOCKS)
    together = cache_of(encoder, slots=4, compiled=compiled, rows=ROWS)
    alone = {slot: cache_of(encoder, compiled=compiled, rows=ROWS) for slot in range(4)}
    padding = torch.zeros(4, ROWS, dtype=torch.bool)
    padding[1, -3:] = padding[3, -1:] = True
    seen = set()
    orders = [[0, 1, 2, 3], [2, 0], [1, 2, 3], [3], [3, 1, 0], [0, 1, 2, 3]]
    for hidden, slots in zip(walk(4), orders, strict=True):
        first = torch.tensor([slot not in seen for slot in slots])
        seen |= set(slots)
        forced = forced_of(len(slots), first=False) | first[:, None]
        run = together.run(hidden[slots], slots, forced=forced, gates=gate, padding=padding[slots])
        for number, slot in enumerate(slots):
            one = slice(number, number + 1)
            single = alone[slot].run(
                hidden[slot : slot + 1],
                [0],
                forced=forced[one],
                gates=gate,
                padding=padding[slot : slot + 1] if padding[slot].any() else None,
            )
            seen_rows = ~padding[slot]
            torch.testing.assert_close(run.hidden[number, seen_rows], single.hidden[0, seen_rows], rtol=0, atol=1e-5)
            assert run.flops[number] == single.flops[0]


def test_less_is_multiplied_where_attention_is_brought_up_to_date():
    rows = 40
    encoder = small_vit(blocks=BLOCKS)
    caches = [cache_of(encoder, rows=rows, compiled=way) for way in (True, False)]
    hidden = next(walk(1, rows=rows))
    less = 0.0
    for step in range(20):
        forced = torch.full((1, rows), step == 0)
        forced[:, 0] = True
        hidden = hidden.clone()
        hidden[0, step] += 0.5
        one, other = (cache.run(hidden, [0], forced=forced, gates=Threshold(0.3)) for cache in caches)
        torch.testing.assert_close(one.hidden, other.hidden, rtol=0, atol=1e-4)
        less += float((other.flops - one.flops).sum())
    assert less > 10 * BLOCKS * 4 * rows * rows * WIDTH / 2  # half of the attention of half of the frames, at least


@pytest.mark.parametrize("shares", [[0.2], [0.1, 0.3], [0.1, 0.4, 0.25, 0.05]])
def test_rows_that_sleep_are_what_they_would_be_awake(shares):
    """With gates that open and close, and rows that stay what they are for many calls."""
    encoder = small_vit(blocks=3)
    sleeping, awake = cache_of(encoder, slots=2, rows=40), cache_of(encoder, slots=2, rows=40)
    random = torch.Generator().manual_seed(5)
    hidden = torch.randn(2, 40, WIDTH, generator=random)
    last, slept = torch.empty(0), 0
    for step in range(40):
        forced = torch.full((2, 40), step == 0)
        forced[0, 0] = True
        changed = torch.rand(2, 40, generator=random) < (1.0 if step == 0 else 0.04)
        strength = 0.05 if step % 3 else 1.0
        hidden = torch.where(
            changed[..., None], hidden + strength * torch.randn(hidden.shape, generator=random), hidden
        )
        gate = Threshold(shares[step // 2 % len(shares)])
        found = sleeping.run(hidden, [0, 1], forced=forced, gates=gate, changed=changed)
        expected = awake.run(hidden, [0, 1], forced=forced, gates=gate)
        assert found.fresh[changed].all()
        assert torch.equal(found.flops, expected.flops)
        assert torch.equal(found.hidden[found.fresh], expected.hidden[found.fresh])
        assert step == 0 or torch.equal(last[~found.fresh], expected.hidden[~found.fresh])
        last = expected.hidden
        slept += int((~found.fresh).sum())
        for block in range(3):
            for name in ("seen", "query", "key", "value", "mixed", "attended", "normed", "passed"):
                assert torch.equal(kept(sleeping, block, name), kept(awake, block, name)), (step, block, name)
    assert slept > 200


def test_a_row_that_is_gone_is_seen_no_more_and_leaves_nothing_behind():
    """Though nothing else changed, and though what it held was no number."""
    encoder = small_vit(blocks=BLOCKS)
    for compiled in (True, False):
        cache = cache_of(encoder, compiled=compiled, rows=ROWS)
        hidden = next(walk(1))
        everyone, nobody = (torch.full((1, ROWS), value) for value in (True, False))
        cache.run(hidden, [0], forced=everyone, gates=Threshold(0))
        gone = torch.arange(ROWS)[None] >= ROWS - 2
        found = cache.run(hidden, [0], forced=nobody, gates=Threshold(0), padding=gone)
        expected = cache_of(encoder, rows=ROWS).run(hidden, [0], forced=everyone, gates=Threshold(0), padding=gone)
        torch.testing.assert_close(found.hidden[~gone], expected.hidden[~gone], rtol=0, atol=1e-5)
        poisoned = hidden.clone()
        poisoned[0, -1] = torch.nan
        assert cache.run(poisoned, [0], forced=everyone, gates=Threshold(0)).hidden.isnan().all()
        found = cache.run(hidden, [0], forced=nobody, gates=Threshold(0.1), padding=gone)
        torch.testing.assert_close(found.hidden[~gone], expected.hidden[~gone], rtol=0, atol=1e-5)


def test_lengths_of_half_precision_rows_do_not_overflow():
    encoder = small_vit(blocks=BLOCKS)
    for block in encoder.blocks:
        block.layernorm_after.weight.data *= 200
        block.mlp.fc1.weight.data /= 200
    encoder = encoder.half()
    cache, whole = (cache_of(encoder, dtype=torch.float16, rows=ROWS) for _ in range(2))
    for step, hidden in enumerate(walk(1, steps=4)):
        forced = torch.full((1, ROWS), True)
        found = cache.run(hidden.half(), [0], forced=forced & (step == 0), gates=Threshold(0))
        expected = whole.run(hidden.half(), [0], forced=forced, gates=Threshold(0))
        torch.testing.assert_close(found.hidden, expected.hidden, rtol=0, atol=0.05)


def test_room_is_made_without_losing_anything():
    encoder = small_vit(blocks=BLOCKS)
    cache, other = cache_of(encoder, slots=1, rows=ROWS), cache_of(encoder, slots=5, rows=ROWS)
    hidden = list(walk(1))
    for one in (cache, other):
        one.run(hidden[0], [0], forced=forced_of(1, first=True), gates=Threshold(0.1))
    for wanted in (3, 2, 5):
        cache.reserve(wanted)
    assert cache.slots == 5
    found, expected = (
        one.run(hidden[1], [0], forced=forced_of(1, first=False), gates=Threshold(0.1)) for one in (cache, other)
    )
    assert torch.equal(found.hidden, expected.hidden)
    assert torch.equal(found.flops, expected.flops)


@pytest.mark.parametrize("compiled", [True, False])
def test_memory_that_ran_out_in_the_midst_is_asked_for_again(monkeypatch, compiled):
    encoder = small_vit(blocks=BLOCKS)
    cache = cache_of(encoder, slots=1, compiled=compiled, rows=ROWS)
    hidden = list(walk(1))
    cache.run(hidden[0], [0], forced=forced_of(1, first=True), gates=Threshold(0.1))
    name = "cat" if compiled else "zeros"
    whole, left = getattr(torch, name), iter(range(9 if compiled else 5))

    def scarce(*shape, **options):
        if next(left, None) is None:
            raise torch.OutOfMemoryError("made up")
        return whole(*shape, **options)

    monkeypatch.setattr(torch, name, scarce)
    with pytest.raises(torch.OutOfMemoryError):
        cache.reserve(4)
    monkeypatch.undo()
    assert cache.slots == 1
    for wanted in (2, 4):
        cache.reserve(wanted)
        found = cache.run(
            hidden[1].repeat(wanted, 1, 1), list(range(wanted)), forced=forced_of(wanted, first=True), gates=TopK(1)
        )
        torch.testing.assert_close(found.hidden[0], found.hidden[-1], rtol=0, atol=1e-5)


def test_bytes_of_a_slot_are_those_allocated():
    encoder, slots = small_vit(blocks=BLOCKS), 3
    sizes = {}
    for dtype in (torch.float32, torch.bfloat16, torch.float16):
        cache = cache_of(encoder, slots=slots, dtype=dtype, compiled=False, rows=ROWS)
        cache.run(next(walk(slots)), [0, 1, 2], forced=forced_of(3, first=True), gates=Threshold(0))
        assert cache.slot_bytes * slots == sum(part.nbytes for block in cache._kept for part in block.values())
        sizes[dtype] = cache.slot_bytes
    assert 2 * sizes[torch.bfloat16] == 2 * sizes[torch.float16] == sizes[torch.float32]
    compiled = cache_of(encoder, slots=slots, rows=ROWS)
    compiled.run(next(walk(slots)), [0, 1, 2], forced=forced_of(3, first=True), gates=Threshold(0))
    assert compiled.slot_bytes == sizes[torch.float32] + BLOCKS * 4 * ROWS * (3 * 2 + WIDTH)  # and the sums


@pytest.mark.parametrize("share", [0.0, 0.08, 0.3])
def test_rows_picked_in_one_compiled_pass_are_those_that_torch_picks(share):
    """And those that a gate picks that is asked; padding, NaNs and the order of slots make no difference."""
    encoder = small_vit(blocks=BLOCKS)
    spies = [Spy(Threshold(share)) for _ in range(2)]
    compiled, asking, plain = (cache_of(encoder, slots=3, compiled=way, rows=ROWS) for way in (True, True, False))
    padding = torch.zeros(2, ROWS, dtype=torch.bool)
    padding[1, -3:] = True
    picked = left_out = 0
    for step, hidden in enumerate(walk(2, steps=8)):
        forced = forced_of(2, first=step == 0)
        slots, order = ([0, 2], [0, 1]) if step % 2 else ([2, 0], [1, 0])
        hidden, hide = hidden[order], padding[order]
        if step == 5:
            hidden[0, 3, 2] = torch.nan
        before = hidden.clone()
        found = compiled.run(hidden, slots, forced=forced, gates=Threshold(share), padding=hide)
        asked = asking.run(hidden, slots, forced=forced, gates=spies[0], padding=hide)
        assert torch.equal(hidden.nan_to_num(), before.nan_to_num())  # the caller's own is left alone
        expected = plain.run(hidden, slots, forced=forced, gates=spies[1], padding=hide)
        assert torch.equal(found.hidden[~hide].nan_to_num(), asked.hidden[~hide].nan_to_num())
        assert torch.equal(found.flops, asked.flops)
        torch.testing.assert_close(found.hidden[~hide], expected.hidden[~hide], rtol=0, atol=1e-5, equal_nan=True)
        for block in range(BLOCKS):
            for name in ("seen", "mixed", "normed"):  # what a row that only one of them took would differ in
                one, other = (kept(cache, block, name) for cache in (compiled, plain))
                torch.testing.assert_close(one, other, rtol=0, atol=1e-5, equal_nan=True)
        picked += sum(int(taken.sum()) for _, taken in spies[1].seen.values())
        left_out += sum(int((~taken).sum()) for _, taken in spies[1].seen.values())
    assert picked > 100
    assert left_out > (100 if share else 0)
