"""Gates: exactly who is taken."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from texvlm.temporal.gates import Fraction, Gate, Threshold, TopK, gate_at

CHANGES = st.integers(1, 24).flatmap(
    lambda rows: st.lists(
        st.lists(st.sampled_from([0.0, 1e-6, 0.05, 0.1, 0.5, 2.0, math.inf]), min_size=rows, max_size=rows),
        min_size=1,
        max_size=3,
    )
)


@settings(max_examples=100, deadline=None)
@given(CHANGES, st.sampled_from([0.0, 0.05, 0.1, 1.0]))
def test_a_threshold_takes_what_exceeds_it(changes, share):
    taken = Threshold(share).select(torch.tensor(changes))
    limit = torch.tensor(share)
    assert taken.tolist() == [[bool(torch.tensor(one) > limit) for one in row] for row in changes]


@settings(max_examples=100, deadline=None)
@given(CHANGES, st.integers(1, 30))
def test_top_k_takes_exactly_as_many_of_each_view_those_that_moved_most(changes, rows):
    change = torch.tensor(changes)
    taken = TopK(rows).select(change)
    assert taken.sum(dim=1).tolist() == [min(rows, change.shape[1])] * len(changes)
    for view, mask in zip(change, taken, strict=True):
        assert not (~mask).any() or view[mask].min() >= view[~mask].max()


@settings(max_examples=100, deadline=None)
@given(CHANGES, st.floats(0.01, 1))
def test_a_fraction_is_a_count(changes, share):
    change = torch.tensor(changes)
    count = max(round(share * change.shape[1]), 1)
    assert torch.equal(Fraction(share).select(change), TopK(count).select(change))


def test_a_plan_gives_each_place_its_own_gate():
    plan = {("mlp", 1): TopK(3)}
    chosen = gate_at(lambda block, site: plan.get((site, block), Threshold(0.2)), 1, "mlp")
    assert chosen == TopK(3)
    assert gate_at(lambda block, site: plan.get((site, block), Threshold(0.2)), 0, "mlp") == Threshold(0.2)
    assert gate_at(Threshold(0.3), 5, "attention") == Threshold(0.3)
    assert isinstance(Threshold(), Gate)


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: Threshold(-0.1), "gate threshold -0.1; accepted: a share of 0 or more, such as 0.1"),
        (lambda: Threshold(math.nan), "gate threshold nan"),
        (lambda: Threshold(math.inf), "gate threshold inf"),
        (lambda: TopK(0), "gate of 0 rows; accepted: 1 or more"),
        (lambda: Fraction(0), "gate of a share of 0 of the rows; accepted: above 0, up to 1"),
        (lambda: Fraction(1.5), "gate of a share of 1.5"),
    ],
)
def test_gates_that_make_no_sense_are_refused(make, text):
    with pytest.raises(ValueError, match=text) as refusal:
        make()
    assert "\n" not in str(refusal.value)
