"""Writing a token folder: one shard in memory, whole shards on disk, resumable after any death."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

from pydantic import JsonValue

from texvlm import __version__
from texvlm.encoders.features import Features
from texvlm.errors import ClosedError, StoreError
from texvlm.files import FolderLock, remove_leftovers, write_whole
from texvlm.store.features import FeatureShape
from texvlm.store.meta import (
    META_NAME,
    TENSORS,
    Contents,
    FeatureType,
    FrameSize,
    ShardInfo,
    Status,
    StoreMeta,
    StoreMode,
    read_meta,
    tensors_of,
)
from texvlm.store.shards import ShardBuffer, ShardShape
from texvlm.tokens import TokenBatch

_SHARD_GLOB = "tokens-*.safetensors"


class TokenWriter:
    """Owns a token folder while it is written. One frame at a time, in order, from `next_frame` on.

        with TokenWriter("out", settings={"clip": "a.mp4"}) as writer:
            for frame in frames:
                engine.submit(frame)
                writer.append(engine.tokens((0.5, 0.5)))

    Leaving the block in peace marks the folder complete. Leaving it by an exception writes the
    frames that are waiting as a shard marked `cut` and marks the folder stopped, so nothing that
    was appended is lost; a resume writes that shard again, in full.

    Args:
        folder: made when missing. A folder that already holds tokens is refused without `resume`.
        store: "full" keeps the pixels of every token, "changes" only of those that changed.
        shard_frames: frames in a shard; None picks a count that makes about 64 MB, 64 at most.
            Frames whose token count differs begin a new shard.
        settings: what the tokens were made from and how, JSON values; kept in meta.json and
            compared on resume.
        engine: what made them, JSON values; kept for the reader, never compared.
        resume: go on after the last whole shard of an earlier run, or begin if there was none.
        contents: what is kept of each frame: "tokens", "features", or "both".
        model: what makes the features, JSON values; kept in meta.json and compared on resume.
        feature_dtype: element type that they are kept in.
        group: frames that are appended together: a shard whose length is not asked for holds whole groups.

    Raises:
        StoreError: the folder cannot be written, holds tokens already, is being written by another
            process, or was begun with other settings (each named, with both values).
        ValueError: `shard_frames` or `group` is below 1, `store` or `contents` is none of its values, or
            "changes" is asked for where no tokens are kept.
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        store: StoreMode = "full",
        shard_frames: int | None = None,
        settings: Mapping[str, JsonValue] | None = None,
        engine: Mapping[str, JsonValue] | None = None,
        resume: bool = False,
        contents: Contents = "tokens",
        model: Mapping[str, JsonValue] | None = None,
        feature_dtype: FeatureType = "float16",
        group: int = 1,
    ) -> None:
        if store not in TENSORS:
            raise ValueError(f"store is {store!r}; accepted: 'full', 'changes'")
        if contents not in get_args(Contents):
            raise ValueError(f"contents is {contents!r}; accepted: {', '.join(get_args(Contents))}")
        if contents == "features" and store == "changes":
            raise ValueError("store 'changes' is about tokens, and only features are kept; leave it out, or keep both")
        if contents != "tokens" and feature_dtype not in get_args(FeatureType):
            raise ValueError(f"feature_dtype is {feature_dtype!r}; accepted: {', '.join(get_args(FeatureType))}")
        if group < 1:
            raise ValueError(f"group is {group}; at least 1 frame is appended at a time")
        if shard_frames is not None and shard_frames < 1:
            raise ValueError(f"shard_frames is {shard_frames}; a shard holds 1 frame or more")
        self.folder = Path(folder)
        self._group = group
        self._buffer: ShardBuffer | None = None
        self._closed = False
        self._broken = False  # a write failed, so nothing more can be saved
        fresh = StoreMeta(
            texvlm_version=__version__,
            store=store,
            settings=json.loads(json.dumps(dict(settings or {}))),
            engine=json.loads(json.dumps(dict(engine or {}))),
            shard_frames=shard_frames,
            tensors=tensors_of(store, contents),
            contents=contents,
            model=None if model is None else json.loads(json.dumps(dict(model))),
            feature_dtype=None if contents == "tokens" else feature_dtype,
        )
        self._lock = self._claim_folder()
        try:
            # What meta.json on the disk says; it may list a cut shard that this run has still to replace.
            self._on_disk = self._earlier(fresh) if resume and self._has_tokens() else self._started(fresh)
            self._meta = _followable(self._on_disk)
            if not self.complete:
                self._write_meta(self._on_disk, "running")
        except BaseException:
            self._lock.close()
            raise

    @property
    def meta(self) -> StoreMeta:
        """What meta.json on the disk says now."""
        return self._on_disk

    @property
    def next_frame(self) -> int:
        """Index of the frame that the next `append` takes; above 0 after a resume."""
        return self._meta.frames + (self._buffer.frames if self._buffer else 0)

    @property
    def complete(self) -> bool:
        """The folder holds the whole clip: a resume has nothing left to do."""
        return self._on_disk.status == "complete"

    def room(self, batch: TokenBatch) -> int:
        """Frames like this one that the shard being filled still takes; of a new shard, those of one group at most."""
        buffer = self._buffer
        if (
            buffer is not None
            and ShardShape.of(batch, keeps_pixels=self._keeps_pixels) == buffer.shape.without_features
        ):
            return buffer.capacity - buffer.frames
        return self._meta.shard_frames or self._group

    def append(self, batch: TokenBatch, features: Features | None = None) -> ShardInfo | None:
        """Add the next frame; returns the shard that this completed on disk, if it did.

        Args:
            batch: its tokens, one view; only their geometry is kept where the folder holds features alone.
            features: what the model made of them; for a folder that holds features, and no other.

        Raises:
            StoreError: the disk is full or the folder is gone. Earlier shards are whole and the
                frames since the last one are lost; a resume encodes them again.
            ValueError: not one view, or another patch or channel count than the frames before; features
                that are missing, not wanted, of other shapes or not finite.
            TypeError: an element type that a store cannot hold, or another than before.
        """
        self._check_open()
        if self.complete:
            raise StoreError(f"{self.folder} is complete with {self._meta.frames} frames; nothing can be added to it")
        if len(batch) != 1:
            raise ValueError(f"a batch of {len(batch)} views; a store takes one view for each frame")
        if (features is None) != (self._meta.contents == "tokens"):
            what = "a frame without features" if features is None else "features of a frame"
            raise ValueError(f"{what} for a folder of {self._meta.contents}; choose other contents for the writer")
        dtype = self._meta.feature_dtype
        made = None if features is None or dtype is None else FeatureShape.of(features, dtype)
        shape = ShardShape.of(batch, keeps_pixels=self._keeps_pixels, features=made)
        self._check_shape(shape)
        written = None
        if self._buffer is not None and self._buffer.shape != shape:
            written = self._flush(cut=False)
        buffer = self._buffer
        if buffer is None:
            capacity = self._meta.shard_frames or shape.frames_per_shard(group=self._group)
            buffer = ShardBuffer(shape, capacity=capacity, mode=self._meta.store)
        frame = self.next_frame
        buffer.add(batch, features)
        self._buffer = buffer  # now that there is something in it
        size = (int(batch.sizes[0, 0]), int(batch.sizes[0, 1]))
        if not self._meta.frame_sizes or self._meta.frame_sizes[-1].size != size:
            sizes = [*self._meta.frame_sizes, FrameSize(first_frame=frame, size=size)]
            self._meta = self._meta.model_copy(update={"frame_sizes": sizes})
        return self._flush(cut=False) if buffer.full else written

    def record(self, *, counters: Mapping[str, int], timings_ms: Mapping[str, float]) -> None:
        """Set the totals that meta.json shows from the next shard on."""
        self._meta.counters, self._meta.timings_ms = dict(counters), dict(timings_ms)

    def finish(self, status: Status = "complete") -> None:
        """Write what is waiting, mark the folder, and close; StoreError as in `append`.

        With "stopped" a shard that is not full is marked `cut`; if an earlier run got further, its
        cut shard stays instead.
        """
        self._check_open()
        try:
            if status != "complete" and self.next_frame <= self._on_disk.frames:
                self._write_meta(self._on_disk, status)
            elif self._buffer is not None:
                self._flush(cut=status != "complete", status=status)
            else:
                self._write_meta(self._meta, status)
            if status == "complete":
                self._remove_unlisted(_SHARD_GLOB)
        finally:
            self.close()

    def close(self) -> None:
        """Let go of the folder without writing; frames since the last shard are dropped. May be called twice."""
        self._closed, self._buffer = True, None
        self._lock.close()

    def __enter__(self) -> TokenWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if self._closed:
            return
        if self._broken or self.complete:
            self.close()
        else:
            self.finish("complete" if error is None else "stopped")

    def _claim_folder(self) -> FolderLock:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            return FolderLock(self.folder)
        except FileExistsError as error:
            raise StoreError(f"cannot write to folder {self.folder}: it is a file; choose another") from error
        except OSError as error:
            raise StoreError(f"cannot write to folder {self.folder}: {error.strerror}; choose another") from error

    def _has_tokens(self) -> bool:
        """Whether there is anything that a new run would replace; a run that died before its first shard is nothing."""
        if next(self.folder.glob(_SHARD_GLOB), None) is not None:
            return True
        try:
            earlier = read_meta(self.folder)
        except StoreError:
            return (self.folder / META_NAME).exists()
        return earlier.frames > 0 or earlier.status == "complete"

    def _started(self, fresh: StoreMeta) -> StoreMeta:
        if self._has_tokens():
            try:
                earlier = read_meta(self.folder)
                found = f"{earlier.frames} frames, {earlier.status}"
            except StoreError:
                found = "not readable"
            raise StoreError(
                f"{self.folder} already holds tokens ({found}); use another folder, or resume to go on with these"
            )
        self._remove_leftovers()
        return fresh

    def _earlier(self, fresh: StoreMeta) -> StoreMeta:
        """The earlier run's record, up to the first shard that is missing or of the wrong size."""
        earlier = read_meta(self.folder)
        _check_same(fresh, earlier, self.folder)
        self._remove_leftovers()
        present: list[ShardInfo] = []
        for shard in earlier.shards:
            path = self.folder / shard.name
            if not path.is_file() or path.stat().st_size != shard.bytes:
                break
            present.append(shard)
        status = earlier.status if len(present) == len(earlier.shards) else "running"
        return _with_shards(earlier, present).model_copy(update={"engine": fresh.engine, "status": status})

    @property
    def _keeps_pixels(self) -> bool:
        return self._meta.contents != "features"

    def _check_shape(self, shape: ShardShape) -> None:
        meta = self._meta
        features = None if shape.features is None else shape.features.last()
        if meta.dtype is None:
            self._meta = meta.model_copy(
                update={
                    "channels": shape.channels,
                    "patch": shape.patch,
                    "dtype": shape.dtype,
                    "feature_shapes": features,
                }
            )
        elif (shape.channels, shape.patch) != (meta.channels, meta.patch):
            raise ValueError(
                f"tokens of {shape.channels} channels and patch {shape.patch}; "
                f"this store began with {meta.channels} channels and patch {meta.patch}"
            )
        elif shape.dtype != meta.dtype:
            raise TypeError(f"tokens of {shape.dtype}; this store began with {meta.dtype}")
        elif features != meta.feature_shapes:
            raise ValueError(f"features of shapes {features}; this store began with {meta.feature_shapes}")

    def _flush(self, *, cut: bool, status: Status = "running") -> ShardInfo:
        """Write the buffer as the next shard, name it in meta.json, and start empty again."""
        buffer, self._buffer = self._buffer, None
        assert buffer is not None  # callers hold one
        meta = self._meta
        data = buffer.to_bytes(meta.frames)
        shard = ShardInfo(
            # A cut shard has a name of its own, so that the full one never replaces a file that meta.json lists.
            name=f"tokens-{len(meta.shards):05d}{'.cut' if cut else ''}.safetensors",
            first_frame=meta.frames,
            frames=buffer.frames,
            tokens=buffer.shape.tokens,
            bytes=len(data),
            sha256=hashlib.sha256(data).hexdigest(),
            cut=cut,
        )
        try:
            write_whole(self.folder / shard.name, data)
        except OSError as error:
            raise self._failed(shard.name, error) from error
        self._meta = meta.model_copy(update={"shards": [*meta.shards, shard], "frames": shard.end_frame})
        self._write_meta(self._meta, status)
        if not cut:
            self._remove_unlisted(f"tokens-{len(meta.shards):05d}.cut.safetensors")
        return shard

    def _write_meta(self, meta: StoreMeta, status: Status) -> None:
        meta = meta.model_copy(update={"status": status})
        try:
            meta.write(self.folder)
        except OSError as error:
            raise self._failed(META_NAME, error) from error
        self._on_disk = meta

    def _failed(self, name: str, error: OSError) -> StoreError:
        self._broken = True
        frames, shards = self._on_disk.frames, len(self._on_disk.shards)
        safe = f"frames 0..{frames - 1} are safe in {shards} shards" if shards else "no frame was written"
        return StoreError(
            f"cannot write {self.folder / name}: {error.strerror or error}; {safe}; make room or access, then resume"
        )

    def _remove_leftovers(self) -> None:
        try:
            remove_leftovers(self.folder, [_SHARD_GLOB, META_NAME])
        except OSError as error:
            raise StoreError(f"cannot write to folder {self.folder}: {error.strerror}; choose another") from error

    def _remove_unlisted(self, pattern: str) -> None:
        """Delete shards that meta.json does not list: cut ones replaced, or a killed run's last one."""
        listed = {shard.name for shard in self._on_disk.shards}
        for path in self.folder.glob(pattern):
            if path.name not in listed:
                path.unlink(missing_ok=True)

    def _check_open(self) -> None:
        if self._closed:
            raise ClosedError(f"the writer of {self.folder} is closed")


def _with_shards(meta: StoreMeta, shards: list[ShardInfo]) -> StoreMeta:
    """The record cut back to the first few of its shards."""
    frames = shards[-1].end_frame if shards else 0
    sizes = [entry for entry in meta.frame_sizes if entry.first_frame < frames]
    return meta.model_copy(update={"shards": shards, "frames": frames, "frame_sizes": sizes})


def _followable(meta: StoreMeta) -> StoreMeta:
    """The record without a last, cut shard: where a new run goes on."""
    return _with_shards(meta, [shard for shard in meta.shards if not shard.cut])


def _check_same(new: StoreMeta, earlier: StoreMeta, folder: Path) -> None:
    """StoreError that names each setting in which a resume differs from the run that it would go on with."""
    now, then = _compared(new), _compared(earlier)
    differing = [
        f"{name} is {json.dumps(now.get(name))} but was {json.dumps(then.get(name))}"
        for name in sorted(now.keys() | then.keys())
        if now.get(name) != then.get(name)
    ]
    if differing:
        raise StoreError(
            f"cannot resume {folder} with other settings: {'; '.join(differing)}; "
            "repeat the first ones or use another folder"
        )


def _compared(meta: StoreMeta) -> dict[str, Any]:
    own = {"store": meta.store, "shard_frames": meta.shard_frames, "texvlm_version": meta.texvlm_version}
    own |= {"contents": meta.contents, "feature_dtype": meta.feature_dtype}
    made_by = {f"model.{name}": value for name, value in (meta.model or {}).items()}
    return {**meta.settings, **made_by, **own}
