"""The one table of bounds, and the one way to compare with the reference.

Bounds are absolute, on values scaled to 0..1, for float32 output. float16 and bfloat16 add half a unit in the
last place of the value; uint8 adds half a step of rounding and the same bound as float32.
"""

from __future__ import annotations

import numpy as np
import torch

from texvlm.backends.base import Backend

# backend -> bound of one sample anywhere
ANYWHERE = {
    "cpu": 1e-5,  # float64 positions, float32 arithmetic
    "gl": 1e-4,  # float32 positions and arithmetic; texels are fetched, not filtered by the driver
    "cuda exact": 1e-4,  # the same
    "cuda hardware": 3 / 256,  # three mixes by weights of 8 bits, each of the whole range at worst
}
AT_CENTRES = 1e-6  # whole LOD, texel centres: weights are zero, nothing is filtered


def anywhere(backend: Backend) -> float:
    """Bound of a sample at any point and LOD."""
    return ANYWHERE[f"{backend.name} {backend.describe()['filtering']}" if backend.name == "cuda" else backend.name]


def assert_tokens(out: torch.Tensor, expected: np.ndarray, bound: float, *, gain: float = 1.0) -> None:
    """Tokens equal the reference's within a bound; `gain` is what normalisation multiplies errors by."""
    got = out.to(torch.float64).cpu().numpy()
    limit = np.full(expected.shape, bound * gain)
    if out.dtype == torch.uint8:
        expected = expected * 255
        limit = np.full(expected.shape, 0.5 + 255 * bound)
    elif out.dtype == torch.float16:
        limit += np.abs(expected) * 2.0**-11 + 2.0**-25
    elif out.dtype == torch.bfloat16:
        limit += np.abs(expected) * 2.0**-8
    error = np.abs(got - expected)
    worst = np.unravel_index(np.argmax(error - limit), error.shape)
    assert (error <= limit).all(), (
        f"token, channel, row, column {tuple(map(int, worst))}: got {got[worst]}, expected {expected[worst]}, "
        f"bound {limit[worst]:.2e}; {np.count_nonzero(error > limit)} of {error.size} differ"
    )
