"""The probe: one linear classifier, trained the same way on whatever features it is given.

Features are standardised, the loss is cross-entropy with an L2 penalty, L-BFGS starts at zero (for a
weaker penalty where the stronger one led), and the penalty is the one of PENALTIES that does best in
cross-validation over training frames. Nothing is random.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

PENALTIES = (1e-2, 1e-1, 1.0)
FOLDS = 3
STEPS = 60
"""Iterations of L-BFGS."""

RESAMPLES = 2000
"""Bootstrap samples of an interval."""

Matrix = NDArray[np.float32]
Labels = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Probe:
    """A trained classifier; logits are ((x - mean) / spread) @ weights + bias."""

    mean: torch.Tensor
    spread: torch.Tensor
    weights: torch.Tensor
    bias: torch.Tensor
    penalty: float

    def logits(self, features: Matrix) -> torch.Tensor:
        """(n, classes) from (n, width)."""
        return (torch.from_numpy(features) - self.mean) / self.spread @ self.weights + self.bias

    def predict(self, features: Matrix) -> Labels:
        """Class of each row, (n,)."""
        found: Labels = self.logits(features).argmax(dim=1).numpy()
        return found


def train_probe(features: Matrix, labels: Labels, frames: Labels, *, classes: int) -> Probe:
    """Choose the penalty by cross-validation over frames, then train on everything.

    Args:
        features: (n, width).
        labels: (n,), below `classes`.
        frames: frame that each row comes from, (n,): a frame is never split between training and validation.
        classes: number of classes.
    Raises:
        ValueError: fewer than two frames, or features that are not finite.
    """
    names = np.unique(frames)
    if len(names) < 2:
        raise ValueError(f"{len(names)} frame to train on; cross-validation needs two or more")
    if not np.isfinite(features).all():
        raise ValueError("features hold NaN or infinity; look at the model's weights")
    fold = np.searchsorted(names, frames) % min(FOLDS, len(names))
    right = dict.fromkeys(PENALTIES, 0)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # matrices so small that threads would wait for each other most of the time
    try:
        for held_out in np.unique(fold):
            out = fold == held_out
            probe = None
            for penalty in sorted(PENALTIES, reverse=True):
                probe = _fit(features[~out], labels[~out], penalty, classes, start=probe)
                right[penalty] += int((probe.predict(features[out]) == labels[out]).sum())
        best = max(PENALTIES, key=lambda penalty: (right[penalty], penalty))
        return _fit(features, labels, best, classes)
    finally:
        torch.set_num_threads(threads)


def _fit(features: Matrix, labels: Labels, penalty: float, classes: int, *, start: Probe | None = None) -> Probe:
    rows, target = torch.from_numpy(features), torch.from_numpy(labels)
    mean, spread = rows.mean(0), rows.std(0, correction=0).clamp_min(1e-6)
    rows = (rows - mean) / spread
    weights = torch.zeros(rows.shape[1], classes) if start is None else start.weights.clone()
    bias = torch.zeros(classes) if start is None else start.bias.clone()
    weights.requires_grad_(True)
    bias.requires_grad_(True)
    search = torch.optim.LBFGS([weights, bias], max_iter=STEPS, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        search.zero_grad()
        value = torch.nn.functional.cross_entropy(rows @ weights + bias, target) + penalty * weights.square().sum()
        value.backward()  # type: ignore[no-untyped-call]
        return value

    with torch.inference_mode(False), torch.enable_grad():
        search.step(loss)  # type: ignore[no-untyped-call]
    return Probe(mean, spread, weights.detach(), bias.detach(), penalty)


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate with its 95 % interval."""

    value: float
    low: float
    high: float


def share(right: NDArray[np.bool_], frames: Labels, *, seed: int = 0) -> Interval:
    """Share that is right; frames are drawn again and again, since targets of one frame go together."""
    sums, counts = _per_frame(right, frames)
    draws = _draws(len(sums), seed)
    return _interval(float(right.mean()), sums[draws].sum(1) / counts[draws].sum(1))


def ratio(right: NDArray[np.bool_], base: NDArray[np.bool_], frames: Labels, *, seed: int = 0) -> Interval | None:
    """Share that is right over that of another method on the same targets; None where that has none right."""
    if not base.any():
        return None
    sums, base_sums = _per_frame(right, frames)[0], _per_frame(base, frames)[0]
    draws = _draws(len(sums), seed)
    below = np.maximum(base_sums[draws].sum(1), 0.5)
    return _interval(float(right.sum() / base.sum()), sums[draws].sum(1) / below)


def _per_frame(right: NDArray[np.bool_], frames: Labels) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(right, all) of each frame."""
    _, place, counts = np.unique(frames, return_inverse=True, return_counts=True)
    sums = np.zeros(len(counts))
    np.add.at(sums, place, right)
    return sums, counts.astype(np.float64)


def _draws(count: int, seed: int) -> NDArray[np.int64]:
    return np.random.default_rng(seed).integers(count, size=(RESAMPLES, count))


def _interval(value: float, samples: NDArray[np.float64]) -> Interval:
    low, high = np.percentile(samples, [2.5, 97.5])
    return Interval(round(value, 4), round(float(low), 4), round(float(high), 4))
