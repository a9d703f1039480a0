"""Views that were encoded plainly, reported like the others; and how far motion was wrong."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

import numpy as np
import torch

from texvlm.encoders.features import Features
from texvlm.motion.field import MotionField
from texvlm.temporal.reports import ReuseReport
from texvlm.temporal.temporal_reports import TemporalReport
from texvlm.tokens import TokenBatch


def plain_reports(
    features: Features, sources: Sequence[int], reasons: Sequence[str], *, flops: int
) -> list[ReuseReport]:
    """Reports of views of which everything was encoded.

    Args:
        features: of the views.
        sources: of the views.
        reasons: of the views.
        flops: of one view; 0 where nobody knows.
    """
    found = []
    for view, (source, reason) in enumerate(zip(sources, reasons, strict=True)):
        held = ~features.padding[view]
        found.append(
            ReuseReport(
                source=source,
                level="L0",
                reason=reason,
                tokens=int(held.sum()),
                encoded=held,
                ages=torch.zeros(held.shape, dtype=torch.int32, device=held.device),
                deviation=torch.zeros(held.shape, device=held.device),
                moved=torch.zeros_like(held),
                flops_full=flops,
                _flops=flops,
            )
        )
    return found


def temporal_report(report: ReuseReport, **more: Any) -> TemporalReport:
    """A report with what TemporalEncoder adds to it; names of TemporalReport replace those of the report."""
    known = {field.name: getattr(report, field.name) for field in fields(report)}
    return TemporalReport(**(known | more))


def warp_error_of(batch: TokenBatch, view: int, motion: MotionField, report: ReuseReport) -> float | None:
    """Share of the tokens whose content motion says was in the last frame, and that pixels found stale.

    None where it says so of no token, or where everything was encoded for another reason.
    """
    if report.level == "L0":
        return None
    table = batch.table[view]
    centres = np.stack([table["x"], table["y"]], axis=-1)
    flow, known = motion.at(centres)
    half = table["side"][:, None] / 2
    came_from = centres + flow
    # tokens that reach over the edge show less than they did, whatever moved
    inside = ((came_from >= half) & (came_from <= batch.sizes[view] - half)).all(axis=-1)
    inside &= ((centres >= half) & (centres <= batch.sizes[view] - half)).all(axis=-1)
    expected = torch.from_numpy(known & inside & (table["valid"] > 0)).to(report.encoded.device)
    count = int(expected.sum())
    return float((report.encoded & expected).sum() / count) if count else None
