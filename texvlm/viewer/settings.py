"""What a viewing session is opened with."""

from __future__ import annotations

from dataclasses import dataclass

from texvlm.engine_options import DEFAULT_THRESHOLD
from texvlm.layouts import Layout, make_layout
from texvlm.sources import Source, open_source

PATCH = 16


@dataclass(frozen=True, slots=True)
class ViewSettings:
    """How to look at one input.

    Attributes:
        input: what `open_source` takes: a file, a folder, a camera, an address, a scene.
        layout: name of a layout; see texvlm.layouts.
        tokens: token budget; None for the layout's own count.
        patch: output pixels along one token side.
        fov_deg: field of view across the frame's longer side, degrees.
        e2_deg: eccentricity at which acuity has halved, degrees.
        threshold: largest difference that a tile may keep, a fraction of full scale; 0 is bit-exact.
        backend: "auto", "gl", "cpu" or "cuda".
        look: a look policy, NAME[:OPTION=VALUE,...], that moves the fixation until the pointer takes over;
            None for the pointer.
        fixation: (u, v) until the pointer has moved.
        loop: begin anew when the input ends.
        clocked: frames come when their time has come, late ones are dropped; False takes each as soon as
            it is decoded, and none is dropped.
    """

    input: str
    layout: str = "quadtree"
    tokens: int | None = None
    patch: int = PATCH
    fov_deg: float = 60.0
    e2_deg: float = 2.0
    threshold: float = DEFAULT_THRESHOLD
    backend: str = "auto"
    look: str | None = None
    fixation: tuple[float, float] = (0.5, 0.5)
    loop: bool = True
    clocked: bool = True

    def make_layout(self, name: str | None = None, tokens: int | None = None) -> Layout:
        """The layout, or another one of the same patch and field of view; ValueError when it cannot be had."""
        return make_layout(
            self.layout if name is None else name,
            tokens=tokens,
            patch=self.patch,
            fov_deg=self.fov_deg,
            e2_deg=self.e2_deg,
        )

    def open_source(self) -> Source:
        """The input from its beginning; SourceError or ValueError as in texvlm.sources."""
        return open_source(self.input)
