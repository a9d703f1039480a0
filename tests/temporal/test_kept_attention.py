"""KeptAttention: brought up to date it is what softmax gives, however long and however keys rise and fall."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from texvlm.temporal.kept_attention import RENEWAL, SHARE, KeptAttention

HEADS, WIDTH, ROWS = 2, 8, 80
FEW = int(SHARE * ROWS)
SCALING = (WIDTH // HEADS) ** -0.5


def attended(query, key, value, padding=None):
    """Attention by its definition, in double precision."""
    q, k, v = (part.double().view(len(part), HEADS, -1).transpose(0, 1) for part in (query, key, value))
    scores = SCALING * q @ k.transpose(1, 2)
    if padding is not None:
        scores = scores.masked_fill(padding, -torch.inf)
    return (scores.softmax(dim=-1) @ v).transpose(0, 1).flatten(1)


class Run:
    """What is kept, the states that it is given, and how far it was ever from the definition, in greatest values."""

    def __init__(self, *, rows=ROWS, seed=0, padding=None, scale=1.0):
        self.random = torch.Generator().manual_seed(seed)
        self.states = [self.normal(rows) * scale for _ in range(3)]
        self.padding = padding
        self.kept = KeptAttention(heads=HEADS, scaling=SCALING, rows=rows, width=WIDTH)
        self.kept.reserve(2)
        self.drift = 0.0
        self.products = []
        self.begin()

    def normal(self, rows):
        return torch.randn(rows, WIDTH, generator=self.random)

    def pick(self, count):
        allowed = torch.arange(len(self.states[0])) if self.padding is None else (~self.padding).nonzero().squeeze(-1)
        return allowed[torch.randperm(len(allowed), generator=self.random)[:count]].sort().values

    def begin(self, slot=0):
        self.give(torch.arange(len(self.states[0])), slot=slot, settled=False)

    def replace(self, rows, *news):
        for part, new in zip(self.states, news, strict=True):
            if new is not None:
                part[rows] = new
        self.give(rows)

    def give(self, rows, *, slot=0, settled=True, compare=True):
        found = self.kept.update(
            slot,
            rows.numpy(),
            torch.stack([part[rows] for part in self.states]),
            idle=np.empty(0, bool) if self.padding is None else self.padding.numpy(),
            settled=settled,
            rotations=None,
        )
        self.products.append(found.products)
        if compare:
            self.compare((found.total / found.weight[..., None]).transpose(0, 1).flatten(1))

    def compare(self, found):
        seen = slice(None) if self.padding is None else ~self.padding
        assert found[seen].isfinite().all()
        off = (found[seen] - attended(*self.states, self.padding)[seen]).abs().max()
        self.drift = max(self.drift, float(off / self.states[2].abs().max().clamp_min(1)))


def test_many_updates_do_not_drift():
    run = Run()
    for step in range(2 * RENEWAL + 20):
        rows = run.pick(1 + step % FEW)
        run.replace(rows, *(part[rows] + 0.05 * run.normal(len(rows)) for part in run.states))
    assert run.drift < 2e-6
    assert run.products.count(ROWS * ROWS) == 3  # at first, and renewed twice
    assert max(products for products in run.products if products < ROWS * ROWS) <= 3 * FEW * ROWS


@pytest.mark.parametrize("high", [0.9, 1.5, 3.0, 8.0, 40.0])
def test_keys_that_rise_and_fall_leave_nothing_behind(high):
    """Every query likes the same direction: keys along it raise all scores, step by step, and then leave again."""
    run = Run()
    direction = torch.ones(WIDTH)
    run.states[0].copy_(direction + 0.01 * run.normal(ROWS))
    run.begin()
    for turn in range(30):
        for start in range(0, ROWS, FEW):
            rows = torch.arange(start, min(start + FEW, ROWS))
            level = high * (1 + turn % 2) if turn % 4 < 2 else -high
            run.replace(rows, None, level * direction + 0.1 * run.normal(len(rows)), run.normal(len(rows)))
    assert run.drift < 1e-4
    assert run.products.count(ROWS * ROWS) < len(run.products) / 2


def test_a_sum_that_was_great_and_is_small_is_made_anew():
    """Sums lose the digits of what they have been, which no bound on the sum alone can tell."""
    run = Run(rows=200)
    direction = torch.ones(WIDTH)
    run.states[0].copy_(direction.expand(200, WIDTH))
    run.states[1].zero_()
    run.begin()
    for level in (3.9, -3.9):
        for start in range(0, 200, 20):
            rows = torch.arange(start, start + 20)
            score = level / (WIDTH // HEADS) / SCALING
            run.replace(rows, None, score * direction.expand(20, WIDTH), run.normal(20))
    assert run.drift < 5e-6
    assert max(run.products[2:-10]) < 200 * 200
    assert max(run.products[-10:]) == (2 * 20 + 200) * 200  # all of the queries, once


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    scale=st.sampled_from([0.1, 1.0, 4.0]),
    steps=st.lists(
        st.tuples(st.integers(1, 20), st.floats(0, 8), st.booleans(), st.booleans()), min_size=1, max_size=25
    ),
    padded=st.integers(0, 30),
)
def test_any_history_gives_the_definition(seed, scale, steps, padded):
    padding = torch.arange(ROWS) >= ROWS - padded if padded else None
    run = Run(seed=seed, padding=padding, scale=scale)
    for count, strength, all_alike, query_too in steps:
        rows = run.pick(count)
        shape = run.normal(1).expand(len(rows), -1) if all_alike else run.normal(len(rows))
        run.replace(rows, shape if query_too else None, strength * shape, run.normal(len(rows)))
    assert run.drift < 1e-4


def test_nothing_changed_multiplies_nothing_and_much_is_done_anew():
    run = Run()
    none = torch.empty(0, dtype=torch.int64)
    run.replace(none, None, None, None)
    assert run.products[1:] == [0]
    few = run.pick(2)
    run.replace(few, *(part[few] for part in run.states))
    assert run.products[-1] == 2 * 2 * ROWS + 2 * ROWS
    many = run.pick(FEW + 1)
    run.replace(many, *(part[many] + 1 for part in run.states))
    assert run.products[-1] == ROWS * ROWS
    few = run.pick(3)
    run.replace(few, *(part[few] + 1 for part in run.states))
    assert run.products[-1] == 3 * 3 * ROWS  # what the fused kernel gave is gone on from
    assert run.drift < 2e-6


def test_keys_that_are_seen_no_more_are_left_out():
    run = Run()
    run.padding = torch.arange(ROWS) >= ROWS - 5
    run.kept.hide(0, run.padding)
    run.give(torch.empty(0, dtype=torch.int64), settled=False)
    assert run.products[-1] == ROWS * ROWS
    assert run.drift < 2e-6


def test_numbers_that_are_none_are_gone_with_their_row():
    run = Run()
    first = torch.tensor([3])
    before = [part[first].clone() for part in run.states]
    for part in run.states[1:]:
        part[first] = torch.nan
    run.give(first, compare=False)
    run.replace(first, *before)
    assert run.drift < 2e-6


def test_slots_are_apart_and_forgotten_alone():
    run, other = Run(seed=1), Run(seed=2)
    none = torch.empty(0, dtype=torch.int64)
    mine, run.states = run.states, other.states
    run.begin(slot=1)
    run.states = mine
    assert run.kept.slot_bytes == 4 * ROWS * (3 * HEADS + 4 * WIDTH)
    run.kept.forget(1)
    run.kept.forget(7)
    run.give(none)
    assert run.products[-1] == 0
    run.states = other.states
    run.give(none, slot=1)
    assert run.products[-1] == ROWS * ROWS
    run.kept.reserve(5)
    run.give(none, slot=1)
    assert run.products[-1] == 0
    assert run.drift < 2e-6
