"""Reading a token folder: lazily, frame by frame, the same batches or features that were written."""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Generic, Self, TypeVar, overload

import numpy as np
import torch
from numpy.typing import NDArray

from texvlm.encoders.features import Features
from texvlm.errors import ClosedError, StoreError
from texvlm.store.features import without_features
from texvlm.store.meta import StoreMeta, read_meta
from texvlm.store.shards import ShardFile
from texvlm.tokens import TokenBatch

OPEN_SHARDS = 2
"""Shards kept open: the one being read and its neighbour, for readers that look back."""


def open_tokens(folder: str | Path) -> TokenStore:
    """Open a token folder for reading.

    A folder whose run was stopped or killed, or is still being written, gives the frames of the
    shards that were whole when it was opened.

    Raises:
        StoreError: no token folder, or a damaged one; says what was found.
    """
    folder = Path(folder)
    meta = read_meta(folder)
    if meta.contents == "features":
        raise StoreError(f"{folder} holds features without tokens; read it with texvlm.open_features")
    return TokenStore(_Shards(folder, meta))


def open_features(folder: str | Path) -> FeatureStore:
    """Open a folder that `texvlm encode --model` wrote, for reading what the model made of each frame.

    Raises:
        StoreError: as `open_tokens`; or the folder holds tokens alone.
    """
    folder = Path(folder)
    meta = read_meta(folder)
    if meta.contents == "tokens":
        raise without_features(folder)
    return FeatureStore(_Shards(folder, meta))


Item = TypeVar("Item", TokenBatch, Features)


class _Store(Sequence[Item], Generic[Item]):
    """The frames of a folder, in order, each as one view.

    Nothing is read before it is asked for, and every item owns its memory. A slice is again such a
    store, over those frames only, and shares the open shards; closing one closes all. Serves one
    thread at a time.
    """

    def __init__(self, shards: _Shards, frames: range | None = None) -> None:
        self._shards: _Shards = shards
        self._frames = range(shards.meta.frames) if frames is None else frames

    @abstractmethod
    def _read(self, frame: int) -> Item:
        """Frame `frame` of the folder."""

    @property
    def meta(self) -> StoreMeta:
        """What meta.json said when the folder was opened."""
        return self._shards.meta

    @property
    def folder(self) -> Path:
        """Where it was read from."""
        return self._shards.folder

    @property
    def shards_open(self) -> int:
        """Shards mapped at the moment; never above OPEN_SHARDS."""
        return self._shards.count

    def __len__(self) -> int:
        return len(self._frames)

    @overload
    def __getitem__(self, index: int) -> Item: ...
    @overload
    def __getitem__(self, index: slice) -> Self: ...
    def __getitem__(self, index: int | slice) -> Item | Self:
        if isinstance(index, slice):
            return type(self)(self._shards, self._frames[index])
        try:
            frame = self._frames[index]
        except IndexError:
            raise IndexError(f"frame {index} of {len(self)}; the last one is {len(self) - 1}") from None
        return self._read(frame)

    def __iter__(self) -> Iterator[Item]:
        for frame in self._frames:
            yield self._read(frame)

    def verify(self) -> None:
        """Read every shard and compare its SHA-256 with meta.json; StoreError names the first that differs."""
        self._shards.verify()

    def close(self) -> None:
        """Let go of the files; may be called twice."""
        self._shards.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self.folder)!r}, frames={len(self)}, status={self.meta.status!r})"


class TokenStore(_Store[TokenBatch]):
    """The tokens of a folder, in order: `store[i]` is a TokenBatch of one view. See `_Store` for how it reads."""

    def _read(self, frame: int) -> TokenBatch:
        shard, i = self._shards.find(frame)
        return shard.batch(i)


class FeatureStore(_Store[Features]):
    """The features of a folder, in order: `store[i]` is Features of one view. See `_Store` for how it reads."""

    def _read(self, frame: int) -> Features:
        shard, i = self._shards.find(frame)
        return shard.features(i)

    def answers(self) -> tuple[torch.Tensor, NDArray[np.float64]]:
        """What the model says of each frame as a whole, without reading its tokens.

        Returns:
            (frames, pooled width), float32, and the frames' times, seconds, (frames,); NaN when unknown.
        Raises:
            StoreError: the model gives no answer for a whole frame; or damage, as elsewhere.
        """
        pooled, times = [torch.zeros(0, *(self.meta.feature_shapes or {}).get("pooled", (0,)))], [np.zeros(0)]
        for info in self.meta.shards:
            found, pts = self._shards.find(info.first_frame)[0].answers()
            if found is None:
                name = (self.meta.model or {}).get("name", "the model")
                raise StoreError(f"{self.folder} holds no answers for whole frames: {name} gives none; use another")
            pooled.append(found.float())
            times.append(pts)
        rows = torch.tensor(self._frames, dtype=torch.int64)
        return torch.cat(pooled)[rows], np.concatenate(times)[rows.numpy()]


class _Shards:
    """The open shards of one folder; owned by a store and its slices together."""

    def __init__(self, folder: Path, meta: StoreMeta) -> None:
        self.folder, self.meta = folder, meta
        self._ends = [shard.end_frame for shard in meta.shards]
        self._open: OrderedDict[int, ShardFile] = OrderedDict()
        self._closed = False

    @property
    def count(self) -> int:
        return len(self._open)

    def find(self, frame: int) -> tuple[ShardFile, int]:
        """The shard of frame `frame` of the folder, 0..frames - 1, and its number in there."""
        if self._closed:
            raise ClosedError(f"the token store of {self.folder} is closed")
        number = bisect_right(self._ends, frame)
        shard = self._open.pop(number, None)
        info = self.meta.shards[number]
        if shard is None:
            while len(self._open) >= OPEN_SHARDS:
                self._open.popitem(last=False)
            shard = ShardFile(self.folder / info.name, info, self.meta)
        self._open[number] = shard  # the latest used stands last
        return shard, frame - info.first_frame

    def verify(self) -> None:
        for info in self.meta.shards:
            path = self.folder / info.name
            try:
                with path.open("rb") as file:
                    found = hashlib.file_digest(file, "sha256").hexdigest()
            except OSError as error:
                raise StoreError(f"cannot read {path}: {error.strerror}") from error
            if found != info.sha256:
                raise StoreError(
                    f"{path} is damaged: its SHA-256 is {found[:16]}..., written was {info.sha256[:16]}..."
                )

    def close(self) -> None:
        self._open.clear()
        self._closed = True
