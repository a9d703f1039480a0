"""What a codec's frame kinds and vectors are worth, with pixels as the judge.

| the container says | the pixels say | what follows |
|---|---|---|
| I picture | something changed since the last refresh | a refresh, a few tokens a frame, from the background budget |
| I picture | nothing changed since, or that was lately | nothing (broadcasts repeat I pictures of a still scene) |
| only I pictures, or no kinds | - | kinds tell nothing: change is found in the pixels alone |
| P or B picture with vectors | moved pixels fit | the vectors seed motion, where something changed |
| P or B picture with vectors | nothing changed, or few moved pixels fit | no seed: other motion, or none |

An I picture is where an encoder starts anew: what was reused across it was measured against pixels of another
quality, each within its bound. It is never a cut by itself, and vectors never say that something changed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from texvlm.layouts.base import check_count
from texvlm.motion.field import MotionField
from texvlm.regions import TILE, TileMask

INTRA = ("I", "SI")
"""Picture types without a reference, as codecs name them."""

INTRA_RUN = 3
"""I pictures in a row after which a stream counts as intra-only (MJPEG, ProRes, screen grabs)."""


@dataclass(frozen=True, slots=True)
class CodecDecision:
    """What follows from one frame's kind and vectors.

    Attributes:
        refresh: reused tokens that may be encoded anew in this frame, oldest first, beside the stale ones.
        pending: tokens of the running refresh that later frames will get.
        seed: motion to start from, 0 and valid where no tile changed; None where there is none to be had.
        still: no tile changed in this frame.
        reasons: a few words for each thing that was decided.
    """

    refresh: int
    pending: int
    seed: MotionField | None
    still: bool
    reasons: tuple[str, ...]


@dataclass(slots=True)
class _Memory:
    """What is remembered of one source."""

    tiles: tuple[int, ...]  # shape of its change masks
    tokens: int
    intra_run: int = 0
    pending: int = 0
    unrefreshed: bool = False  # something changed since the last refresh began
    since: int = 0  # frames since then


@dataclass(slots=True, eq=False)
class CodecPolicy:
    """Decides frame by frame; keeps its sources apart.

    Attributes:
        share: of the tokens that a refresh may take in one frame, above 0, up to 1.
        least_valid: share of changed cells in which moved pixels must fit for vectors to be a seed, 0..1.
        least_gap: frames from the beginning of one refresh to that of the next, at least: some cameras send an I
            picture every few frames.
        refresh_still: refresh at an I picture also where nothing changed.
    """

    share: float = 0.05
    least_valid: float = 0.3
    least_gap: int = 100
    refresh_still: bool = False
    _memories: dict[int, _Memory] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        if not 0 < self.share <= 1:
            raise ValueError(f"share is {self.share}; accepted: above 0, up to 1")
        check_count("least_gap", self.least_gap)
        if not 0 <= self.least_valid <= 1:
            raise ValueError(f"least_valid is {self.least_valid}; accepted: a share, 0..1")

    def decide(
        self, kind: str | None, tiles: TileMask, *, tokens: int, motion: MotionField | None = None, source: int = 0
    ) -> CodecDecision:
        """What follows from a source's next frame.

        The first frame of a source, and the first one with another number of tiles or tokens, is encoded in
        full anyway: no refresh, no seed.

        Args:
            kind: `Frame.kind`.
            tiles: tiles that changed with this frame, bool, (rows, columns); `SubmitReport.tiles`.
            tokens: of the frame.
            motion: the codec's vectors as `CodecMotion` judged them by pixels; None without vectors.
            source: which source.
        Raises:
            ValueError, TypeError: tiles that are no mask, a field that does not span them, or a token count
                below 1; nothing is remembered of this frame.
        """
        check_count("tokens", tokens)
        if tiles.ndim != 2 or tiles.size == 0 or tiles.dtype != np.bool_:
            raise ValueError(f"tiles of {tiles.dtype}, shape {tiles.shape}; accepted: bool, (rows, columns)")
        seed, about_motion = None, ""
        if motion is not None:
            seed, about_motion = judged_seed(motion, tiles, least_valid=self.least_valid)
        memory = self._memories.get(source)
        if memory is None or (memory.tiles, memory.tokens) != (tiles.shape, tokens):
            self._memories[source] = _Memory(tiles.shape, tokens, int(kind in INTRA))
            return CodecDecision(0, 0, None, False, ("first frame",))
        changed = bool(tiles.any())
        memory.unrefreshed |= changed
        memory.since += 1
        about_kind = self._at_kind(kind, memory)
        granted = min(memory.pending, max(math.ceil(self.share * tokens), 1))
        memory.pending -= granted
        if about_kind == "" and granted:
            about_kind = "refresh goes on"
        reasons = tuple(words for words in (about_kind, about_motion) if words)
        return CodecDecision(granted, memory.pending, seed, not changed, reasons)

    def refreshed(self, source: int = 0) -> None:
        """Tell that all tokens of a source were encoded (a cut, a full frame): a running refresh ends."""
        memory = self._memories.get(source)
        if memory is not None:
            memory.pending, memory.unrefreshed, memory.since = 0, False, 0

    def reset(self, source: int | None = None) -> None:
        """Forget a source, which starts anew with its next frame; None for all."""
        if source is None:
            self._memories.clear()
        else:
            self._memories.pop(source, None)

    def _at_kind(self, kind: str | None, memory: _Memory) -> str:
        """Begin a refresh where a frame's kind asks for one and the pixels agree; says what was decided."""
        if kind is None:
            return "no frame kinds: pixels alone"
        if kind not in INTRA:
            memory.intra_run = 0
            return ""
        memory.intra_run += 1
        if memory.intra_run >= INTRA_RUN:
            memory.pending = 0
            return "I pictures only: pixels alone"
        if memory.since < self.least_gap:
            return f"I picture, refreshed {memory.since} frames ago"
        if not (memory.unrefreshed or self.refresh_still):
            return "I picture, nothing changed since the last refresh"
        memory.pending, memory.unrefreshed, memory.since = memory.tokens, False, 0
        return "I picture: refresh"


def judged_seed(motion: MotionField, tiles: TileMask, *, least_valid: float) -> tuple[MotionField | None, str]:
    """The vectors of a frame as a seed for motion, or None, and why.

    Where no tile changed, content stands still whatever the vectors say: flow 0, valid.

    Args:
        motion: of the frame, judged by pixels: with an error.
        tiles: tiles that changed, bool, (rows, columns).
        least_valid: share of the other cells that must be valid.
    Raises:
        ValueError: a field of another frame than the tiles.
    """
    spanned = (math.ceil(motion.size[1] / TILE), math.ceil(motion.size[0] / TILE))
    if tiles.shape != spanned:
        raise ValueError(
            f"a motion field of a {motion.size[0]} x {motion.size[1]} frame with {tiles.shape} tiles; it has {spanned}"
        )
    if not tiles.any():
        return None, "nothing changed: no motion"
    if motion.error is None:
        return None, "vectors that no pixels judged: no seed" if motion.valid.any() else "no vectors: no seed"
    changed = _cells_with(tiles, motion)
    fitting = float(motion.valid[changed].mean())
    if fitting < least_valid:
        return None, f"vectors fit {fitting:.0%} of what changed: no seed"
    flow = np.where(changed[..., None], motion.flow, np.float32(0))
    return replace(motion, flow=flow, valid=motion.valid | ~changed), f"vectors fit {fitting:.0%} of what changed: seed"


def _cells_with(tiles: TileMask, motion: MotionField) -> NDArray[np.bool_]:
    """Cells of a field that touch a changed tile."""
    total = np.zeros((tiles.shape[0] + 1, tiles.shape[1] + 1), np.int64)
    total[1:, 1:] = tiles.cumsum(axis=0, dtype=np.int64).cumsum(axis=1)
    (x0, x1), (y0, y1) = (
        (
            np.floor(np.arange(cells) * step / TILE).astype(int).clip(0, most - 1),
            np.ceil((np.arange(cells) + 1) * step / TILE - 1e-6).astype(int).clip(1, most),
        )
        for cells, step, most in (
            (motion.columns, motion.cell[0], tiles.shape[1]),
            (motion.rows, motion.cell[1], tiles.shape[0]),
        )
    )
    y0, y1 = y0[:, None], y1[:, None]
    touched: NDArray[np.bool_] = (total[y1, x1] - total[y0, x1] - total[y1, x0] + total[y0, x0]) > 0
    return touched
