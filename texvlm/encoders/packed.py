"""PackedTokens: tokens of all views in one row after the other, without padding.

The form that attention over variable lengths takes (`cu_seqlens`), for views with unequal counts: other
layouts, other budgets, other sources. Batches of equal counts are packed, and unpacked, without a copy.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray

from texvlm.encoders.geometry import Geometry
from texvlm.layouts.table import PADDING_LAYER, TABLE_FIELDS, TOKEN_RECORD, Table
from texvlm.tokens import TokenBatch


@dataclass(frozen=True, eq=False)
class PackedTokens:
    """Tokens of `views` views, n of them altogether.

    Attributes:
        rows: patch-major pixels, (n, channels * patch * patch).
        cu_seqlens: view i has the tokens cu_seqlens[i] to cu_seqlens[i + 1], int32, (views + 1,), on
            the device of the rows.
        coordinates: (t, y, x, scale), float32, (n, 4): presentation time of the frame, seconds, NaN
            when unknown; centre, the frame spanning 0..1; log2 of the texels that a pixel spans.
        age: int32, (n,): batches since the token last changed, 0 for one that has changed in this
            batch. A count from `previous` on; see `from_batch`.
        table: TOKEN_RECORD, (n,), or its bits as an int32 tensor, (n, 6); see TokenBatch.rows.
        dirty: bool, (n,), see TokenBatch.
        slots: int64, (n,): row of each token in its view.
        sizes: (width, height) of each view's frame, int32, (views, 2).
        sources: source of each view, int32, (views,).
        pts: presentation time of each view's frame, seconds, float64, (views,).
        lengths: tokens of each view; the host's copy of what cu_seqlens says.
        slot_count: rows of each view in a padded batch.
        channels: of the pixels.
    """

    rows: torch.Tensor
    cu_seqlens: torch.Tensor
    coordinates: torch.Tensor
    age: torch.Tensor
    table: Table | torch.Tensor
    dirty: torch.Tensor
    slots: torch.Tensor
    sizes: NDArray[np.int32]
    sources: NDArray[np.int32]
    pts: NDArray[np.float64]
    lengths: tuple[int, ...]
    slot_count: int
    channels: int

    @classmethod
    def from_batch(cls, batch: TokenBatch, *, previous: PackedTokens | None = None) -> PackedTokens:
        """A batch without its padding rows. Waits for the device where the tokens were planned there.

        Args:
            batch: copied only where a row is padding.
            previous: of the batch before, for `age`: tokens that are not dirty are one batch older
                than there. Without it they are 1.
        Raises:
            ValueError: `previous` is of other sources or of another number of rows a view.
        """
        views, slot_count = batch.dirty.shape
        geometry = Geometry.of(batch)
        kept, device = ~geometry.padding, geometry.padding.device
        if isinstance(batch.rows, torch.Tensor):
            counts = kept.sum(1).tolist()
        else:
            counts = (batch.rows["layer"] != PADDING_LAYER).sum(1).tolist()
        slots = torch.arange(slot_count, device=device).expand(views, -1)
        age = _older(batch, previous)
        scale = (geometry.sides / batch.patch).log2()
        time = torch.as_tensor(batch.pts, dtype=torch.float32).to(device)[:, None].expand(-1, slot_count)
        coordinates = torch.cat([time[..., None], geometry.positions.flip(-1), scale[..., None]], dim=-1)
        full = sum(counts) == views * slot_count

        def pick(part: torch.Tensor) -> torch.Tensor:
            return part.flatten(0, 1) if full else part[kept.to(part.device)]

        if isinstance(batch.rows, torch.Tensor):
            table: Table | torch.Tensor = pick(batch.rows)
        else:
            table = batch.rows.reshape(-1) if full else batch.rows[kept.cpu().numpy()]
        return cls(
            rows=pick(batch.flat()),
            cu_seqlens=_offsets(counts, device),
            coordinates=pick(coordinates),
            age=pick(age),
            table=table,
            dirty=pick(batch.dirty),
            slots=pick(slots),
            sizes=batch.sizes,
            sources=batch.sources,
            pts=batch.pts,
            lengths=tuple(counts),
            slot_count=slot_count,
            channels=int(batch.pixels.shape[2]),
        )

    @classmethod
    def join(cls, parts: Sequence[PackedTokens]) -> PackedTokens:
        """Views of several packs, one after the other; their counts and layouts may differ.

        Raises:
            ValueError: no parts, or parts of another patch, channel count or device, or tables both
                from the host and from a device.
        """
        if not parts:
            raise ValueError("no packs to join; give at least one")
        kinds = {(p.channels, p.patch, str(p.rows.device), isinstance(p.table, torch.Tensor)) for p in parts}
        if len(kinds) > 1:
            raise ValueError(
                f"packs of {sorted(kinds)} (channels, patch, device, planned there) do not join; sample them alike"
            )
        lengths = tuple(length for part in parts for length in part.lengths)
        tensors = [p.table for p in parts if isinstance(p.table, torch.Tensor)]
        return cls(
            rows=torch.cat([p.rows for p in parts]),
            cu_seqlens=_offsets(lengths, parts[0].rows.device),
            coordinates=torch.cat([p.coordinates for p in parts]),
            age=torch.cat([p.age for p in parts]),
            table=torch.cat(tensors) if tensors else np.concatenate([p.table for p in parts]),
            dirty=torch.cat([p.dirty for p in parts]),
            slots=torch.cat([p.slots for p in parts]),
            sizes=np.concatenate([p.sizes for p in parts]),
            sources=np.concatenate([p.sources for p in parts]),
            pts=np.concatenate([p.pts for p in parts]),
            lengths=lengths,
            slot_count=max(p.slot_count for p in parts),
            channels=parts[0].channels,
        )

    def to_batch(self) -> TokenBatch:
        """The padded form: every token in its row, padding rows elsewhere; no copy where counts are equal."""
        views, shape = len(self), (self.channels, self.patch, self.patch)
        if self.is_dense:
            return TokenBatch(
                self.rows.view(views, self.slot_count, *shape),
                self.table.reshape(views, self.slot_count, *self.table.shape[1:]),
                self.dirty.view(views, self.slot_count),
                self.sizes,
                self.sources,
                self.pts,
            )
        where = (self._views, self.slots)
        rows = self.rows.new_zeros(views, self.slot_count, self.rows.shape[1])
        rows[where] = self.rows
        dirty = self.dirty.new_zeros(views, self.slot_count)
        dirty[where] = self.dirty
        empty = np.zeros((views, self.slot_count), TOKEN_RECORD)
        empty["layer"], empty["side"] = PADDING_LAYER, 1
        table: Table | torch.Tensor = empty
        if isinstance(self.table, torch.Tensor):
            bits = empty.view(np.int32).reshape(views, self.slot_count, len(TABLE_FIELDS))
            table = torch.from_numpy(bits).to(self.table.device)
            table[tuple(index.to(table.device) for index in where)] = self.table
        else:
            empty[tuple(index.cpu().numpy() for index in where)] = self.table
        return TokenBatch(rows.view(views, self.slot_count, *shape), table, dirty, self.sizes, self.sources, self.pts)

    def __len__(self) -> int:
        return len(self.lengths)

    @property
    def is_dense(self) -> bool:
        """Whether every view fills all its rows: the padded form is then the same memory."""
        return all(length == self.slot_count for length in self.lengths)

    @property
    def max_seqlen(self) -> int:
        """Tokens of the longest view."""
        return max(self.lengths)

    @property
    def patch(self) -> int:
        """Pixels along one token side."""
        return math.isqrt(int(self.rows.shape[1]) // self.channels)

    @property
    def source_ids(self) -> torch.Tensor:
        """Source of each token, int32, (n,)."""
        return torch.from_numpy(self.sources).to(self.rows.device)[self._views]

    @cached_property
    def _views(self) -> torch.Tensor:
        """View of each token, int64, (n,)."""
        return torch.from_numpy(np.repeat(np.arange(len(self)), self.lengths)).to(self.rows.device)

    def __repr__(self) -> str:
        return (
            f"PackedTokens({len(self)} views of {min(self.lengths)} to {max(self.lengths)} tokens, "
            f"rows={tuple(self.rows.shape)} {self.rows.dtype} on {self.rows.device})"
        )


def _offsets(lengths: Sequence[int], device: torch.device) -> torch.Tensor:
    return torch.tensor(np.cumsum([0, *lengths]), dtype=torch.int32, device=device)


def _older(batch: TokenBatch, previous: PackedTokens | None) -> torch.Tensor:
    """Batches since each token last changed, int32, (views, rows)."""
    if previous is None:
        before = torch.zeros_like(batch.dirty, dtype=torch.int32)
    else:
        if previous.slot_count != batch.dirty.shape[1] or not np.array_equal(previous.sources, batch.sources):
            raise ValueError(
                f"previous has sources {previous.sources.tolist()} of {previous.slot_count} rows, the batch "
                f"{batch.sources.tolist()} of {batch.dirty.shape[1]}; give the batch before of the same views"
            )
        before = torch.zeros_like(batch.dirty, dtype=torch.int32)
        before[previous._views, previous.slots] = previous.age
    return (before + 1).masked_fill(batch.dirty, 0)
