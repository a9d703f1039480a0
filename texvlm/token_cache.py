"""Tokens between two calls: plan where they lie, and sample only those whose place or texels changed.

`TokenCache` is the lower row of the engine's flow: plan, sample. For each set of sources it keeps the
tokens last handed out, in a keeper: the backend's own where the device knows what changed, else
`HostKeeper`, which asks the texture's tile versions.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from texvlm.backends.base import Backend, Normalisation, Texture, TokenKeeper
from texvlm.backends.footprint import row_changes, stale_rows
from texvlm.layouts import Layout
from texvlm.layouts.table import PADDING_LAYER, Table, pad_table
from texvlm.profiling import StageTimes
from texvlm.residency import FrameStore
from texvlm.views import DeviceViews, View

KEPT_VIEW_SETS = 16
"""Sets of sources whose last tokens are kept, the least recently used given up first."""


@dataclass(slots=True)
class FreshTokens:
    """Tokens that are up to date.

    Attributes:
        pixels: (views, tokens, channels, patch, patch), in the cache's memory.
        table: TOKEN_RECORD, (views, tokens), or its bits on the device, int32, (views, tokens, 6).
        dirty: rows that changed since they were last handed out, bool, (views, tokens).
        sizes: (width, height) of each view's frame.
    """

    pixels: torch.Tensor
    table: Table | torch.Tensor
    dirty: torch.Tensor
    sizes: list[tuple[int, int]]

    def deliver(self, *, out: torch.Tensor | None, device: torch.device | None, copy: bool) -> torch.Tensor:
        """The pixels where a caller wants them: in `out`, on a device, as a copy, or where they are."""
        if out is not None:
            return (out if out.shape == self.pixels.shape else out.view(self.pixels.shape)).copy_(self.pixels)
        if device is not None and device != self.pixels.device:
            return self.pixels.to(device)
        return _copied(self.pixels) if copy else self.pixels


@dataclass(slots=True)
class _Kept:
    """What is remembered of one set of sources."""

    layout: Layout
    views: list[View] | None  # what was asked; None for fixations on the device
    sizes: list[tuple[int, int]]
    table: Table | torch.Tensor
    keeper: TokenKeeper


class TokenCache:
    """Tokens of the resident frames, sampled again only where something changed."""

    def __init__(
        self, backend: Backend, store: FrameStore, layout: Layout, dtype: torch.dtype, stages: StageTimes
    ) -> None:
        self._backend = backend
        self._store = store
        self._layout = layout
        self._dtype = dtype
        self._stages = stages
        self._kept: OrderedDict[tuple[int, ...], _Kept] = OrderedDict()

    def refresh(
        self,
        views: list[View] | DeviceViews,
        normalisation: Normalisation,
        out: torch.Tensor | None,
        layout: Layout | None = None,
    ) -> FreshTokens:
        """Tokens of these views; `keep` makes the next call build on them, also with another layout of as many.

        Everything that a caller can get wrong, an `out` of another shape too, is refused before
        anything is sampled: what is kept stays as it was, and nothing changed is forgotten.
        """
        layout = self.layout_for(layout)
        listed = views.sources if isinstance(views, DeviceViews) else [view.source for view in views]
        key = tuple(listed)
        sizes = [self._store.size_of(source) for source in listed]
        texture = self._store.texture_of(key[0])
        kept = self._kept.get(key)
        self._stages.restart()
        with self._stages.stage("plan", "sample"):
            if isinstance(views, DeviceViews):
                table: Table | torch.Tensor = self._backend.plan(layout, sizes, listed, views.fixations, views.weights)
            elif kept and kept.layout == layout and kept.sizes == sizes and _same_focus(views, kept.views):
                table = kept.table
            else:
                table = self.plan(views, sizes, layout)
        lead = tuple(map(int, table.shape[:2]))
        patch = self._layout.patch
        token_shape = (texture.spec.channels, patch, patch)
        self._check_out(out, (*lead, *token_shape))
        # taken out until it is handed out: what was half-written, or changed and never seen, is not found again
        self._kept.pop(key, None)
        count = lead[0] * lead[1]
        with self._stages.stage("sample", "sample", count):
            keeper = kept.keeper if kept and tuple(kept.table.shape[:2]) == lead else self._open(texture, count, key)
            rows = table.reshape(-1, 6) if isinstance(table, torch.Tensor) else table.reshape(-1)
            dirty = keeper.refresh(texture, rows, normalisation)
        if not isinstance(dirty, torch.Tensor):
            dirty = torch.from_numpy(dirty).to(keeper.pixels.device)
        self._kept[key] = _Kept(layout, None if isinstance(views, DeviceViews) else views, sizes, table, keeper)
        if len(self._kept) > KEPT_VIEW_SETS:
            self._kept.popitem(last=False)
        return FreshTokens(keeper.pixels.view(*lead, *token_shape), table, dirty.view(lead), sizes)

    def plan(self, views: list[View], sizes: list[tuple[int, int]], layout: Layout | None = None) -> Table:
        """The table of several views, (views, tokens); shorter ones are filled up with padding rows."""
        layout = self.layout_for(layout)
        tables = []
        for view, size in zip(views, sizes, strict=True):
            table = layout.plan(size, view.focus(size))
            table["layer"][table["layer"] != PADDING_LAYER] = view.source
            tables.append(table)
        most = max(len(table) for table in tables)
        return np.stack([table if len(table) == most else pad_table(table, most) for table in tables])

    def layout_for(self, layout: Layout | None) -> Layout:
        """The layout of one call, which may be another than the engine's; ValueError for one of another patch."""
        if layout is not None and layout.patch != self._layout.patch:
            raise ValueError(
                f"layout of patch {layout.patch} for an engine whose layout has {self._layout.patch}; "
                "its mip levels and tokens are made for that one"
            )
        return self._layout if layout is None else layout

    def forget(self, sources: Sequence[int]) -> None:
        """Drop what is kept for these views: the caller did not get it."""
        self._kept.pop(tuple(sources), None)

    def clear(self) -> None:
        """Drop everything."""
        self._kept.clear()

    def _open(self, texture: Texture, count: int, layers: tuple[int, ...]) -> TokenKeeper:
        """A keeper for so many rows."""
        patch = self._layout.patch
        own = self._backend.keep(texture, count, patch, self._dtype)
        if own is not None:
            return own
        shape = (count, texture.spec.channels, patch, patch)
        return HostKeeper(self._backend, self._backend.empty(shape, self._dtype), layers)

    def _check_out(self, out: torch.Tensor | None, shape: tuple[int, ...]) -> None:
        """ValueError unless `out` has the shape and element type of the result; patch-major rows will do."""
        if out is None:
            return
        flat = (*shape[:2], shape[2] * shape[3] * shape[4])
        if tuple(out.shape) not in (shape, flat) or out.dtype != self._dtype:
            raise ValueError(f"out is {tuple(out.shape)} {out.dtype}; this call gives {shape} {self._dtype}")


def _same_focus(views: list[View], others: list[View] | None) -> bool:
    """Whether views look where those before them did, which were planned on the host."""
    return others is not None and all(map(View.same_focus, views, others))


def _copied(pixels: torch.Tensor) -> torch.Tensor:
    """A copy; on the host by NumPy, because torch would wake its own threads for so little."""
    if pixels.device.type != "cpu":
        return pixels.clone()
    copy = torch.empty_like(pixels)
    np.copyto(copy.view(torch.uint8).numpy(), pixels.view(torch.uint8).numpy())  # NumPy knows no bfloat16
    return copy


class HostKeeper(TokenKeeper):
    """Finds out on the host what changed: rows by their bits, texels by the texture's tile versions."""

    def __init__(self, backend: Backend, pixels: torch.Tensor, layers: tuple[int, ...]) -> None:
        self.pixels = pixels
        self._backend = backend
        self._layers = list(layers)
        self._texture: Texture | None = None
        self._rows: Table | None = None
        self._seen = 0

    def refresh(self, texture: Texture, rows: Table | torch.Tensor, normalisation: Normalisation) -> NDArray[np.bool_]:
        """See TokenKeeper."""
        assert not isinstance(rows, torch.Tensor), "tables on a device belong to a backend that keeps tokens there"
        if self._rows is None or self._texture is not texture:
            changed = np.ones(len(rows), np.bool_)
        else:
            changed = row_changes(rows, self._rows)
            if (texture.changed_at[self._layers] > self._seen).any():
                changed |= stale_rows(
                    rows,
                    texture.versions,
                    self._seen,
                    frame_sizes=texture.frame_sizes,
                    patch=int(self.pixels.shape[-1]),
                    levels=texture.spec.levels,
                )
        wanted = np.flatnonzero(changed).astype(np.int32)
        if wanted.size:
            self._backend.sample(texture, rows, self.pixels, normalisation, wanted)
        real = rows["layer"] != PADDING_LAYER
        self._backend.count(tokens_reused=int(np.count_nonzero(real & ~changed)))
        self._texture, self._rows, self._seen = texture, rows, texture.clock
        return np.asarray(changed & real)
