"""One frame from pixels on the device to tokens, captured once and replayed with a single launch.

What the calls cost beyond the device's own work, several launches and the Python between them, is paid
once, at the capture. A replay takes other frames and fixations of the same kind, wherever they lie on the
device, and does what `submit` and `tokens` would have done.
"""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from texvlm.backends.attached import AttachedTexture
from texvlm.backends.base import Backend, Normalisation
from texvlm.backends.capture import CaptureRequest, FrameRecording
from texvlm.device_frames import take_frame
from texvlm.errors import ClosedError
from texvlm.frames import Origin
from texvlm.guard import CallGuard
from texvlm.layouts import Layout
from texvlm.residency import FrameStore
from texvlm.tokens import TokenBatch
from texvlm.views import DeviceViews, parse_device_views

if TYPE_CHECKING:
    from texvlm.backends.base import Picture


def check_capturable(backend: Backend, fixations: object) -> None:
    """TypeError unless the backend takes frames that can be captured, and its kernels can read these fixations."""
    if backend.reader() is None:
        raise TypeError(
            f"frames of this {backend.name} backend come in through the host, which cannot be captured; "
            "open 'cuda' or 'cuda-gl-resident'"
        )
    if not (isinstance(fixations, torch.Tensor) and backend.owns(fixations)):
        seen = f"a tensor on {fixations.device}" if isinstance(fixations, torch.Tensor) else type(fixations).__name__
        raise TypeError(f"fixations are {seen}; a captured frame takes a float32 tensor on {backend.device}")


class FrameGraph:
    """A captured frame of some sources; made by `Engine.capture`. Belongs to its engine, and ends with it.

    Attributes:
        sources: those whose frames it takes, in the order in which `replay` wants them.
    """

    def __init__(
        self,
        guard: CallGuard,
        backend: Backend,
        store: FrameStore,
        layout: Layout,
        dtype: torch.dtype,
        normalisation: Normalisation,
        frames: object,
        views: DeviceViews,
        pts: NDArray[np.float64],
        *,
        channels_first: bool,
        origin: Origin,
    ) -> None:
        """See Engine.capture; `pts` are the engine's, one a source."""
        self.sources = tuple(dict.fromkeys(views.sources))
        self._channels_first, self._origin = channels_first, origin
        self._guard, self._backend, self._store, self._pts = guard, backend, store, pts
        pictures = self._taken(frames)
        self._views = views.sources
        self._texture = store.texture_of(self.sources[0])
        self._sizes = {source: store.size_of(source) for source in self.sources}
        for source, frame in zip(self.sources, pictures, strict=True):
            if frame.size != self._sizes[source]:
                raise ValueError(
                    f"frame of {frame.size} for source {source}, which holds {self._sizes[source]}; submit one first"
                )
        request = CaptureRequest(
            self._texture,
            self.sources,
            store.limit,
            layout,
            tuple(self._sizes[source] for source in views.sources),
            tuple(views.sources),
            views.fixations,
            views.weights,
            dtype,
            normalisation,
        )
        self._recording: FrameRecording | None = backend.capture(request, pictures)

    def replay(self, frames: object = None, fixations: torch.Tensor | None = None) -> TokenBatch:
        """Take new frames and sample their tokens, in one launch on torch's current stream.

        Args:
            frames: one for each of `sources`, or the frame itself for a single one; on the device, of
                the size and kind of those captured. None to read those given last again: for frames
                that are always written to the same place.
            fixations: (u, v) on the device, of the captured shape and element type; None as above.
        Returns:
            The tokens, in the graph's own memory: the next replay overwrites pixels, rows and dirty flags.
        Raises:
            ValueError: another size or kind than captured, or the texture array was made anew meanwhile.
            TypeError: fixations that are no tensor on the device.
            ClosedError: the graph or its engine is closed.
        """
        with self._guard.call("replay"):
            recording = self._open()
            if self._store.texture_of(self.sources[0]) is not self._texture or any(
                self._store.frame_size(source) != size for source, size in self._sizes.items()
            ):
                raise ValueError("a frame of another size was submitted since the capture; capture anew")
            pictures = [] if frames is None else self._taken(frames)
            if fixations is not None:
                check_capturable(self._backend, fixations)
                fixations = parse_device_views(
                    fixations, sources=self._views, weights=None, source_count=max(self._views) + 1
                ).fixations
            self._backend.replay(recording, pictures, fixations)
            self._backend.count(frames=len(self.sources))
            for source, picture in zip(self.sources, pictures, strict=False):
                self._pts[source] = np.nan if picture.pts is None else picture.pts
            lead = tuple(map(int, recording.rows.shape[:2]))
            return TokenBatch(
                recording.pixels.view(*lead, *recording.pixels.shape[1:]),
                recording.rows,
                recording.dirty.view(lead),
                np.array([self._sizes[source] for source in self._views], np.int32),
                np.array(self._views, np.int32),
                self._pts[self._views],
            )

    @property
    def closed(self) -> bool:
        """Whether it was freed."""
        return self._recording is None

    def close(self) -> None:
        """Free the graph. May be called twice."""
        if not (self.closed or self._guard.closed or self._guard.forked):
            with self._guard.call("close"):
                self.release()

    def release(self) -> None:
        """What `close` does, from inside a call of the engine."""
        if self._recording is not None:
            recording, self._recording = self._recording, None
            self._backend.release(recording)

    def __enter__(self) -> FrameGraph:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _taken(self, frames: object) -> list[Picture]:
        """One frame for each source, where it lies."""
        given = list(frames) if isinstance(frames, list | tuple) else [frames]
        if len(given) != len(self.sources):
            raise ValueError(f"{len(given)} frames for sources {self.sources}; give one each")
        if any(isinstance(frame, AttachedTexture) for frame in given):
            raise TypeError(
                "an OpenGL texture is mapped for every frame, which cannot be captured; submit it, or give tensors"
            )
        reader = self._backend.reader()
        return [
            take_frame(frame, reader=reader, channels_first=self._channels_first, origin=self._origin)
            for frame in given
        ]

    def _open(self) -> FrameRecording:
        if self._recording is None:
            raise ClosedError("replay: this graph is closed; capture another")
        return self._recording
