"""Reading a token folder: lazily, frame by frame, the same batches that were written."""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import overload

from texvlm.errors import ClosedError, StoreError
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
    return TokenStore(_Shards(folder, read_meta(folder)))


class TokenStore(Sequence[TokenBatch]):
    """The frames of a token folder, in order: `store[i]` is a TokenBatch of one view.

    Nothing is read before it is asked for, and every batch owns its memory. A slice is again a
    TokenStore, over those frames only, and shares the open shards; closing one closes all.
    Serves one thread at a time.
    """

    def __init__(self, shards: _Shards, frames: range | None = None) -> None:
        self._shards = shards
        self._frames = range(shards.meta.frames) if frames is None else frames

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
    def __getitem__(self, index: int) -> TokenBatch: ...
    @overload
    def __getitem__(self, index: slice) -> TokenStore: ...
    def __getitem__(self, index: int | slice) -> TokenBatch | TokenStore:
        if isinstance(index, slice):
            return TokenStore(self._shards, self._frames[index])
        try:
            frame = self._frames[index]
        except IndexError:
            raise IndexError(f"frame {index} of {len(self)}; the last one is {len(self) - 1}") from None
        return self._shards.batch(frame)

    def __iter__(self) -> Iterator[TokenBatch]:
        for frame in self._frames:
            yield self._shards.batch(frame)

    def verify(self) -> None:
        """Read every shard and compare its SHA-256 with meta.json; StoreError names the first that differs."""
        self._shards.verify()

    def close(self) -> None:
        """Let go of the files; may be called twice."""
        self._shards.close()

    def __enter__(self) -> TokenStore:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"TokenStore({str(self.folder)!r}, frames={len(self)}, status={self.meta.status!r})"


class _Shards:
    """The open shards of one folder; owned by a TokenStore and its slices together."""

    def __init__(self, folder: Path, meta: StoreMeta) -> None:
        self.folder, self.meta = folder, meta
        self._ends = [shard.end_frame for shard in meta.shards]
        self._open: OrderedDict[int, ShardFile] = OrderedDict()
        self._closed = False

    @property
    def count(self) -> int:
        return len(self._open)

    def batch(self, frame: int) -> TokenBatch:
        """Frame `frame` of the folder, 0..frames - 1."""
        if self._closed:
            raise ClosedError(f"the token store of {self.folder} is closed")
        number = bisect_right(self._ends, frame)
        shard = self._open.pop(number, None)
        info = self.meta.shards[number]
        if shard is None:
            while len(self._open) >= OPEN_SHARDS:
                self._open.popitem(last=False)
            shard = ShardFile(self.folder / info.name, info, self.meta.store)
        self._open[number] = shard  # the latest used stands last
        return shard.batch(frame - info.first_frame)

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
