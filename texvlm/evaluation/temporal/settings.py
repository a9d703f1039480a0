"""What an evaluation over time runs, on how much, and with which numbers fixed beforehand."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from texvlm.evaluation.settings import FOV_DEG
from texvlm.layouts import Layout, Quadtree, UniformGrid
from texvlm.layouts.uniform import side_for_count

PARTS = {
    "agreement": "every method against the full forward of the same tokens: features, classes, pixels, ages",
    "time": "every method against the full forward of the same tokens, in turns; time next to multiply-adds",
    "end-to-end": "from a coded frame to features, against a dense 1024 x 1024 picture",
}
"""Parts by name, in the order they run: what is timed comes last."""

LAYOUTS = ("uniform", "quadtree")
REAL = "real weights"
"""Name of the model that `--model` names, where time is measured with others, too."""


class TimedRun(BaseModel):
    """One way to measure time: a model, sources in one batch, and how many frames of each are timed."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: str
    sources: int
    frames: int


TIMED = (
    TimedRun(model=REAL, sources=1, frames=150),
    TimedRun(model=REAL, sources=8, frames=12),
    TimedRun(model="ViT-B", sources=1, frames=20),
    TimedRun(model="ViT-B", sources=8, frames=4),
)


class TemporalSettings(BaseModel):
    """What to run.

    Attributes:
        model: folder of a pretrained ViT; None only with `quick`: a tiny one with random weights.
        data: folder of clips, with photos/ in it or not; None for procedural scenes.
        parts: keys of PARTS; empty for all.
        clips: names or kinds of clips; empty for all.
        methods: names of methods; empty for all.
        layouts: of LAYOUTS; time is measured with the first.
        frames: of each clip.
        uniform_tokens: the uniform grid is the finest with no more tokens.
        quadtree_tokens: budget of the quadtree.
        threshold: of the engine that holds the frames, fraction of full scale; 0 samples each frame as it is.
        sure: probability above which the full forward counts as confident.
        timed: how time is measured.
        dense_frames: dense forwards that are timed.
        quick: tiny frames, few of them: only to see that all runs; no number means anything.
        seed: of everything drawn at random.
        threads: of torch; None for as many as there are cores.
        command: what the reports name as the command that made them.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: Path | None = None
    data: Path | None = None
    parts: tuple[str, ...] = ()
    clips: tuple[str, ...] = ()
    methods: tuple[str, ...] = ()
    layouts: tuple[str, ...] = LAYOUTS
    frames: int = Field(default=150, ge=2)
    uniform_tokens: int = Field(default=280, ge=4)
    quadtree_tokens: int = Field(default=268, ge=4)
    threshold: float = Field(default=0.0, ge=0)
    sure: float = Field(default=0.5, ge=0, le=1)
    timed: tuple[TimedRun, ...] = TIMED
    dense_frames: int = Field(default=3, ge=1)
    quick: bool = False
    seed: int = Field(default=0, ge=0)
    threads: int | None = Field(default=None, ge=1)
    command: str = "texvlm eval temporal"

    def sized(self) -> TemporalSettings:
        """Itself, or with `quick` the same on next to nothing."""
        if not self.quick:
            return self
        timed = (TimedRun(model=REAL, sources=1, frames=3), TimedRun(model="tiny", sources=2, frames=2))
        small = {"uniform_tokens": 24, "quadtree_tokens": 40, "frames": min(self.frames, 6), "sure": 0.0}
        return self.model_copy(update={**small, "timed": timed, "dense_frames": 1, "threads": 1})

    def layout(self, name: str, size: tuple[int, int], patch: int) -> Layout:
        """A layout of LAYOUTS for frames of one size; it has no padding.

        Raises:
            ValueError: no such layout.
        """
        if name == "uniform":
            return UniformGrid(patch=patch, side=side_for_count(size, self.uniform_tokens))
        if name == "quadtree":
            return Quadtree(tokens=self.quadtree_tokens, patch=patch, fov_deg=FOV_DEG)
        raise ValueError(f"layout {name!r}; accepted: {', '.join(LAYOUTS)}")
