"""Sharing a whole number of tokens."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from texvlm.budget import split_tokens


def test_by_weight_and_by_remainder():
    assert split_tokens(100, [1, 1, 2]) == [25, 25, 50]
    assert split_tokens(10, [1, 1, 1]) == [4, 3, 3]  # the first of equal remainders
    assert split_tokens(10, [0, 1], minimum=3) == [3, 7]
    assert split_tokens(100, [9, 1], maximum=60) == [60, 40]
    assert split_tokens(100, [9, 1], maximum=40) == [40, 40]  # all full: some are left over
    assert split_tokens(12, [1000, 1, 1], minimum=4) == [4, 4, 4]


@given(
    weights=st.lists(st.floats(0, 100), min_size=1, max_size=8).filter(any),
    minimum=st.integers(1, 20),
    spare=st.integers(0, 500),
    room=st.integers(0, 100),
)
def test_the_sum_and_the_limits_hold(weights, minimum, spare, room):
    count, maximum = len(weights), minimum + room
    total = count * minimum + spare
    shares = split_tokens(total, weights, minimum=minimum, maximum=maximum)
    assert sum(shares) == min(total, count * maximum)
    assert all(minimum <= share <= maximum for share in shares)
    for weight, share in zip(weights, shares, strict=True):
        for other, others in zip(weights, shares, strict=True):
            assert weight <= other or share >= others - 1  # more weight, never less but for rounding


@given(
    parts=st.lists(st.tuples(st.floats(0, 100), st.integers(0, 20), st.integers(0, 60)), min_size=1, max_size=8),
    spare=st.integers(0, 300),
)
def test_the_sum_and_the_limits_of_each_hold(parts, spare):
    weights = [weight + 0.1 for weight, _, _ in parts]
    least = [low for _, low, _ in parts]
    most = [low + room for _, low, room in parts]
    total = sum(least) + spare
    shares = split_tokens(total, weights, minimum=least, maximum=most)
    assert sum(shares) == min(total, sum(most))
    assert all(low <= share <= high for low, share, high in zip(least, shares, most, strict=True))
    between = [k for k in range(len(parts)) if least[k] < shares[k] < most[k]]
    levels = [shares[k] / weights[k] for k in between]  # the rest share in proportion, to a token
    for k, level in zip(between, levels, strict=True):
        for other in between:
            assert level <= (shares[other] + 1 + 1e-6) / weights[other] + 1 / weights[k]


@pytest.mark.parametrize(
    ("arguments", "limits", "words"),
    [
        ((10, [1, 1, 1]), {"minimum": 4}, "budget of 10 tokens for 3 with at least 4 each; give 12 or more"),
        ((10, []), {}, "between none"),
        ((10, [0, 0]), {}, "not all 0"),
        ((10, [1, -1]), {}, "finite numbers of 0 and above"),
        ((10, [1, float("nan")]), {}, "finite numbers"),
        ((10, [1]), {"minimum": 4, "maximum": 3}, "maximum 3 is under minimum 4"),
        ((10, [1, 1]), {"minimum": [4, 9]}, r"for 2 with at least \[4, 9\]; give 13 or more"),
        ((10, [1, 1]), {"minimum": [4, 2], "maximum": [5, 1]}, "maximum 1 is under minimum 2"),
        ((10, [1, 1]), {"minimum": [4]}, r"minimum is \[4\] for 2; give one each"),
        ((10, [1, 1]), {"maximum": [4, -1]}, r"maximum is \[4, -1\] for 2; give one each, 0 or above"),
    ],
)
def test_what_cannot_be_shared(arguments, limits, words):
    with pytest.raises(ValueError, match=words):
        split_tokens(*arguments, **limits)
