"""SourceHead: a head over time for many sources at once, each with a state of its own.

The head itself knows nothing of sources. Here the states of the sources in a batch are put together,
stepped, and put back; one source may join, leave, stall or change its layout without the others
noticing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from texvlm.encoders import Features
from texvlm.layouts.table import PADDING_LAYER, TABLE_FIELDS
from texvlm.video_models.head import State, TemporalHead

_PLACE = [TABLE_FIELDS.index(name) for name in ("x", "y", "side")]
_LAYER = TABLE_FIELDS.index("layer")


@dataclass(frozen=True, slots=True)
class _Kept:
    """What is known of one source: tensors without the leading axis of views."""

    state: State
    places: torch.Tensor  # (tokens, 3), bits of x, y and side
    pts: float


class SourceHead:
    """Runs a head on an encoder's features, without gradients. Prefix rows are stepped like tokens.

    Args:
        head: of the encoder's width, on its device.
        pool: makes `pooled` of corrected class tokens, (views, width), as `encoder.pool`; without it
            `pooled` of what comes out is None, because that of the encoder knows nothing of the head.
    """

    def __init__(self, head: TemporalHead, *, pool: Callable[[torch.Tensor], torch.Tensor] | None = None) -> None:
        self.head = head
        self._pool = pool
        self._kept: dict[int, _Kept] = {}

    @torch.no_grad()
    def __call__(
        self, features: Features, *, cuts: Sequence[bool] | None = None, ages: torch.Tensor | None = None
    ) -> Features:
        """Features of each view's next frame, corrected.

        A token whose place differs from the frame before starts anew, and so does a source with
        another count of tokens.

        Args:
            features: at most one view of a source.
            cuts: of each view: the frame is the first of a shot.
            ages: frames since each token was encoded, (views, tokens); None for 0.
        Raises:
            ValueError: two views of one source, time that goes back, or shapes that disagree; no
                source's state has changed, as after whatever else the head or `pool` raises.
        """
        sources = [int(source) for source in features.sources]
        if len(set(sources)) < len(sources):
            raise ValueError(f"views of sources {sources}; a step over time takes one view of a source")
        if cuts is not None and len(cuts) != len(sources):
            raise ValueError(f"{len(cuts)} cuts for {len(sources)} views; give one for each")
        for source, pts in zip(sources, features.pts, strict=True):
            if source in self._kept and pts < self._kept[source].pts:
                raise ValueError(
                    f"source {source} goes back from {self._kept[source].pts:g} s to {pts:g} s; "
                    f"reset({source}) first where that is meant"
                )
        before = features.prefix.shape[1]
        rows = torch.cat([features.prefix, features.tokens], dim=1)
        places, padding = _places(features)
        if ages is not None:
            ages = torch.nn.functional.pad(ages, (before, 0))
        state, fresh = self._gather(sources, places, rows.shape[1])
        if cuts is not None:
            fresh = fresh | torch.tensor(list(cuts), dtype=torch.bool, device=fresh.device)[:, None]
        hidden = torch.nn.functional.pad(padding, (before, 0))
        corrected, state = self.head.step(rows, state, fresh=fresh | hidden, ages=ages)
        corrected = torch.where(hidden[..., None], rows, corrected)
        prefix = corrected[:, :before]
        pooled = self._pool(prefix[:, 0]) if self._pool is not None and before else None
        for view, source in enumerate(sources):
            pts = float(features.pts[view])
            if math.isnan(pts) and source in self._kept:
                pts = self._kept[source].pts
            self._kept[source] = _Kept(tuple(part[view].clone() for part in state), places[view].clone(), pts)
        return replace(features, tokens=corrected[:, before:], prefix=prefix, pooled=pooled, regions=None)

    def reset(self, source: int) -> None:
        """Forget what was seen of a source, as at a cut; time may start again. Unknown sources are fine."""
        self._kept.pop(source, None)

    @property
    def sources(self) -> list[int]:
        """Sources with a state."""
        return sorted(self._kept)

    def state_bytes(self, source: int) -> int:
        """Memory of one source's state; 0 without one."""
        kept = self._kept.get(source)
        parts = () if kept is None else (*kept.state, kept.places)
        return sum(part.numel() * part.element_size() for part in parts)

    def _gather(self, sources: Sequence[int], places: torch.Tensor, rows: int) -> tuple[State, torch.Tensor]:
        """States of the sources as one, and which rows of it must not count, (views, rows)."""
        before = rows - places.shape[1]
        state = self.head.begin(len(sources), rows)
        fresh = torch.ones(len(sources), rows, dtype=torch.bool, device=places.device)
        for view, source in enumerate(sources):
            kept = self._kept.get(source)
            if kept is None or kept.state[0].shape[0] != rows or kept.places.shape != places.shape[1:]:
                continue
            for whole, part in zip(state, kept.state, strict=True):
                whole[view] = part
            fresh[view, :before] = False
            fresh[view, before:] = (kept.places != places[view]).any(dim=-1)
        return state, fresh


def _places(features: Features) -> tuple[torch.Tensor, torch.Tensor]:
    """Bits of each token's place, int32, (views, tokens, 3), and which rows are padding; on the features' device."""
    rows = features.rows
    if not isinstance(rows, torch.Tensor):
        bits = np.ascontiguousarray(rows).view(np.int32).reshape(*rows.shape, len(TABLE_FIELDS))
        rows = torch.from_numpy(bits.copy())
    rows = rows.to(features.tokens.device)
    return rows[..., _PLACE], rows[..., _LAYER] == PADDING_LAYER
