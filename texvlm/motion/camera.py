"""Camera motion: the one transform of the whole picture that explains most of a motion field.

What is left after it is the motion of objects. The fit is robust twice over: many small random
samples are tried (always the same ones) and the best is refined by weighted least squares whose
weights fall off with what each cell is off by.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from texvlm.motion.field import FlowArray, MotionField

CameraModel = Literal["similarity", "affine", "homography"]
CameraKind = Literal["unknown", "static", "pan", "zoom", "rotation", "mixed"]

_SAMPLE_CELLS = {"similarity": 2, "affine": 3, "homography": 4}
"""Cells that fix a transform."""

_SAMPLES = 96
"""Transforms tried. Where half of the cells move with the camera, 1 in 500 fits misses all sets of 4 such cells."""

_FITTED = 1024
"""Cells that a transform is fitted to, at most, spread evenly over the valid ones."""

_STEPS = 6
"""Rounds of reweighting."""

_Matrix = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class CameraMotion:
    """A frame's camera motion.

    Attributes:
        matrix: (3, 3), takes (x, y, 1) of the new frame to the reference frame, level-0 texels, last entry 1.
        inliers: (rows, columns), bool: cells that move with the camera.
        share: inliers of the valid cells, 0..1.
        residual: the field less the camera's part: what objects moved. Valid where the field is.
        kind: in words: "static", "pan", "zoom", "rotation", "mixed" (several of them), or "unknown" where
            too few cells agree.
    """

    matrix: _Matrix
    inliers: NDArray[np.bool_]
    share: float
    residual: MotionField
    kind: CameraKind

    def at(self, points: ArrayLike) -> FlowArray:
        """The camera's flow at points (..., 2) of the new frame, (..., 2)."""
        return _flow_of(self.matrix, np.asarray(points, np.float64)).astype(np.float32)

    def field(self) -> MotionField:
        """The camera's flow on the grid of the field that it was fitted to, valid where it stays in the frame."""
        flow = self.at(self.residual.centres())
        x, y = np.moveaxis(self.residual.centres() + flow, -1, 0)
        known = (x >= 0) & (y >= 0) & (x <= self.residual.size[0]) & (y <= self.residual.size[1])
        known &= self.kind != "unknown"
        flow = np.where(known[..., None], flow, np.float32(0))
        return replace(self.residual, flow=flow, valid=known, origin="camera", error=None)


def camera_motion(
    field: MotionField,
    *,
    model: CameraModel = "similarity",
    tolerance: float = 1.0,
    least_share: float = 0.4,
) -> CameraMotion:
    """Fit the camera's motion to a field.

    Args:
        field: only its valid cells count.
        model: "similarity" (pan, zoom, rotation), "affine" (shear, too), "homography" (a turning camera).
        tolerance: texels that a cell may be off and still move with the camera; 5 % of the cell's flow is
            added, because fast motion is measured less exactly.
        least_share: of the valid cells that must agree; else the matrix is the identity, nothing is an
            inlier, and `kind` is "unknown".
    Returns:
        The same for the same field, always: samples are drawn with a fixed seed.
    Raises:
        ValueError: an option is not accepted.
    """
    if model not in get_args(CameraModel):
        raise ValueError(f"model is {model!r}; accepted: {', '.join(get_args(CameraModel))}")
    if not 0 < tolerance < float("inf") or not 0 <= least_share <= 1:
        raise ValueError(
            f"tolerance is {tolerance} and least_share {least_share}; accepted: texels above 0, and a share of 0..1"
        )
    here = field.centres()[field.valid].astype(np.float64)
    there = here + field.flow[field.valid]
    bound = tolerance + 0.05 * np.linalg.norm(there - here, axis=1)
    # fitted around the centre and in units of the longer side, where all entries are of one order
    middle, unit = np.array(field.size) / 2, max(field.size) / 2
    matrix = _fit((here - middle) / unit, (there - middle) / unit, bound / unit, model)
    inliers = np.zeros(field.valid.shape, np.bool_)
    share = 0.0
    if matrix is not None:
        to_unit = np.array([[1 / unit, 0, -middle[0] / unit], [0, 1 / unit, -middle[1] / unit], [0, 0, 1]])
        matrix = np.linalg.inv(to_unit) @ matrix @ to_unit
        matrix /= matrix[2, 2]
        inliers[field.valid] = np.linalg.norm(here + _flow_of(matrix, here) - there, axis=1) <= bound
        share = float(inliers.sum() / max(len(here), 1))
    if matrix is None or share < least_share:
        return CameraMotion(np.eye(3), np.zeros_like(inliers), share, field, "unknown")
    camera = _flow_of(matrix, field.centres().astype(np.float64)).astype(np.float32)
    left = np.where(field.valid[..., None], field.flow - camera, np.float32(0))
    return CameraMotion(matrix, inliers, share, replace(field, flow=left), _kind(matrix, field.size, tolerance))


def _fit(here: _Matrix, there: _Matrix, bound: _Matrix, model: CameraModel) -> _Matrix | None:
    """The transform that most cells agree with; None where there are too few cells, or they fix none."""
    count = _SAMPLE_CELLS[model]
    if len(here) < 2 * count:
        return None
    spread = np.linspace(0, len(here) - 1, min(_FITTED, len(here))).astype(np.intp)
    here, there, bound = here[spread], there[spread], bound[spread]
    drawn = np.random.default_rng(0).integers(0, len(here), (_SAMPLES, count))
    candidates = _solve(here[drawn], there[drawn], np.ones((_SAMPLES, count)), model)
    # the median shift, too: near a pure pan, whatever the samples
    shift = np.eye(3)
    shift[:2, 2] = np.median(there - here, axis=0)
    candidates = np.concatenate([candidates, shift[None]])
    off = np.linalg.norm(_moved(candidates, here) - there, axis=-1)
    # a cell counts the less the more it is off, and not at all beyond its bound
    scores = np.clip(1 - np.square(off / bound), 0, None).sum(axis=1)
    matrix = candidates[scores.argmax()]
    for _ in range(_STEPS):
        off = np.linalg.norm(_moved(matrix[None], here)[0] - there, axis=-1) / bound
        weights = np.square(np.clip(1 - np.square(off / 2), 0, None))  # Tukey's biweight, zero from twice the bound
        if np.count_nonzero(weights) < count:
            return None
        matrix = _solve(here[None], there[None], weights[None], model)[0]
    return matrix if np.isfinite(matrix).all() and abs(matrix[2, 2]) > 1e-9 else None


def _solve(here: _Matrix, there: _Matrix, weights: _Matrix, model: CameraModel) -> _Matrix:
    """Weighted least squares of many sets of cells, (sets, n, 2): one transform for each, (sets, 3, 3).

    The equations are linear in the entries; a set that fixes no transform gives the smallest correction
    to the identity that fits it.
    """
    x, y = here[..., 0], here[..., 1]
    zero, one = np.zeros_like(x), np.ones_like(x)
    moved = there - here
    if model == "similarity":
        rows_x, rows_y = [x, -y, one, zero], [y, x, zero, one]
    elif model == "affine":
        rows_x, rows_y = [x, y, one, zero, zero, zero], [zero, zero, zero, x, y, one]
    else:
        u, v = there[..., 0], there[..., 1]
        rows_x = [x, y, one, zero, zero, zero, -u * x, -u * y]
        rows_y = [zero, zero, zero, x, y, one, -v * x, -v * y]
    system = np.concatenate([np.stack(rows_x, -1), np.stack(rows_y, -1)], axis=1)
    values = np.concatenate([moved[..., 0], moved[..., 1]], axis=1)
    scale = np.concatenate([weights, weights], axis=1)
    normal = np.einsum("sni,sn,snj->sij", system, scale, system)
    ridge = 1e-9 * np.trace(normal, axis1=1, axis2=2)[:, None, None] + 1e-12
    wanted = np.einsum("sni,sn,sn->si", system, scale, values)[..., None]
    entries = np.linalg.solve(normal + ridge * np.eye(normal.shape[1]), wanted)[..., 0]
    matrices = np.tile(np.eye(3), (len(here), 1, 1))
    if model == "similarity":
        a, b, c, d = entries.T
        matrices[:, :2] += np.stack([np.stack([a, -b, c], -1), np.stack([b, a, d], -1)], axis=1)
    else:
        matrices[:, :2] += entries[:, :6].reshape(-1, 2, 3)
        if model == "homography":
            matrices[:, 2, :2] = entries[:, 6:]
    return matrices


def _moved(matrices: _Matrix, points: _Matrix) -> _Matrix:
    """(sets, n, 2): each transform applied to all points (n, 2)."""
    lifted = np.concatenate([points, np.ones((len(points), 1))], axis=1) @ matrices.transpose(0, 2, 1)
    depth = lifted[..., 2:]
    places: _Matrix = lifted[..., :2] / np.where(np.abs(depth) < 1e-9, 1e-9, depth)
    return places


def _flow_of(matrix: _Matrix, points: _Matrix) -> _Matrix:
    """The flow of one transform at points (..., 2)."""
    flat = points.reshape(-1, 2)
    flow: _Matrix = (_moved(matrix[None], flat)[0] - flat).reshape(points.shape)
    return flow


def _kind(matrix: _Matrix, size: tuple[int, int], tolerance: float) -> CameraKind:
    """A transform in words: which of shift, scale and turn moves some place of the frame by more than the tolerance."""
    middle = np.array([[size[0] / 2, size[1] / 2]])
    radius = float(np.hypot(*size)) / 2
    linear = matrix[:2, :2]
    scale = np.sqrt(abs(np.linalg.det(linear)))
    turn = np.arctan2(linear[1, 0] - linear[0, 1], linear[0, 0] + linear[1, 1])
    parts: dict[CameraKind, float] = {
        "pan": float(np.linalg.norm(_flow_of(matrix, middle))),
        "zoom": float(abs(scale - 1) * radius),
        "rotation": float(abs(turn) * radius),
    }
    moving: list[CameraKind] = [name for name, texels in parts.items() if texels > tolerance]
    if not moving:
        return "static"
    return moving[0] if len(moving) == 1 else "mixed"
