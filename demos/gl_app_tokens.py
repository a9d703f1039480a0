"""texvlm's side of gl_app.py: the app's textures as sources, a gaze for each eye, tokens of the frame just drawn."""

import statistics
import time
from types import TracebackType

import numpy as np
from gl_app_eyes import gaze_at
from gl_app_renderer import FRAME_NS, App

import texvlm
from texvlm.backends import gl, open_backend
from texvlm.backends.base import Backend
from texvlm.drawing.pictures import Panel, compose_sheet, draw_tokens
from texvlm.drawing.reconstruct import reconstruct
from texvlm.gaze import GazeInput, GazeView


def backend_here(name: str) -> Backend:
    """The gl backend works in the OpenGL context that is current; cuda, on the GPU that draws, maps its textures."""
    return gl.open_current() if name == "gl" else open_backend(name).backend


class Tokens:
    """An engine for the context that is current here: the app's own, or one that shares its textures.

    It closes the backend that it is given.
    """

    def __init__(self, app: App, backend: Backend) -> None:
        self.eyes = app.eyes
        self.gaze = GazeInput([GazeView(eye.fov, eye.name) for eye in app.eyes], clock="app")
        self.spent_ms: list[float] = []
        self.backend = backend
        try:
            self.engine = texvlm.Engine(app.size, sources=len(app.eyes), backend=self.backend)
            self.attached = [
                [
                    self.engine.attach_gl_texture(
                        b.texture.glo, b.target, app.size, layer=eye.layer, corner=eye.corner, origin="bottom-left"
                    )
                    for eye in app.eyes
                ]
                for b in app.buffers
            ]
        except BaseException:
            self.backend.close()
            raise

    def take(self, frame: int, buffer: int = 0) -> texvlm.TokenBatch:
        """Tokens of a frame that was drawn, for where the eyes will be when it is shown, two frames later."""
        start = time.perf_counter()
        now = frame * FRAME_NS
        for tick in (3, 2, 1, 0):  # the tracker is four times as fast
            for eye in self.eyes:
                self.gaze.put(gaze_at(eye, now - tick * FRAME_NS // 4))
        for source, texture in enumerate(self.attached[buffer]):
            self.engine.submit(texture, source, pts=now / 1e9)
        self.fixations = self.gaze.fixations(now + 2 * FRAME_NS)
        self.batch = self.engine.tokens(self.fixations, copy=False)
        self.spent_ms.append(1e3 * (time.perf_counter() - start))
        return self.batch

    def report(self, drawing_ms: list[float]) -> str:
        """What it took; the first frame compiles and is left out."""
        work, frames = self.engine.counters, len(self.spent_ms)
        drawing, taking = (statistics.median(times[1:] or times) for times in (drawing_ms, self.spent_ms))
        return (
            f"{frames} frames: drawing {drawing:.2f} ms, tokens {taking:.2f} ms (medians)\n"
            f"tokens {tuple(self.batch.flat().shape)}: {work.tokens_sampled} sampled, {work.tokens_reused} reused\n"
            f"{work.tiles_compared} tiles compared, {work.tiles_dirty} written, from the app's texture to the engine's"
        )

    def picture(self) -> np.ndarray:
        """For each eye the last frame under its tokens, and what they hold. Only this reads pixels back."""
        panels = []
        for k, eye in enumerate(self.eyes):
            frame = self.engine.read_level(0, source=k)
            size = frame.shape[1], frame.shape[0]
            look = self.fixations[k] * size
            options = {"frame_size": size, "patch": self.batch.patch, "fixations": look, "dim": 0.8}
            panels.append(Panel(draw_tokens(frame, self.batch.table[k], **options), f"{eye.name}: tokens"))
            panels.append(Panel(reconstruct(self.batch, view=k), "from tokens alone"))
        return compose_sheet(panels)

    def __enter__(self) -> "Tokens":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.engine.close()
        self.backend.close()
