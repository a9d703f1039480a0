"""FrameImportance: how far the full encoder's answer would move, guessed without running it.

From statistics of a small mip level against the frame that was last encoded, a network of a few
hundred weights predicts 1 - cosine of the two class tokens. It is monotone: where no statistic says
that more has changed, it never expects more movement. That is true of what it learns, and keeps it from
learning the clips that it was shown. Who skips frames may ask it instead of comparing pixels.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from texvlm.video_models.frame_statistics import STATISTICS, frame_statistics
from texvlm.video_models.head import check_at_least

LEAST = 1e-4
"""Changes of pixels below this, of full scale, count as this: their logarithm would be noise."""

LEAST_MOVEMENT = 1e-5
"""Movements of answers below this count as this, for the same reason."""


class FrameImportance(nn.Module):
    """Predicts how far a class token moves; see the module.

    Args:
        hidden: width of the network.
    """

    def __init__(self, *, hidden: int = 16) -> None:
        super().__init__()
        self.hidden = check_at_least("hidden", hidden, 1)
        count = len(STATISTICS)
        self.mean: torch.Tensor
        self.spread: torch.Tensor
        self.register_buffer("mean", torch.zeros(count))
        self.register_buffer("spread", torch.ones(count))
        self.into = nn.Linear(count, hidden)
        self.out = nn.Linear(hidden, 1)

    @property
    def options(self) -> dict[str, int]:
        """Keyword arguments that make another one of this shape."""
        return {"hidden": self.hidden}

    @torch.no_grad()
    def fit_scale(self, statistics: torch.Tensor, moved: torch.Tensor) -> None:
        """Begin near the examples: their mean and spread, and their mean movement, logarithms all.

        Args:
            statistics: (n, len(STATISTICS)).
            moved: (n,), above 0.
        """
        logs = _log(statistics)
        self.mean.copy_(logs.mean(0))
        self.spread.copy_(logs.std(0, correction=0).clamp_min(1e-3))
        self.out.bias.fill_(moved.log().mean())

    def log_movement(self, statistics: torch.Tensor) -> torch.Tensor:
        """Natural logarithm of the movement, (n,), of statistics (n, len(STATISTICS))."""
        scaled = (_log(statistics) - self.mean) / self.spread
        # weights that are not negative make it monotone
        units = torch.tanh(nn.functional.linear(scaled, self.into.weight.abs(), self.into.bias))
        return nn.functional.linear(units, self.out.weight.abs(), self.out.bias)[:, 0]

    def forward(self, statistics: torch.Tensor) -> torch.Tensor:
        """Expected 1 - cosine between the class tokens, (n,), above 0.

        Raises:
            ValueError: statistics of another shape.
        """
        if statistics.ndim != 2 or statistics.shape[1] != len(STATISTICS):
            raise ValueError(f"statistics of shape {tuple(statistics.shape)}; need (n, {len(STATISTICS)})")
        return self.log_movement(statistics).exp()

    @torch.no_grad()
    def between(self, now: NDArray[Any], then: NDArray[Any]) -> float:
        """Expected 1 - cosine between the class tokens of two frames; see frame_statistics for arguments and errors."""
        return float(self(torch.from_numpy(frame_statistics(now, then)[None]).to(self.mean.device)))


def movement(now: torch.Tensor, then: torch.Tensor) -> torch.Tensor:
    """1 - cosine of answers (n, width), at least LEAST_MOVEMENT: what is to be predicted, (n,)."""
    return (1 - nn.functional.cosine_similarity(now.double(), then.double(), dim=1)).clamp_min(LEAST_MOVEMENT).float()


def rank_correlation(a: NDArray[Any], b: NDArray[Any]) -> float:
    """Spearman's: the correlation of ranks, equal values sharing theirs; 0 where one does not vary."""
    ranks = [_ranks(values) for values in (a, b)]
    first, second = (rank - rank.mean() for rank in ranks)
    lengths = np.sqrt(np.square(first).sum() * np.square(second).sum())
    return float((first * second).sum() / lengths) if lengths else 0.0


def _ranks(values: NDArray[Any]) -> NDArray[np.float64]:
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = counts.cumsum()
    return (ends - (counts - 1) / 2)[place]


def _log(statistics: torch.Tensor) -> torch.Tensor:
    return statistics.clamp_min(LEAST).log()
