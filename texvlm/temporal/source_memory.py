"""What is remembered of one source's tokens: their pixels as they were encoded, their ages, and where each one is kept.

Kept rows have an order of their own, because a token may change its row of the table while what is known
of it stays where it lies: `order` says where each row of the last table is kept.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch

from texvlm.layouts.table import PADDING_LAYER, Table
from texvlm.motion.field import MotionField
from texvlm.temporal.change import ChangeRule, token_change
from texvlm.temporal.matching import UNMATCHED, Match, moved, same_place


@dataclass(frozen=True, slots=True, eq=False)
class Verdict:
    """What is to be encoded of one view; all of shape (tokens,), in the order of its table.

    Attributes:
        stale: bool: to be embedded again.
        due: bool: among the stale, those that are to pass every gate: never encoded, too old, or in turn.
        change: float32, steps of 255, of tokens that are reused; 0 for stale and padding rows.
        ages: int32, frames; 0 for stale and padding rows.
        moved: bool: reused from another place or row.
        order: int64: where each row is kept.
        replaced: tokens lie or are kept elsewhere than at the last commit.
        whole: everything is stale, whatever changed.
        reason: in a few words.
    """

    stale: torch.Tensor
    due: torch.Tensor
    change: torch.Tensor
    ages: torch.Tensor
    moved: torch.Tensor
    order: torch.Tensor
    replaced: bool
    whole: bool
    reason: str


class SourceMemory:
    """Tokens of one source as they were last encoded.

    Args:
        pixels: tokens of a view of it, for their number, shape, type and device.
    """

    def __init__(self, pixels: torch.Tensor) -> None:
        self._encoded = torch.zeros_like(pixels)
        self._ages = torch.zeros(len(pixels), dtype=torch.int32, device=pixels.device)
        self._known = torch.zeros(len(pixels), dtype=torch.bool, device=pixels.device)
        self._order = torch.arange(len(pixels), device=pixels.device)
        self._table: Table | None = None
        self._size: tuple[int, int] | None = None
        self._pts = math.nan

    def fits(self, pixels: torch.Tensor) -> bool:
        """Whether a view's tokens have the shape, type and device of these."""
        mine = self._encoded
        return (mine.shape, mine.dtype, mine.device) == (pixels.shape, pixels.dtype, pixels.device)

    @property
    def nbytes(self) -> int:
        """Bytes kept."""
        kept = (self._encoded, self._ages, self._known, self._order)
        return sum(tensor.nbytes for tensor in kept) + (0 if self._table is None else self._table.nbytes)

    def check_time(self, pts: float, source: int) -> None:
        """ValueError where time goes backwards. Unknown times (NaN) and a frame given again are accepted."""
        if pts < self._pts:
            raise ValueError(
                f"source {source}: a frame of {pts:g} s after one of {self._pts:g} s; give frames in the order of "
                f"time, or reset({source}) to start again"
            )

    def judge(
        self,
        pixels: torch.Tensor,
        table: Table,
        size: tuple[int, int],
        rule: ChangeRule,
        *,
        pts: float,
        std: tuple[float, ...] | None,
        motion: MotionField | None = None,
        tolerance: float = 0.25,
        everything: str = "",
    ) -> Verdict:
        """Tell what is stale; nothing is remembered before `commit`.

        Args:
            pixels: of the view, (tokens, channels, patch, patch).
            table: of the view.
            size: (width, height) of its frame.
            rule: what is stale.
            pts: of the frame, seconds.
            std: see token_change.
            motion: backward, to the frame of the last `commit`; None where places stay.
            tolerance: see texvlm.temporal.matching.moved.
            everything: why all is to be encoded; empty where it is not.
        """
        device = pixels.device
        held = torch.from_numpy(table["layer"] != PADDING_LAYER).to(device)
        replaced = self._table is None or self._size != size or not np.array_equal(self._table, table)
        match, elsewhere = self._match(table, size, motion, replaced, tolerance)
        order = self._order if match is None else self._reorder(match)
        known = held & self._known[order]
        if match is not None:
            known &= torch.from_numpy(match != UNMATCHED).to(device)
        change = token_change(pixels, self._encoded[order], measure=rule.measure, std=std)
        change = change.masked_fill(~held, 0).masked_fill_(held & ~known, math.inf)
        if rule.threshold == 0 and replaced and int(known.sum()) < int(self._known.sum()):
            change = change.masked_fill(held, math.inf)  # a token that is gone changes what the others see
        again = not math.isnan(pts) and pts == self._pts
        ages = (self._ages[order] + (0 if again else 1)).masked_fill(~known, 0)
        whole = bool(everything) or not bool(known.any())
        if whole:
            due = stale = held
            reason = everything or ("first frame" if self._table is None else "nothing known")
        else:
            stale = rule.stale(change, ages.masked_fill(~held, -1)) & held  # padding has no turn
            due = stale & ((change <= rule.threshold) | ~known)
            reason = "change" if bool(stale.any()) else "frame given again" if again else "nothing changed"
        return Verdict(
            stale,
            due,
            change.masked_fill(stale, 0),
            ages.masked_fill(stale, 0),
            elsewhere.to(device) & known & ~stale,
            order,
            replaced or match is not None,
            whole,
            reason,
        )

    def commit(self, verdict: Verdict, pixels: torch.Tensor, table: Table, size: tuple[int, int], pts: float) -> None:
        """Remember that the stale tokens of a verdict have been encoded."""
        rows = verdict.order[verdict.stale]
        self._encoded[rows] = pixels[verdict.stale]
        self._known[rows] = True
        self._order = verdict.order
        self._ages[verdict.order] = verdict.ages
        if verdict.replaced:
            self._table, self._size = table.copy(), size
            kept = torch.zeros_like(self._known)
            kept[verdict.order[torch.from_numpy(table["layer"] != PADDING_LAYER).to(kept.device)]] = True
            self._known &= kept
        self._pts = pts if not math.isnan(pts) else self._pts

    def _match(
        self, table: Table, size: tuple[int, int], motion: MotionField | None, replaced: bool, tolerance: float
    ) -> tuple[Match | None, torch.Tensor]:
        """Rows of the last table that these are, None where all stay; and which are found elsewhere."""
        nowhere = torch.zeros(len(table), dtype=torch.bool)
        if self._table is None or self._size != size:
            return np.full(len(table), UNMATCHED, np.int64), nowhere
        if motion is not None:
            return self._follow(table, motion, nowhere, tolerance)
        if not replaced:
            return None, nowhere
        match = same_place(self._table, table)
        return match, torch.from_numpy((match != UNMATCHED) & (match != np.arange(len(match))))

    def _follow(
        self, table: Table, motion: MotionField, nowhere: torch.Tensor, tolerance: float
    ) -> tuple[Match | None, torch.Tensor]:
        assert self._table is not None
        match = moved(self._table, table, motion, tolerance=tolerance)
        # what the motion does not explain may still be where it was
        stayed = same_place(self._table, table)
        free = (match == UNMATCHED) & (stayed != UNMATCHED) & ~np.isin(stayed, match)
        match[free] = stayed[free]
        places, here = (np.stack([part["x"], part["y"]], axis=1) for part in (self._table, table))
        elsewhere = torch.from_numpy((match != UNMATCHED) & (places[match] != here).any(axis=1))
        if np.array_equal(match, np.where(table["layer"] == PADDING_LAYER, UNMATCHED, np.arange(len(match)))):
            return None, elsewhere
        return match, elsewhere

    def _reorder(self, match: Match) -> torch.Tensor:
        """Where each row of a new table is kept: where the row it is was kept, and any free place for the others."""
        old = self._order.cpu().numpy()
        order = np.where(match == UNMATCHED, -1, old[match])
        free = np.setdiff1d(old, order[order >= 0], assume_unique=True)
        order[order < 0] = free
        return torch.from_numpy(order).to(self._order.device)
