"""ChangeRule and token_change: what is stale, against plain loops."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from texvlm.temporal.change import ChangeRule, token_change

STD = (0.2, 0.5, 0.25)


def by_loops(now, encoded, measure, std):
    """The definition, token by token, in double precision."""
    found = []
    for one, other in zip(now.double().numpy(), encoded.double().numpy(), strict=True):
        off = np.abs(one - other)
        if now.dtype != torch.uint8:
            off = off * 255 * np.array(std or (1, 1, 1))[:, None, None]
        found.append(off.mean() if measure == "mean" else off.max())
    return np.array(found)


@pytest.mark.parametrize("measure", ["mean", "max"])
@pytest.mark.parametrize(
    ("dtype", "std", "bound"),
    [(torch.uint8, None, 1e-4), (torch.float32, STD, 1e-3), (torch.float32, None, 1e-3), (torch.float16, STD, 1e-3)],
)
def test_change_is_the_mean_or_greatest_difference_in_steps_of_255(measure, dtype, std, bound):
    random = torch.Generator().manual_seed(1)
    now, encoded = (torch.rand(9, 3, 4, 4, generator=random) for _ in range(2))
    if dtype == torch.uint8:
        now, encoded = ((255 * part).round() for part in (now, encoded))
    now, encoded = now.to(dtype), encoded.to(dtype)
    encoded[4] = now[4]
    found = token_change(now, encoded, measure=measure, std=std)
    assert found.dtype == torch.float32
    np.testing.assert_allclose(found, by_loops(now, encoded, measure, std), atol=bound)
    assert found[4] == 0
    assert torch.equal(found, token_change(encoded, now, measure=measure, std=std))


def test_a_step_of_255_is_one_in_bytes_and_in_normalised_floats():
    bytes_before = torch.full((1, 3, 4, 4), 100, dtype=torch.uint8)
    bytes_now = bytes_before + 1
    floats_before, floats_now = (
        (part / 255 - 0.4) / torch.tensor(STD)[:, None, None] for part in (bytes_before, bytes_now)
    )
    assert token_change(bytes_now, bytes_before, measure="mean", std=STD) == 1
    assert token_change(floats_now, floats_before, measure="max", std=STD).item() == pytest.approx(1, abs=1e-4)


def test_differences_of_bytes_do_not_wrap_around():
    dark, bright = torch.zeros(1, 3, 2, 2, dtype=torch.uint8), torch.full((1, 3, 2, 2), 255, dtype=torch.uint8)
    for one, other in ((dark, bright), (bright, dark)):
        assert token_change(one, other, measure="mean") == 255


@settings(max_examples=200, deadline=None)
@given(
    change=st.lists(st.sampled_from([0.0, 0.5, 1.0, 1.5, 7.0, math.inf, math.nan]), min_size=1, max_size=20),
    threshold=st.sampled_from([0.0, 0.5, 1.0, 255.0]),
    max_age=st.sampled_from([None, 1, 3]),
    refresh=st.integers(0, 6),
    data=st.data(),
)
def test_who_is_stale(change, threshold, max_age, refresh, data):
    ages = data.draw(st.lists(st.integers(0, 5), min_size=len(change), max_size=len(change)))
    rule = ChangeRule(threshold=threshold, max_age=max_age, refresh=refresh)
    stale = rule.stale(torch.tensor(change), torch.tensor(ages, dtype=torch.int32)).tolist()
    over = [not value <= threshold for value in change]
    must = [one or (max_age is not None and age >= max_age) for one, age in zip(over, ages, strict=True)]
    if threshold == 0:
        assert stale == [any(must) or refresh > 0] * len(change)
        return
    assert all(found for found, needed in zip(stale, must, strict=True) if needed)
    turns = [age for found, needed, age in zip(stale, must, ages, strict=True) if found and not needed]
    waiting = [age for found, age in zip(stale, ages, strict=True) if not found]
    assert len(turns) == min(refresh, must.count(False))
    assert not turns or not waiting or min(turns) >= max(waiting)  # the oldest first


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"threshold": -1}, "threshold -1; accepted: 0..255, steps of 255"),
        ({"threshold": math.nan}, "threshold nan"),
        ({"threshold": 256}, "threshold 256"),
        ({"measure": "median"}, "measure 'median'; accepted: 'mean', 'max'"),
        ({"max_age": 0}, "max_age of 0 frames; accepted: 1 or more, or None"),
        ({"refresh": -2}, "refresh of -2 tokens a frame; accepted: 0 or more"),
    ],
)
def test_rules_that_make_no_sense_are_refused(arguments, text):
    with pytest.raises(ValueError, match=text) as refusal:
        ChangeRule(**arguments)
    assert "\n" not in str(refusal.value)
