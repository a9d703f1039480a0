"""One number of tokens shared by many: whole, within limits, the same every time."""

from __future__ import annotations

import math
from collections.abc import Sequence

from texvlm.layouts.base import check_count


def split_tokens(total: int, weights: Sequence[float], *, minimum: int = 1, maximum: int | None = None) -> list[int]:
    """Tokens for each, in proportion to its weight, within limits; their sum is `total` where limits allow.

    What a limit takes or leaves is shared by the others in proportion; what rounding leaves goes to the
    largest remainders, the first of equal ones.

    Args:
        total: tokens for all.
        weights: >= 0, one each, not all 0.
        minimum: for each.
        maximum: for each; None for no limit. Where all reach it, tokens are left over.
    Raises:
        ValueError: nobody to share, a total under the sum of the minimums, or weights out of range.
    """
    check_count("minimum", minimum)
    count, most = len(weights), total if maximum is None else maximum
    if not count:
        raise ValueError("tokens are split between none; give a weight for each")
    if most < minimum and maximum is not None:
        raise ValueError(f"maximum {maximum} is under minimum {minimum}; give minimum <= maximum")
    if total < count * minimum:
        raise ValueError(
            f"budget of {total} tokens for {count} with at least {minimum} each; give {count * minimum} or more, "
            "or a smaller minimum"
        )
    if not all(0 <= weight < math.inf for weight in weights) or not any(weights):
        raise ValueError(f"weights are {list(weights)}; accepted: finite numbers of 0 and above, not all 0")
    least, fixed = float(minimum), dict[int, float]()
    while True:  # each round fixes one or more at a limit
        free = [i for i in range(count) if i not in fixed]
        left, mass = total - sum(fixed.values()), sum(weights[i] for i in free)
        ideal = {i: left * (weights[i] / mass if mass > 0 else 1 / len(free)) for i in free}
        low = {i: least for i in free if ideal[i] < least}
        high = {i: float(most) for i in free if ideal[i] > most}
        # The side that is further off is fixed first; the other may come within its limit by that.
        lacking, spare = (sum(abs(ideal[i] - limit) for i, limit in side.items()) for side in (low, high))
        if not low and not high:
            break
        fixed |= low if lacking >= spare else high
        if len(fixed) == count:
            ideal = {}
            break
    exact = [fixed.get(i, ideal.get(i, least)) for i in range(count)]
    shares = [math.floor(share + 1e-9) for share in exact]
    left_over = min(total, count * most) - sum(shares)
    for i in sorted(range(count), key=lambda k: (shares[k] - exact[k], k)):
        if left_over > 0 and shares[i] < most:
            shares[i] += 1
            left_over -= 1
    return shares
