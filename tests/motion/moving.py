"""Pictures whose motion is known exactly: one smooth endless texture, seen through a transform."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from texvlm.motion import MotionField

_WAVES = np.random.default_rng(7)
_FREQUENCIES = _WAVES.normal(0, 0.22, (40, 2))
_PHASES = _WAVES.uniform(0, 2 * np.pi, 40)


def texture(points: NDArray[np.float64]) -> NDArray[np.float32]:
    """Brightness of 0..1 at any points (..., 2): a sum of waves, so that no picture is interpolated."""
    waves = np.cos(points @ _FREQUENCIES.T + _PHASES)
    return np.clip(0.5 + 0.055 * waves.sum(axis=-1), 0, 1).astype(np.float32)


def texels(size: tuple[int, int]) -> NDArray[np.float64]:
    """Centres of the texels of a frame, (height, width, 2)."""
    return np.stack(np.meshgrid(np.arange(size[0]) + 0.5, np.arange(size[1]) + 0.5), axis=-1)


def similarity(
    size: tuple[int, int], *, zoom: float = 1.0, turn: float = 0.0, shift: tuple[float, float] = (0.0, 0.0)
) -> NDArray[np.float64]:
    """(3, 3): zoom and turn, radians, around the frame's middle, then a shift, texels."""
    middle = np.array(size) / 2
    linear = zoom * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    matrix = np.eye(3)
    matrix[:2, :2], matrix[:2, 2] = linear, middle - linear @ middle + shift
    return matrix


def applied(matrix: NDArray[np.float64], points: NDArray[np.float64]) -> NDArray[np.float64]:
    """A transform at points (..., 2)."""
    lifted = points @ matrix[:, :2].T + matrix[:, 2]
    return lifted[..., :2] / lifted[..., 2:]


def pair(size: tuple[int, int], matrix: NDArray[np.float64]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """(new, reference): what the new one shows at x, the reference shows at matrix @ x."""
    return texture(applied(matrix, texels(size))), texture(texels(size))


def true_field(size: tuple[int, int], matrix: NDArray[np.float64], cell: tuple[float, float] = (16, 16)) -> MotionField:
    """The flow of such a pair; valid where it stays in the frame."""
    blank = MotionField.zero(size, cell=cell)
    centres = blank.centres().astype(np.float64)
    there = applied(matrix, centres)
    valid = (there >= 0).all(-1) & (there <= np.array(size)).all(-1)
    return MotionField((there - centres).astype(np.float32), valid, size, cell, "true")


def endpoint_error(field: MotionField, truth: MotionField) -> NDArray[np.float32]:
    """Distance between two flows where both are known, texels, flat."""
    both = field.valid & truth.valid
    return np.linalg.norm(field.flow - truth.flow, axis=-1)[both]
