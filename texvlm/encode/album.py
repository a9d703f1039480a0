"""Pictures of a job: the preview video and the still picture, drawn where they are asked for."""

from __future__ import annotations

import contextlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from texvlm.encode.settings import EncodeSettings
from texvlm.errors import StoreError
from texvlm.frames import Frame
from texvlm.pictures import draw_sheet, sheet_size, write_png
from texvlm.preview import PreviewWriter
from texvlm.residency import SubmitReport
from texvlm.sources import Source
from texvlm.tokens import TokenBatch

NOMINAL_RATE = 25.0
"""Frames per second of a preview whose source does not know its own."""


class Album:
    """Owns the pictures of one job. Leaving it makes the preview whole, however far the job came.

    The still picture is drawn again at frames 0, 1, 2, 4, 8, ...: whenever a job ends, and whether or
    not its length was known, the picture shows a frame from its second half, at the cost of a few.

    Args:
        source: for the shape and rate of the preview.
        settings: for the normalisation of the tokens.
        preview: the mp4, or None.
        still: the PNG, or None.

    Raises:
        StoreError: the preview cannot be written.
    """

    def __init__(
        self, source: Source, settings: EncodeSettings, *, preview: str | Path | None, still: str | Path | None
    ) -> None:
        self._settings = settings
        self._still = None if still is None else Path(still)
        self._drawn = False
        self._writer = (
            None
            if preview is None
            else PreviewWriter(preview, sheet_size(source.size), rate=source.rate or NOMINAL_RATE)
        )

    @property
    def preview(self) -> str | None:
        """The preview's path, if it has frames."""
        return str(self._writer.path) if self._writer is not None and self._writer.frames else None

    @property
    def still(self) -> str | None:
        """The still picture's path, once there is one."""
        return str(self._still) if self._drawn else None

    def wants(self, index: int) -> bool:
        """Whether frame `index` appears in any picture."""
        return self._writer is not None or (self._still is not None and index & (index - 1) == 0)

    def draw(
        self, index: int, frame: Frame, batch: TokenBatch, report: SubmitReport, fixations: NDArray[np.float64]
    ) -> None:
        """Add one frame; `fixations` are (u, v), (k, 2). StoreError when a file cannot be written."""
        sheet = draw_sheet(
            frame.pixels,
            batch,
            report.tiles,
            fixations=fixations * frame.size,
            mean=self._settings.mean,
            std=self._settings.std,
            note="" if frame.pts is None else f"{frame.pts:.2f} s",
        )
        if self._writer is not None:
            self._writer.write(sheet, frame.pts)
        if self._still is not None and index & (index - 1) == 0:
            try:
                write_png(self._still, sheet)
            except OSError as error:
                raise StoreError(f"cannot write picture {self._still}: {error.strerror or error}") from error
            self._drawn = True

    def __enter__(self) -> Album:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if self._writer is None:
            return
        with contextlib.suppress(StoreError) if error is not None else contextlib.nullcontext():
            self._writer.finish()
