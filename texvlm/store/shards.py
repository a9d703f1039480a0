"""One shard: a run of frames with equal shapes, as arrays in memory and as a safetensors file.

Tensors and their shapes are listed in texvlm.store.meta. In "changes" mode a token's pixels are
kept only where their bits differ from the frame before; the first frame of a shard keeps all, so
that every shard can be read without the others.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from texvlm.encoders.features import Features
from texvlm.errors import StoreError
from texvlm.layouts.table import PADDING_LAYER, TABLE_FIELDS, TOKEN_RECORD, Table
from texvlm.store.features import FeatureBuffer, FeatureShape, check_places, features_of
from texvlm.store.meta import FEATURE_TENSORS, FORMAT, SCHEMA_VERSION, ShardInfo, StoreMeta, StoreMode
from texvlm.tokens import TokenBatch

SHARD_BYTES = 64 << 20
"""Size that a shard is aimed at: large enough for fast sequential disks, small enough to lose little."""

MAX_SHARD_FRAMES = 64
"""Frames of a shard unless asked otherwise: about two seconds of video, which is what a kill can lose."""

EXACT_INTEGERS = 1 << 24
"""Whole numbers up to this are exact in float32."""

_BUFFER_DTYPES: dict[str, type[np.generic]] = {
    "uint8": np.uint8,
    "float16": np.float16,
    "bfloat16": np.uint16,  # NumPy has no such type; its bits do
    "float32": np.float32,
}
"""Element types that a store holds, by torch's names, and what keeps them in memory."""


@dataclass(frozen=True, slots=True)
class ShardShape:
    """What all frames of one shard share.

    Attributes:
        tokens: rows of a frame's table.
        channels: of the tokens.
        patch: of the tokens.
        dtype: of the tokens.
        keeps_pixels: the tokens' pixels are kept, and not only what a model made of them.
        features: of the features beside or instead of them; None without.
    """

    tokens: int
    channels: int
    patch: int
    dtype: str
    keeps_pixels: bool = True
    features: FeatureShape | None = None

    @classmethod
    def of(cls, batch: TokenBatch, *, keeps_pixels: bool = True, features: FeatureShape | None = None) -> ShardShape:
        """The shape of one view's tokens; TypeError for an element type that a store cannot hold."""
        dtype = str(batch.pixels.dtype).removeprefix("torch.")
        if dtype not in _BUFFER_DTYPES:
            raise TypeError(f"tokens of {batch.pixels.dtype}; a store holds {', '.join(_BUFFER_DTYPES)}")
        _, tokens, channels, patch, _ = batch.pixels.shape
        return cls(tokens, channels, patch, dtype, keeps_pixels, features)

    @property
    def frame_bytes(self) -> int:
        """Bytes of one frame's pixels when all are kept, and of its features."""
        pixels = self.tokens * self.channels * self.patch**2 * np.dtype(_BUFFER_DTYPES[self.dtype]).itemsize
        return pixels * self.keeps_pixels + (self.features.frame_bytes if self.features else 0)

    @property
    def without_features(self) -> ShardShape:
        """The shape of the tokens alone."""
        return replace(self, features=None)

    def frames_per_shard(self, *, group: int = 1) -> int:
        """Frames in a shard of about SHARD_BYTES, 1..MAX_SHARD_FRAMES; whole groups of frames, one at least."""
        frames = max(1, min(MAX_SHARD_FRAMES, SHARD_BYTES // max(self.frame_bytes, 1)))
        return max(group, frames // group * group)


class ShardBuffer:
    """Frames on their way into one shard. Holds at most `capacity` frames and never grows."""

    def __init__(self, shape: ShardShape, *, capacity: int, mode: StoreMode) -> None:
        self.shape, self.capacity, self.mode, self.frames = shape, capacity, mode, 0
        n = shape.tokens
        # np.empty of a large block costs address space only; memory is used as rows are written.
        rows = capacity * n if shape.keeps_pixels else 0
        self._pixels = np.empty((rows, shape.channels, shape.patch, shape.patch), _BUFFER_DTYPES[shape.dtype])
        self._features = None if shape.features is None else FeatureBuffer(shape.features, capacity=capacity)
        self._rows = 0
        self._last: NDArray[Any] | None = None
        self._stored = np.zeros((capacity, n), np.bool_)
        self._table = np.zeros((capacity, n, len(TABLE_FIELDS)), np.float32)
        self._dirty = np.zeros((capacity, n), np.bool_)
        self._pts = np.zeros(capacity, np.float64)
        self._sizes = np.zeros((capacity, 2), np.int32)
        self._sources = np.zeros(capacity, np.int32)

    @property
    def full(self) -> bool:
        """No room for another frame."""
        return self.frames == self.capacity

    def add(self, batch: TokenBatch, features: Features | None = None) -> None:
        """Copy one view in; the caller has checked that its shape fits and that there is room.

        Raises:
            ValueError: an index or a feature that the store's element types cannot hold; nothing was added.
        """
        i = self.frames
        self._table[i] = _columns(batch.table[0])
        if self._features is not None and features is not None:
            check_places(features, batch.table)
            self._features.put(i, features)
        if self.shape.keeps_pixels:
            self._add_pixels(batch)
        self._dirty[i] = batch.dirty[0].cpu().numpy()
        self._pts[i], self._sizes[i], self._sources[i] = batch.pts[0], batch.sizes[0], batch.sources[0]
        self.frames += 1

    def _add_pixels(self, batch: TokenBatch) -> None:
        tokens = batch.pixels[0].detach().cpu().contiguous()
        pixels = (tokens.view(torch.uint16) if tokens.dtype == torch.bfloat16 else tokens).numpy()
        stored = self._differs(pixels)
        kept = pixels if stored.all() else pixels[stored]
        self._pixels[self._rows : self._rows + len(kept)] = kept
        self._rows += len(kept)
        self._stored[self.frames] = stored

    def to_bytes(self, first_frame: int) -> bytes:
        """The shard as the content of a safetensors file; the same frames give the same bytes."""
        n = self.frames
        arrays = {
            "table": self._table[:n],
            "valid": np.ascontiguousarray(self._table[:n, :, TABLE_FIELDS.index("valid")]),
            "dirty": self._dirty[:n],
            "pts": self._pts[:n],
            "sizes": self._sizes[:n],
            "sources": self._sources[:n],
        }
        if self._features is not None:
            arrays |= self._features.arrays(n)
        if self.mode == "changes" and self.shape.keeps_pixels:
            arrays["stored"] = self._stored[:n]
        tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
        if self.shape.keeps_pixels:
            pixels = torch.from_numpy(self._pixels[: self._rows]).view(getattr(torch, self.shape.dtype))
            whole = self.mode == "full"
            tensors["pixels"] = pixels.view(n, self.shape.tokens, *pixels.shape[1:]) if whole else pixels
        about = {"format": FORMAT, "schema_version": SCHEMA_VERSION, "store": self.mode, "first_frame": first_frame}
        # One key only: safetensors keeps no order among several, and equal frames must give equal bytes.
        return bytes(safetensors.torch.save(tensors, metadata={"texvlm": json.dumps(about)}))

    def _differs(self, pixels: NDArray[Any]) -> NDArray[np.bool_]:
        """Which tokens have to be kept: all, or those whose bits differ from the frame before."""
        if self.mode == "full":
            return np.ones(len(pixels), np.bool_)
        bits = _bits(pixels)
        if self._last is None:
            self._last = bits.copy()
            return np.ones(len(pixels), np.bool_)
        stored: NDArray[np.bool_] = (bits != self._last).any(axis=1)
        self._last[stored] = bits[stored]
        return stored


class ShardFile:
    """One shard opened for reading. Pixels stay in the mapped file until a frame is asked for."""

    def __init__(self, path: Path, info: ShardInfo, meta: StoreMeta) -> None:
        mode, contents = meta.store, meta.contents
        try:
            size = path.stat().st_size
            if size != info.bytes:
                raise StoreError(f"{path} is damaged: {size} bytes, written were {info.bytes}")
            with safe_open(path, framework="pt") as file:
                names = set(file.keys())
                tensors = {name: file.get_tensor(name) for name in names}
        except FileNotFoundError:
            raise StoreError(
                f"{path} is missing; its frames {info.first_frame}..{info.end_frame - 1} are lost"
            ) from None
        except (OSError, SafetensorError) as error:
            raise StoreError(f"cannot read {path}: {error}") from error
        try:
            has_pixels = contents != "features"
            self._pixels = tensors["pixels"] if has_pixels else None
            self._features = {name: tensors[name] for name in FEATURE_TENSORS if name in tensors}
            if contents != "tokens":
                tensors["features"]  # a shard of another store has none
            self._table = _records(tensors["table"].numpy())
            self._dirty = tensors["dirty"]
            self._pts, self._sizes, self._sources = (tensors[n].numpy().copy() for n in ("pts", "sizes", "sources"))
            self._row_of = _latest_rows(tensors["stored"].numpy()) if mode == "changes" and has_pixels else None
        except KeyError as error:
            raise StoreError(
                f"{path} is no shard of a {mode!r} store of {contents}: it has no tensor {error}"
            ) from None
        if self._table.shape != (info.frames, info.tokens):
            raise StoreError(f"{path} holds a table of {self._table.shape}, not {(info.frames, info.tokens)}")

    def features(self, i: int) -> Features:
        """What the model made of frame `i` of this shard, which holds features; owns its memory."""
        rows = self._table[i : i + 1].copy()
        return features_of(
            self._features,
            i,
            padding=torch.from_numpy(rows["layer"] == PADDING_LAYER),
            rows=rows,
            sizes=self._sizes[i : i + 1].copy(),
            sources=self._sources[i : i + 1].copy(),
            pts=self._pts[i : i + 1].copy(),
        )

    def answers(self) -> tuple[torch.Tensor | None, NDArray[np.float64]]:
        """What the model says of each frame as a whole, (frames, pooled width), and the frames' times, seconds."""
        return self._features.get("pooled"), self._pts

    def batch(self, i: int) -> TokenBatch:
        """Frame `i` of this shard, which holds pixels, as one view; owns its memory."""
        assert self._pixels is not None  # the reader has looked at meta.json
        if self._row_of is None:
            pixels = self._pixels[i : i + 1].clone()
        else:
            pixels = self._pixels[torch.from_numpy(self._row_of[i])].unsqueeze(0)
        return TokenBatch(
            pixels=pixels,
            rows=self._table[i : i + 1].copy(),
            dirty=self._dirty[i : i + 1].clone(),
            sizes=self._sizes[i : i + 1].copy(),
            sources=self._sources[i : i + 1].copy(),
            pts=self._pts[i : i + 1].copy(),
        )


def _columns(table: Table) -> NDArray[np.float32]:
    """The table as float32 columns, (tokens, fields); ValueError where an index would lose bits."""
    for name in ("layer", "region"):
        worst = int(np.abs(table[name].astype(np.int64)).max(initial=0))
        if worst > EXACT_INTEGERS:
            raise ValueError(f"table field {name} holds {worst}; a store keeps whole numbers up to {EXACT_INTEGERS}")
    return np.stack([table[name].astype(np.float32) for name in TABLE_FIELDS], axis=-1)


def _records(columns: NDArray[np.float32]) -> Table:
    """Columns back as TOKEN_RECORD rows, shape (frames, tokens)."""
    table = np.zeros(columns.shape[:-1], TOKEN_RECORD)
    for k, name in enumerate(TABLE_FIELDS):
        table[name] = columns[..., k]
    return table


def _latest_rows(stored: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Row of `pixels` that shows each token of each frame: the latest one stored, (frames, tokens)."""
    rows = np.where(stored, np.cumsum(stored).reshape(stored.shape) - 1, -1)
    return np.maximum.accumulate(rows, axis=0)


def _bits(pixels: NDArray[Any]) -> NDArray[Any]:
    """Each token's bytes as whole numbers, so that NaN equals itself and -0.0 differs from 0.0."""
    rows = pixels.reshape(len(pixels), -1).view(np.uint8)
    return rows.view(np.uint64) if rows.shape[1] % 8 == 0 else rows
