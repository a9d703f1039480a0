"""A session as a log for the Rerun viewer: frames, token boxes, the fixation and numbers on one timeline."""

from __future__ import annotations

import os
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from texvlm.drawing.pictures import lod_colours
from texvlm.errors import StoreError, ViewerUnavailable
from texvlm.layouts.table import PADDING_LAYER, lod_of_side
from texvlm.viewer.session import ViewSession
from texvlm.viewer.shown import Shown

JPEG_QUALITY = 85

ROOT = "frame"
"""Entity of the frame; boxes and fixations lie on it."""


class RerunLog:
    """Owns an .rrd file. It holds the frames and where somebody looked: nothing is sent anywhere.

    Args:
        path: the file; what was there is replaced.
        session: whose pictures come.
    Raises:
        ViewerUnavailable: rerun-sdk is not installed.
        StoreError: the file cannot be written.
    """

    def __init__(self, path: str | os.PathLike[str], session: ViewSession) -> None:
        self.path = Path(path)
        self._session = session
        self._frame = 0
        self._rr: Any = _load()
        self._recording = self._rr.RecordingStream("texvlm view")
        try:
            self.path.open("wb").close()  # rerun would only complain in its log
            self._recording.save(str(self.path))
        except OSError as error:
            raise StoreError(
                f"cannot write log {self.path}: {error.strerror or error}; choose another place"
            ) from error

    def take(self, shown: Shown) -> None:
        """Log one picture."""
        rr, log = self._rr, self._recording.log
        self._recording.set_time("picture", sequence=shown.number)
        if shown.time_s is not None:
            self._recording.set_time("time", duration=shown.time_s)
        if shown.frame != self._frame:
            self._frame = shown.frame
            log(ROOT, rr.Image(self._session.engine.read_level(0)).compress(jpeg_quality=JPEG_QUALITY))
        table = shown.batch.table[0]
        rows = table[table["layer"] != PADDING_LAYER]
        half = np.repeat(rows["side"][:, None] / 2, 2, axis=1)
        centres = np.stack([rows["x"], rows["y"]], axis=1)
        colours = lod_colours(lod_of_side(rows["side"], patch=shown.batch.patch))
        log(f"{ROOT}/tokens", rr.Boxes2D(centers=centres, half_sizes=half, colors=colours))
        # also where there is none: what was logged last would stay
        log(f"{ROOT}/fixation", rr.Points2D(shown.fixations * shown.size, radii=6.0, colors=(255, 255, 255)))
        statistics = self._session.statistics()
        numbers = {
            "tokens": statistics.tokens,
            "tokens_sampled": statistics.tokens_sampled,
            "tiles_share": statistics.tiles_share,
            "bytes_uploaded": statistics.bytes_uploaded,
            "dropped": statistics.dropped,
            **{f"ms/{name}": ms for name, ms in statistics.stages_ms.items()},
        }
        for name, value in numbers.items():
            log(f"numbers/{name}", rr.Scalars(float(value)))

    def close(self) -> None:
        """Write what is held and close the file."""
        self._recording.flush()
        self._recording.disconnect()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self.close()


def _load() -> Any:
    try:
        import rerun
    except ImportError as error:
        raise ViewerUnavailable(f'rerun-sdk cannot be used ({error}); pip install "texvlm[rerun]"') from None
    return rerun
