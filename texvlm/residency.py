"""What is resident: the frames of every source in one texture array, and when each tile changed.

`FrameStore` is the upper row of the engine's flow: detect, upload, build_mips. Every submit that
changes something advances a clock; each tile keeps the clock of its last update, so that whoever
sampled tokens at some time can ask which of them have become stale.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from texvlm.backends.base import Backend, Texture
from texvlm.frames import Frame
from texvlm.profiling import StageTimes
from texvlm.pyramid import ElementType, TextureSpec, default_levels
from texvlm.regions import TileMask, tile_grid

SUBMIT_STAGES = ("detect", "upload", "build_mips", "refresh")
_log = logging.getLogger("texvlm")


@dataclass(frozen=True, slots=True)
class SubmitReport:
    """What one `submit` did.

    Attributes:
        source: which source.
        tiles: tiles updated, bool, (rows, columns).
        bytes_uploaded: level-0 bytes written.
        texels_rebuilt: texels of levels 1 and up written.
        times_ms: wall time of the stages `detect`, `upload` and `build_mips`, or of `refresh`, which
            is all three in one pass where the backend has one.
        resized: the source's frame has another size than the one before.
        reallocated: the texture array was made anew because the frame did not fit.
    """

    source: int
    tiles: TileMask
    bytes_uploaded: int
    texels_rebuilt: int
    times_ms: dict[str, float]
    resized: bool
    reallocated: bool

    @property
    def tiles_dirty(self) -> int:
        """Tiles updated."""
        return int(np.count_nonzero(self.tiles))

    @property
    def tiles_total(self) -> int:
        """Tiles of the frame."""
        return int(self.tiles.size)


@dataclass(frozen=True, slots=True)
class Wish:
    """What a caller said about the texture array before the first frame; None = take it from the frame.

    `patch` is the layout's: smaller patches are filtered from coarser levels.
    """

    size: tuple[int, int] | None
    channels: int | None
    dtype: ElementType | None
    patch: int


class FrameStore:
    """One texture array that holds the frame of each source in a layer of its own.

    Attributes:
        clock: changes so far: submits that changed something, and texture arrays that were made.
        changed_at: clock of each source's last change, int64, (sources,).
        versions: clock of each tile's last change, int64, (layers, rows, columns).
    """

    def __init__(self, backend: Backend, sources: int, wish: Wish, threshold: float) -> None:
        self._backend = backend
        self._sources = sources
        self._wish = wish
        self._threshold = threshold
        self._texture: Texture | None = None
        self.clock = 0
        self.changed_at = np.zeros(sources, np.int64)
        self.versions: NDArray[np.int64] = np.zeros((sources, 0, 0), np.int64)

    @property
    def spec(self) -> TextureSpec | None:
        """Shape of the texture array, or None before there is one."""
        return None if self._texture is None else self._texture.spec

    def texture_of(self, source: int) -> Texture:
        """The texture array; ValueError where this source has no frame in it."""
        self.size_of(source)
        assert self._texture is not None, "a source with a frame has a texture"
        return self._texture

    def size_of(self, source: int) -> tuple[int, int]:
        """(width, height) of a source's frame; ValueError where it has none."""
        size = self.frame_size(source)
        if size is None:
            raise ValueError(f"source {source} has no frame yet; submit one first")
        return size

    def frame_size(self, source: int) -> tuple[int, int] | None:
        """(width, height) of a source's frame, or None before its first one."""
        if self._texture is None:
            return None
        width, height = self._texture.frame_sizes[source].tolist()
        return (width, height) if width else None

    def put(self, frame: Frame, source: int, stages: StageTimes) -> SubmitReport:
        """Bring a source's resident frame within the threshold of a new one.

        Raises:
            ValueError: the frame's channels or element type are not those of the texture array;
                nothing has changed.
            MemoryError: no room for a larger texture array; nothing has changed.
        """
        counters = self._backend.counters
        before = (counters.bytes_uploaded, counters.texels_rebuilt)
        texture, reallocated = self._fit(frame)
        known = self.frame_size(source)
        stages.restart()
        try:
            tiles = self._take(texture, source, frame, stages, compare=known == frame.size)
        except BaseException:
            # perhaps half-written: forget this source, so that its next frame is taken whole
            texture.frame_sizes[source] = 0
            raise
        if tiles.any():
            self.clock += 1
            self.changed_at[source] = self.clock
            np.copyto(self.versions[source, : tiles.shape[0], : tiles.shape[1]], self.clock, where=tiles)
        counters.frames += 1
        return SubmitReport(
            source,
            tiles,
            counters.bytes_uploaded - before[0],
            counters.texels_rebuilt - before[1],
            {name: stages.last_ms[name] for name in SUBMIT_STAGES},
            known is not None and known != frame.size,
            reallocated,
        )

    def _take(self, texture: Texture, source: int, frame: Frame, stages: StageTimes, *, compare: bool) -> TileMask:
        """Detect, upload and build mips, in one pass where the backend can; the tiles updated."""
        if compare:
            limit = self._limit(texture.spec)
            with stages.stage("refresh", "upload"):
                taken = self._backend.refresh(texture, source, frame, limit)
            if taken is not None:
                return taken
            with stages.stage("detect", "upload"):
                tiles = self._backend.detect(texture, source, frame, limit)
        else:
            columns, rows = tile_grid(frame.size)
            tiles = np.ones((rows, columns), np.bool_)
            texture.frame_sizes[source] = frame.size
        if tiles.any():
            with stages.stage("upload", "upload"):
                self._backend.upload(texture, source, tiles, frame)
            with stages.stage("build_mips", "mip"):
                self._backend.build_mips(texture, source, tiles)
        return tiles

    def allocate(self, spec: TextureSpec) -> Texture:
        """Make the first texture array."""
        if spec.layers < self._sources:
            raise ValueError(f"spec has {spec.layers} layers for {self._sources} sources; give each source one")
        return self._hold(self._backend.create_texture(spec))

    def close(self) -> None:
        """Free the texture array."""
        if self._texture is not None:
            self._backend.destroy_texture(self._texture)
            self._texture = None

    def _limit(self, spec: TextureSpec) -> float:
        """The threshold in texel values. 8 / 255 * 255 may fall a hair below 8, hence the margin."""
        return self._threshold * 255 + 1e-6 if spec.dtype == "uint8" else self._threshold

    def _fit(self, frame: Frame) -> tuple[Texture, bool]:
        """A texture array that the frame fits; also whether an old one was replaced."""
        kind: ElementType = "uint8" if frame.pixels.dtype == np.uint8 else "float32"
        old = self._texture
        channels = self._wish.channels or frame.channels if old is None else old.spec.channels
        dtype = self._wish.dtype or kind if old is None else old.spec.dtype
        if (frame.channels, kind) != (channels, dtype):
            raise ValueError(
                f"frame has {frame.channels} channels of {kind}; this engine holds {channels} of {dtype}: "
                "convert the frame, or open an engine for it"
            )
        now = (old.spec.size if old else self._wish.size) or frame.size
        size = (max(now[0], frame.size[0]), max(now[1], frame.size[1]))
        if old is not None and size == old.spec.size:
            return old, False
        layers = self._sources if old is None else old.spec.layers
        spec = TextureSpec(size, layers, channels, dtype, default_levels(size, self._wish.patch))
        if old is None:
            return self.allocate(spec), False
        new = self._copied(old, spec)
        self._hold(new)
        self._backend.destroy_texture(old)
        self._backend.counters.reallocations += 1
        _log.info("texture array allocated anew: %s -> %s texels for a frame of %s", now, size, frame.size)
        return new, True

    def _copied(self, old: Texture, spec: TextureSpec) -> Texture:
        """A new texture array with every resident frame of the old one, which stays as it is."""
        new = self._backend.create_texture(spec)
        try:
            for layer in map(int, np.flatnonzero(old.frame_sizes[:, 0])):
                new.frame_sizes[layer] = old.frame_sizes[layer]
                frame = Frame(np.ascontiguousarray(self._backend.read_level(old, layer, 0)))
                columns, rows = tile_grid(frame.size)
                tiles = np.ones((rows, columns), np.bool_)
                self._backend.upload(new, layer, tiles, frame)
                self._backend.build_mips(new, layer, tiles)
        except BaseException:
            self._backend.destroy_texture(new)
            raise
        return new

    def _hold(self, texture: Texture) -> Texture:
        """Hold this texture array from now on, all of it new: its levels may not be those of the one before."""
        self.clock += 1
        self.changed_at[:] = self.clock
        columns, rows = tile_grid(texture.spec.size)
        self.versions = np.full((texture.spec.layers, rows, columns), self.clock, np.int64)
        self._texture = texture
        return texture
