"""What is resident: the frames of every source in one texture array.

`FrameStore` is the upper row of the engine's flow: detect, upload, build_mips. Every submit that
changes something stamps the tiles with a clock, in the texture or on its device, so that whoever
sampled tokens at some time can find out which of them have become stale.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from texvlm.backends.base import Backend, PendingTiles, Texture
from texvlm.frames import Frame
from texvlm.profiling import StageTimes
from texvlm.pyramid import ElementType, TextureSpec, default_levels, rebuilt_texels
from texvlm.regions import TileMask, texels_inside, tile_grid

if TYPE_CHECKING:
    from texvlm.backends.base import Picture

SUBMIT_STAGES = ("detect", "upload", "build_mips", "refresh")
_log = logging.getLogger("texvlm")


class SubmitReport:
    """What one `submit` did.

    What was updated is asked of the device only when it is read: `tiles`, and the numbers that follow
    from it, wait there for the update to be done.

    Attributes:
        source: which source.
        size: (width, height) of the frame.
        times_ms: wall time of the stages `detect`, `upload` and `build_mips`, or of `refresh`, which
            is all three in one pass where the backend has one.
        resized: the source's frame has another size than the one before.
        reallocated: the texture array was made anew because the frame did not fit.
    """

    __slots__ = ("_spec", "_tiles", "reallocated", "resized", "size", "source", "times_ms")

    def __init__(
        self,
        source: int,
        size: tuple[int, int],
        tiles: TileMask | PendingTiles,
        spec: TextureSpec,
        times_ms: dict[str, float],
        *,
        resized: bool,
        reallocated: bool,
    ) -> None:
        self.source, self.size, self.times_ms = source, size, times_ms
        self.resized, self.reallocated = resized, reallocated
        self._tiles, self._spec = tiles, spec

    @property
    def tiles(self) -> TileMask:
        """Tiles updated, bool, (rows, columns)."""
        if isinstance(self._tiles, PendingTiles):
            self._tiles = self._tiles.mask()
        return self._tiles

    @property
    def tiles_dirty(self) -> int:
        """Number of tiles updated."""
        return int(np.count_nonzero(self.tiles))

    @property
    def tiles_total(self) -> int:
        """Tiles of the frame."""
        rows, columns = self._tiles.shape
        return int(rows * columns)

    @property
    def bytes_uploaded(self) -> int:
        """Packed bytes of level-0 texels written inside the frame."""
        return texels_inside(self.tiles, self.size) * self._spec.texel_bytes

    @property
    def texels_rebuilt(self) -> int:
        """Texels of levels 1 and up written."""
        return rebuilt_texels(self.tiles, self._spec.levels)

    def __repr__(self) -> str:
        return (
            f"SubmitReport(source={self.source}, size={self.size}, tiles_total={self.tiles_total}, "
            f"resized={self.resized}, reallocated={self.reallocated})"
        )


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
    """One texture array that holds the frame of each source in a layer of its own."""

    def __init__(self, backend: Backend, sources: int, wish: Wish, threshold: float) -> None:
        self._backend = backend
        self._sources = sources
        self._wish = wish
        self._threshold = threshold
        self._texture: Texture | None = None

    @property
    def spec(self) -> TextureSpec | None:
        """Shape of the texture array, or None before there is one."""
        return None if self._texture is None else self._texture.spec

    @property
    def texture(self) -> Texture:
        """The texture array; ValueError before there is one."""
        if self._texture is None:
            raise ValueError("there is no texture array yet; submit a frame first")
        return self._texture

    def texture_of(self, source: int) -> Texture:
        """The texture array; ValueError where this source has no frame in it."""
        self.size_of(source)
        return self.texture

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

    def put(self, frame: Picture, source: int, stages: StageTimes) -> SubmitReport:
        """Bring a source's resident frame within the threshold of a new one.

        Raises:
            ValueError: the frame's channels or element type are not those of the texture array;
                nothing has changed.
            MemoryError: no room for a larger texture array; nothing has changed.
        """
        texture, reallocated = self._fit(frame)
        known = self.frame_size(source)
        stages.restart()
        try:
            tiles = self._take(texture, source, frame, stages, compare=known == frame.size)
        except BaseException:
            # perhaps half-written: forget this source, so that its next frame is taken whole
            texture.frame_sizes[source] = 0
            raise
        if isinstance(tiles, np.ndarray):
            texture.stamp(source, tiles)
        self._backend.count(frames=1)
        return SubmitReport(
            source,
            frame.size,
            tiles,
            texture.spec,
            {name: stages.last_ms[name] for name in SUBMIT_STAGES},
            resized=known is not None and known != frame.size,
            reallocated=reallocated,
        )

    def _take(
        self, texture: Texture, source: int, frame: Picture, stages: StageTimes, *, compare: bool
    ) -> TileMask | PendingTiles:
        """Detect, upload and build mips, in one pass where the backend can; the tiles updated."""
        limit = self.limit if compare else None
        if limit is None:
            texture.frame_sizes[source] = frame.size
        with stages.stage("refresh", "upload"):
            taken = self._backend.refresh(texture, source, frame, limit)
        if taken is not None:
            return taken
        assert isinstance(frame, Frame), "a backend that reads devices takes every frame in one pass"
        if limit is not None:
            with stages.stage("detect", "upload"):
                tiles = self._backend.detect(texture, source, frame, limit)
        else:
            columns, rows = tile_grid(frame.size)
            tiles = np.ones((rows, columns), np.bool_)
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
        self._texture = self._backend.create_texture(spec)
        return self._texture

    def close(self) -> None:
        """Free the texture array."""
        if self._texture is not None:
            self._backend.destroy_texture(self._texture)
            self._texture = None

    @property
    def texels(self) -> tuple[int, ElementType]:
        """Channels and element type of the texels that there are, or that were wished for: else RGB bytes."""
        if self._texture is not None:
            return self._texture.spec.channels, self._texture.spec.dtype
        return self._wish.channels or 3, self._wish.dtype or "uint8"

    @property
    def limit(self) -> float:
        """The threshold in texel values. 8 / 255 * 255 may fall a hair below 8, hence the margin."""
        assert self._texture is not None, "there is a texture array"
        return self._threshold * 255 + 1e-6 if self._texture.spec.dtype == "uint8" else self._threshold

    def _fit(self, frame: Picture) -> tuple[Texture, bool]:
        """A texture array that the frame fits; also whether an old one was replaced."""
        kind = frame.element
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
        new = self._texture = self._copied(old, spec)
        self._backend.destroy_texture(old)
        self._backend.count(reallocations=1)
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
                new.stamp(layer, tiles)
        except BaseException:
            self._backend.destroy_texture(new)
            raise
        return new
