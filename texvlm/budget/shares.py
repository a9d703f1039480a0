"""One number of tokens shared by many: whole, within limits, the same every time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from operator import index

from texvlm.layouts.base import check_count


def split_tokens(
    total: int,
    weights: Sequence[float],
    *,
    minimum: int | Sequence[int] = 1,
    maximum: int | Sequence[int] | None = None,
) -> list[int]:
    """Tokens for each, in proportion to its weight, within limits; their sum is `total` where limits allow.

    What a limit takes or leaves is shared by the others in proportion; what rounding leaves goes to the
    largest remainders, the first of equal ones.

    Args:
        total: tokens for all.
        weights: >= 0, one each, not all 0.
        minimum: for each, 1 or more; or one each, 0 or more.
        maximum: for each, or one each; None for no limit. Where all reach it, tokens are left over.
    Raises:
        ValueError: nobody to share, a total under the sum of the minimums, or weights or limits out of range.
        TypeError: a limit that is no whole number.
    """
    count = len(weights)
    if not count:
        raise ValueError("tokens are split between none; give a weight for each")
    least = _limits("minimum", minimum, count)
    most = [total] * count if maximum is None else _limits("maximum", maximum, count)
    for low, high in zip(least, most, strict=True):
        if high < low and maximum is not None:
            raise ValueError(f"maximum {high} is under minimum {low}; give minimum <= maximum")
    if total < sum(least):
        each = f"at least {minimum} each" if isinstance(minimum, int) else f"at least {least}"
        raise ValueError(
            f"budget of {total} tokens for {count} with {each}; give {sum(least)} or more, or a smaller minimum"
        )
    if not all(0 <= weight < math.inf for weight in weights) or not any(weights):
        raise ValueError(f"weights are {list(weights)}; accepted: finite numbers of 0 and above, not all 0")
    fixed = dict[int, float]()
    while True:  # each round fixes one or more at a limit
        free = [i for i in range(count) if i not in fixed]
        left, mass = total - sum(fixed.values()), sum(weights[i] for i in free)
        ideal = {i: left * (weights[i] / mass if mass > 0 else 1 / len(free)) for i in free}
        low_side = {i: float(least[i]) for i in free if ideal[i] < least[i]}
        high_side = {i: float(most[i]) for i in free if ideal[i] > most[i]}
        # The side that is further off is fixed first; the other may come within its limit by that.
        lacking, spare = (sum(abs(ideal[i] - limit) for i, limit in side.items()) for side in (low_side, high_side))
        if not low_side and not high_side:
            break
        fixed |= low_side if lacking >= spare else high_side
        if len(fixed) == count:
            ideal = {}
            break
    exact = [fixed.get(i, ideal.get(i, float(least[i]))) for i in range(count)]
    shares = [math.floor(share + 1e-9) for share in exact]
    left_over = min(total, sum(most)) - sum(shares)
    for i in sorted(range(count), key=lambda k: (shares[k] - exact[k], k)):
        if left_over > 0 and shares[i] < most[i]:
            shares[i] += 1
            left_over -= 1
    return shares


def _limits(name: str, limit: int | Sequence[int], count: int) -> list[int]:
    """One limit each."""
    if not isinstance(limit, Sequence):
        check_count(name, limit)
        return [limit] * count
    found = [index(one) for one in limit]
    if len(found) != count or min(found) < 0:
        raise ValueError(f"{name} is {list(limit)} for {count}; give one each, 0 or above")
    return found
