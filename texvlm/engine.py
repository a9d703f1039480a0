"""The engine: frames in, foveated tokens out.

    frame -> detect -> upload -> build_mips           submit(): once a frame, only the tiles that changed
                                    |
    fixations, weights, score -> plan -> sample       tokens(): once a gaze, only the tokens that changed

The engine plans and remembers; a backend moves texels. What it remembers: for each source the size
of its frame and, for each tile, when it was last updated (`residency`); for each set of views the
tokens it handed out last (`token_cache`). Nothing depends on time or on chance: the same calls give the same bits.

Threads: an engine may be used from any thread, one call at a time; a call that finds another one
under way raises BusyError at once (engines on different threads are independent). An engine does not
survive a fork: the child's calls raise ClosedError.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from operator import index
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from texvlm.backends import open_backend
from texvlm.backends.attached import AttachedFrame, AttachedTexture, check_as_attached
from texvlm.backends.base import Backend, Counters, Filtering
from texvlm.backends.block_search import BlockSpec
from texvlm.device_frames import take_frame
from texvlm.engine_options import DEFAULT_THRESHOLD, check_options, device_of, normalisation_for, statistics_of, wish_of
from texvlm.frame_graph import FrameGraph, check_capturable
from texvlm.frames import Origin
from texvlm.gl_verbs import GlTextureVerbs
from texvlm.guard import CallGuard
from texvlm.layouts import Layout, make_layout
from texvlm.layouts.table import Table
from texvlm.profiling import StageTimes
from texvlm.pyramid import ElementType, TextureSpec
from texvlm.residency import SUBMIT_STAGES, FrameStore, SubmitReport
from texvlm.resident_blocks import ResidentBlocks
from texvlm.token_cache import TokenCache
from texvlm.tokens import TokenBatch
from texvlm.views import DeviceViews, parse_device_views, parse_views, views_of

if TYPE_CHECKING:
    from texvlm.backends.base import Picture


class Engine(GlTextureVerbs):
    """Keeps the frames of one or more sources as mip-mapped textures and samples tokens from them.

    Args:
        size: (width, height) of the largest frame expected, or a TextureSpec (which then says channels
            and element type, too); None to take it from the first frame. A larger frame later makes the
            engine allocate anew, and say so.
        sources: number of independent videos.
        layout: a name (see texvlm.layouts) or a Layout; a Layout brings its own token count and patch.
        tokens: token budget of a named layout; None for its own default, 268 where any count will do.
        patch: output pixels along one token side, of a named layout.
        fov_deg: field of view across the longer side of the frame, degrees, for layouts driven by acuity.
        e2_deg: eccentricity at which acuity has halved, degrees.
        backend: "auto", "cuda", "gl", "cpu", "cuda-gl-resident" or "cuda-gl-epochs" (arrays that CUDA
            and OpenGL share), or an open Backend (which the caller then closes).
        threshold: largest difference that a tile may keep, as a fraction of full scale; 0 is bit-exact.
        channels: 1, 3 or 4; None to take it from the first frame.
        pixel_dtype: "uint8" or "float32" texels; None to take it from the first frame.
        dtype: element type of token pixels: torch.uint8, float16, bfloat16 or float32.
        mean, std: per-channel normalisation of float tokens, in units of full scale.
        device: where token tensors are wanted; None for where the backend makes them.
        filtering: of a backend that the engine opens, where its texture units could filter: "hardware"
            lets them, "exact" asks for the 32-bit arithmetic that cpu and gl always do.
        timing: time the stages on the device, too, see `describe`; costs it two marks a stage.

    Raises:
        ValueError, TypeError: an argument is not accepted.
        BackendUnavailable: the backend cannot be had.
    """

    def __init__(
        self,
        size: tuple[int, int] | TextureSpec | None = None,
        *,
        sources: int = 1,
        layout: str | Layout = "quadtree",
        tokens: int | None = None,
        patch: int = 16,
        fov_deg: float = 60.0,
        e2_deg: float = 2.0,
        backend: str | Backend = "auto",
        threshold: float = DEFAULT_THRESHOLD,
        channels: int | None = None,
        pixel_dtype: ElementType | None = None,
        dtype: torch.dtype = torch.float32,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        device: torch.device | str | None = None,
        filtering: Filtering = "hardware",
        timing: bool = False,
    ) -> None:
        check_options(sources=sources, threshold=threshold, dtype=dtype, layout=layout, tokens=tokens, backend=backend)
        self._statistics = statistics_of(mean, std, dtype)
        self._layout = (
            make_layout(layout, tokens=tokens, patch=patch, fov_deg=fov_deg, e2_deg=e2_deg)
            if isinstance(layout, str)
            else layout
        )
        self._threshold = threshold
        self._dtype = dtype
        self._sources = sources
        self._device = device_of(device)
        self._stages = StageTimes(*SUBMIT_STAGES, "plan", "sample")
        self._pts = np.full(sources, np.nan)
        self._guard = CallGuard()
        self._attached: list[AttachedTexture] = []
        self._graphs: list[FrameGraph] = []
        self._blocks: list[ResidentBlocks] = []
        self._refusals: tuple[str, ...] = ()
        self._owns_backend = isinstance(backend, str)
        wish = wish_of(size, channels, pixel_dtype, self._layout.patch)
        if isinstance(backend, str):
            choice = open_backend(backend, filtering=filtering)
            backend, self._refusals = choice.backend, choice.refusals
        self._backend = backend
        if timing:
            backend.time_stages()
        self._store = FrameStore(backend, sources, wish, threshold)
        self._cache = TokenCache(backend, self._store, self._layout, dtype, self._stages)
        if isinstance(size, TextureSpec):
            try:
                self._store.allocate(size)
            except BaseException:
                self.close()
                raise

    # ------------------------------------------------------------------ frames in

    def submit(
        self,
        frame: object,
        source: int = 0,
        *,
        pts: float | None = None,
        channels_first: bool = False,
        origin: Origin = "top-left",
        non_blocking: bool = False,
    ) -> SubmitReport:
        """Take the next frame of one source. Afterwards |stored - frame| <= threshold everywhere.

        Args:
            frame: a texvlm.Frame, YuvFrame, NumPy array, torch tensor, anything with `__dlpack__` or
                `__cuda_array_interface__`, or a texture of `attach_gl_texture`. Pixels that the backend
                can read are taken where they lie: see texvlm.device_frames.take_frame.
            source: which source, 0-based.
            pts: presentation time, seconds, where `frame` does not carry one.
            channels_first: the array's first axis counts channels.
            origin: where the array's row 0 lies.
            non_blocking: return while a frame in page-locked host memory is still being read; it must
                not be written before the device is done with it. Other frames are free at once.
        Raises:
            ValueError, TypeError: frame or source not accepted; the engine is unchanged.
            MemoryError: no room for a larger frame; the engine is unchanged.
            DeviceCallError: the device failed in between; this source has no frame until its next one.
        """
        with self._guard.call("submit"):
            if isinstance(frame, AttachedTexture):
                check_as_attached(channels_first=channels_first, origin=origin)
                picture: Picture | AttachedFrame = AttachedFrame(frame, *self._store.texels, pts=pts)
            else:
                reader = self._backend.reader()
                picture = take_frame(frame, reader=reader, channels_first=channels_first, origin=origin, pts=pts)
            if not 0 <= index(source) < self._sources:
                raise ValueError(f"source {source}; this engine has 0..{self._sources - 1}")
            report = self._store.put(picture, source, self._stages)
            if not non_blocking:
                self._backend.release_frames()
            self._pts[source] = np.nan if picture.pts is None else picture.pts
            return report

    # ------------------------------------------------------------------ tokens out

    def tokens(
        self,
        fixations: ArrayLike | torch.Tensor = (0.5, 0.5),
        *,
        sources: int | Sequence[int] | None = None,
        weights: ArrayLike | None = None,
        score: ArrayLike | None = None,
        layout: Layout | None = None,
        copy: bool = True,
        out: torch.Tensor | None = None,
    ) -> TokenBatch:
        """Tokens of the resident frames, for one or more views.

        Only tokens whose place or texels changed since the last call for the same sources are
        sampled; `dirty` says which. The pixels are the same as if all had been.

        Args:
            fixations: (u, v), the frame spanning 0..1: shape (2,), (views, 2), or (views, k, 2) for
                k fixations a view. They may lie outside the frame. A tensor on the backend's device
                is never brought to the host: the tokens are planned there, too.
            sources: source of each view; see texvlm.views.parse_views for the defaults.
            weights: importance of each fixation, (k,) or (views, k).
            score: importance map over the frame instead of fixations, (rows, columns) or with views.
            layout: for this call, instead of the engine's; of the same patch. Another count samples all anew.
            copy: False returns the engine's own memory without a copy: it is overwritten by the
                next call for the same sources.
            out: where to put the pixels, dtype and shape of the result, or patch-major
                (views, tokens, channels * patch * patch); any device.
        Raises:
            ValueError: a view cannot be served: no frame yet, a fixation that is not finite, ...
        """
        with self._guard.call("tokens"):
            views = views_of(
                self._backend.owns, fixations, sources=sources, weights=weights, score=score, source_count=self._sources
            )
            listed = views.sources if isinstance(views, DeviceViews) else [view.source for view in views]
            texture = self._store.texture_of(listed[0])
            fresh = self._cache.refresh(views, normalisation_for(texture.spec, self._statistics), out, layout)
            try:
                pixels = fresh.deliver(out=out, device=self._device, copy=copy)
            except BaseException:
                self._cache.forget(listed)
                raise
            return TokenBatch(
                pixels,
                # a table of the device was made for this call; one of the host may serve the next as well
                fresh.table if isinstance(fresh.table, torch.Tensor) else fresh.table.copy(),
                fresh.dirty.to(pixels.device),
                np.array(fresh.sizes, np.int32),
                np.array(listed, np.int32),
                self._pts[listed],
            )

    def plan(
        self,
        fixations: ArrayLike = (0.5, 0.5),
        *,
        sources: int | Sequence[int] | None = None,
        weights: ArrayLike | None = None,
        score: ArrayLike | None = None,
        layout: Layout | None = None,
    ) -> Table:
        """The token table that `tokens` would sample, (views, tokens); no pixels are touched."""
        with self._guard.call("plan"):
            views = parse_views(fixations, sources=sources, weights=weights, score=score, source_count=self._sources)
            return self._cache.plan(views, [self._store.size_of(view.source) for view in views], layout)

    def capture(
        self,
        frames: object,
        fixations: torch.Tensor,
        *,
        sources: int | Sequence[int] | None = None,
        weights: ArrayLike | None = None,
        channels_first: bool = False,
        origin: Origin = "top-left",
    ) -> FrameGraph:
        """Submit frames and sample their tokens as one launch, to be replayed with other frames and fixations.

        Nothing runs yet. The graph has its own tokens: those of `tokens` neither feed it nor learn from it.

        Args:
            frames: on the device: one for each source in the order of the views, or the only one. Every
                source must hold a frame of that size; `submit` one first.
            fixations: on the device, float32, (2,), (views, 2) or (views, k, 2).
            sources: as for `tokens`.
            weights: as for `tokens`.
            channels_first: as for `submit`; also of the frames of every replay.
            origin: likewise.
        Raises:
            TypeError: the backend captures no frames, or the layout is planned on the host.
            ValueError: frames or fixations that do not lie on the device, or do not fit.
        """
        with self._guard.call("capture"):
            check_capturable(self._backend, fixations)
            views = parse_device_views(fixations, sources=sources, weights=weights, source_count=self._sources)
            spec = self._store.texture_of(views.sources[0]).spec
            parts = (
                self._guard,
                self._backend,
                self._store,
                self._layout,
                self._dtype,
                normalisation_for(spec, self._statistics),
            )
            graph = FrameGraph(*parts, frames, views, self._pts, channels_first=channels_first, origin=origin)
            self._graphs = [*(known for known in self._graphs if not known.closed), graph]
            return graph

    def block_memory(self, spec: BlockSpec | None = None) -> ResidentBlocks:
        """What finds where blocks of a frame were in the one before, on the resident mips; no frame comes to the host.

        `texvlm.motion.BlockMatcher` makes motion fields of it. Each memory compares with the frames that it saw itself.
        """
        with self._guard.call("block_memory"):
            blocks = ResidentBlocks(self._guard, self._backend, self._store, spec or BlockSpec())
            self._blocks = [*(known for known in self._blocks if not known.closed), blocks]
            return blocks

    # ------------------------------------------------------------------ state

    @property
    def backend_name(self) -> str:
        """Name of the backend in use."""
        return self._backend.name

    @property
    def device(self) -> torch.device:
        """Where tokens appear, and where frames and fixations are taken without a copy."""
        return self._backend.device

    @property
    def counters(self) -> Counters:
        """Work of the backend so far; live. Engines that were given one and the same backend share it."""
        return self._backend.counters

    @property
    def layout(self) -> Layout:
        """Where tokens lie."""
        return self._layout

    @property
    def sources(self) -> int:
        """Number of sources."""
        return self._sources

    @property
    def spec(self) -> TextureSpec | None:
        """Shape of the texture array, or None before the first frame."""
        return self._store.spec

    @property
    def times_ms(self) -> dict[str, float]:
        """Milliseconds spent so far in each stage: detect, upload, build_mips, refresh, plan, sample."""
        return dict(self._stages.total_ms)

    def frame_size(self, source: int = 0) -> tuple[int, int] | None:
        """(width, height) of a source's resident frame, or None before its first one."""
        return self._store.frame_size(source)

    def frame_pts(self, source: int = 0) -> float:
        """Presentation time of a source's newest frame, seconds; NaN where it is not known."""
        return float(self._pts[source])

    def read_level(self, level: int = 0, *, source: int = 0) -> NDArray[np.generic]:
        """A copy of what is stored of one mip level, (height, width, channels)."""
        with self._guard.call("read_level"):
            texture = self._store.texture_of(source)
            if not 0 <= level < texture.spec.levels:
                raise ValueError(f"level {level}; this engine has 0..{texture.spec.levels - 1}")
            return self._backend.read_level(texture, source, level)

    def describe(self) -> dict[str, object]:
        """Backend, device, refusals, shapes, settings and counters, for reports; JSON-compatible."""
        return {
            **self._backend.describe(),
            "refused": list(self._refusals),
            "layout": repr(self._layout),
            "threshold": self._threshold,
            "dtype": str(self._dtype).removeprefix("torch."),
            "sources": self._sources,
            "texture": None if self.spec is None else self.spec.describe(),
            "counters": self.counters.as_dict(),
            "times_ms": self.times_ms,
            "device_times_ms": self._backend.device_times_ms,
        }

    def close(self) -> None:
        """Free the textures and, where the engine opened it, the backend. May be called twice."""
        if self._guard.closed or self._guard.forked:
            return
        with self._guard.call("close"):
            self._guard.closed = True
        self._cache.clear()
        with ExitStack() as steps:  # last step first, and every step whatever fails
            if self._owns_backend:
                steps.callback(self._backend.close)
            steps.callback(self._store.close)
            for texture in self._attached:
                steps.callback(self._backend.detach, texture)
            for blocks in self._blocks:
                steps.callback(blocks.release)
            for graph in self._graphs:
                steps.callback(graph.release)

    def __enter__(self) -> Engine:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
