"""Gates: which rows of a block are worth computing again.

A gate sees, for every row, how far what enters a module has moved from what the module last saw,
relative to its length. A threshold bounds that distance for every row that is left out, so errors
cannot pile up over time; a count or a fraction bounds the work instead.

Source:
    Dutson, Li and Gupta, Eventful Transformers, ICCV 2023: gates against the last used value.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol, cast, runtime_checkable

import torch

Site = Literal["attention", "projection", "mlp"]
"""Where a gate stands in a block: before queries, keys and values; before what mixes the heads; before the MLP."""


@runtime_checkable
class Gate(Protocol):
    """Decides which rows a module computes again."""

    def select(self, change: torch.Tensor) -> torch.Tensor:
        """Bool like `change`, (views, rows): relative change of each row; infinite for rows that are taken anyway."""


GatePlan = Gate | Callable[[int, Site], Gate]
"""One gate for all, or a function that gives the one of a block, 0-based, and a site."""


@dataclass(frozen=True, slots=True)
class Threshold:
    """Rows that moved by more than a share of their own length.

    Attributes:
        share: >= 0; 0 takes every row that moved at all, which gives the full forward pass.
    """

    share: float = 0.1

    def __post_init__(self) -> None:
        if not 0 <= self.share < float("inf"):
            raise ValueError(f"gate threshold {self.share}; accepted: a share of 0 or more, such as 0.1")

    def select(self, change: torch.Tensor) -> torch.Tensor:
        """See Gate."""
        return change > self.share


@dataclass(frozen=True, slots=True)
class TopK:
    """The rows that moved most: as many at every call, unless more must be taken.

    Attributes:
        rows: of each view, at least 1; those that are taken anyway count among them.
    """

    rows: int

    def __post_init__(self) -> None:
        if self.rows < 1:
            raise ValueError(f"gate of {self.rows} rows; accepted: 1 or more")

    def select(self, change: torch.Tensor) -> torch.Tensor:
        """See Gate."""
        most = change.topk(min(self.rows, change.shape[-1]), dim=-1).indices
        return torch.zeros_like(change, dtype=torch.bool).scatter_(-1, most, True)


@dataclass(frozen=True, slots=True)
class Fraction:
    """As TopK, with a share of the view's rows.

    Attributes:
        share: above 0, up to 1.
    """

    share: float

    def __post_init__(self) -> None:
        if not 0 < self.share <= 1:
            raise ValueError(f"gate of a share of {self.share} of the rows; accepted: above 0, up to 1")

    def select(self, change: torch.Tensor) -> torch.Tensor:
        """See Gate."""
        return TopK(max(round(self.share * change.shape[-1]), 1)).select(change)


@dataclass(frozen=True, slots=True, eq=False)
class Given:
    """Rows that are known beforehand, whatever moved: one model run on the rows that another one's gates took.

    Attributes:
        rows: bool, (views, rows).
    """

    rows: torch.Tensor

    def select(self, change: torch.Tensor) -> torch.Tensor:
        """See Gate."""
        return self.rows.expand_as(change)


def gate_at(plan: GatePlan, block: int, site: Site) -> Gate:
    """The gate of one place."""
    return cast(Gate, plan) if hasattr(plan, "select") else plan(block, site)
