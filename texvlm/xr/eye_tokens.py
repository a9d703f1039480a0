"""EyeTokens: the tokens of both eyes' pictures, each where that eye looks when the frame is shown."""

from __future__ import annotations

from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from texvlm.backends import gl
from texvlm.backends.base import Backend
from texvlm.engine import Engine
from texvlm.gaze import GazeInput, GazeView
from texvlm.tokens import TokenBatch
from texvlm.xr.eye_frame import XR_CLOCK, HeadsetFrame
from texvlm.xr.headset import Headset


class EyeTokens:
    """An engine with the eyes of a headset as its two sources, source 0 the left one.

    Close it before the headset.

    Args:
        headset: open, on this thread.
        backend: on the context that is current here, closed with this; None opens the gl backend on it.
        options: of the Engine.
    Raises:
        BackendUnavailable: the context is too old.
        ValueError, TypeError: an option is not accepted.
    """

    def __init__(self, headset: Headset, *, backend: Backend | None = None, **options: Any) -> None:
        self._headset = headset
        self._backend = backend or gl.open_current()
        self.gaze = GazeInput([GazeView(eye="left"), GazeView(eye="right")], clock=XR_CLOCK)
        self.fixations: NDArray[np.float64] = np.full((2, 2), 0.5)
        images = headset.images
        try:
            self.engine = Engine(images.size, sources=2, backend=self._backend, **options)
            known = {
                (name, source): self.engine.attach_gl_texture(
                    name, images.target, images.size, layer=place.layer, corner=place.corner, origin="bottom-left"
                )
                for name in dict.fromkeys(images.readable)
                for source, place in enumerate(images.places)
            }
        except BaseException:
            self._backend.close()
            raise
        self._eyes = [[known[name, source] for source in range(2)] for name in images.readable]

    def take(self, frame: HeadsetFrame, *, copy: bool = True) -> TokenBatch:
        """Tokens of both eyes, after the frame was drawn and before the next is asked for; view 0 is the left eye's.

        `fixations` then says where each eye will look when the frame is shown, (2, 2), (u, v) from the top-left.
        """
        self._headset.images.make_readable(frame.image)
        for source, texture in enumerate(self._eyes[frame.image]):
            self.engine.submit(texture, source, pts=frame.display_time_ns / 1e9)
        for sample in frame.gaze:
            self.gaze.put(sample)
        self.fixations = self.gaze.fixations(frame.display_time_ns)
        return self.engine.tokens(self.fixations, copy=copy)

    def close(self) -> None:
        """Let go of the eyes' pictures; with the context current that this was opened on."""
        self.engine.close()
        self._backend.close()

    def __enter__(self) -> EyeTokens:
        """Itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """See close."""
        self.close()
