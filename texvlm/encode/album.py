"""Pictures of a job: the preview video and the still picture, drawn where they are asked for."""

from __future__ import annotations

import contextlib
from pathlib import Path

from texvlm.drawing.pictures import Image, draw_sheet, sheet_size, write_png
from texvlm.drawing.preview import PreviewWriter
from texvlm.encode.settings import EncodeSettings
from texvlm.errors import StoreError
from texvlm.fixation import Look
from texvlm.frames import Frame
from texvlm.residency import SubmitReport
from texvlm.sources import Source
from texvlm.tokens import TokenBatch

NOMINAL_RATE = 25.0
"""Frames per second of a preview whose source does not know its own."""


def check_pictures(settings: EncodeSettings, *, preview: str | Path | None, still: str | Path | None) -> None:
    """See that pictures can be put where they are wanted, before anything is opened or written.

    Raises:
        StoreError: a picture would replace the input, the gaze file or the other picture, is a
            folder, or its folder does not exist.
        ValueError: a file name of another kind of file.
    """
    looked_up = {f"the look's file {file}": file for file in settings.look_files}
    taken = {"the input": settings.input, "the gaze file": settings.gaze, **looked_up, "the preview": preview}
    for label, path, ending in (("preview", preview, ".mp4"), ("picture", still, ".png")):
        if path is None:
            continue
        path = Path(path)
        if path.is_dir():
            raise StoreError(f"cannot write {label} {path}: it is a folder; name a file in it, as {label}{ending}")
        if path.suffix.lower() not in ("", ending):
            raise ValueError(f"{label} {path}: accepted: a file name that ends in {ending}")
        if not path.parent.is_dir():
            raise StoreError(f"cannot write {label} {path}: its folder does not exist; make it, or choose another")
        for what, other in taken.items():
            if other is not None and what != f"the {label}" and _same_file(path, Path(other)):
                raise StoreError(f"cannot write {label} {path}: it would replace {what}; choose another name")


class Album:
    """Owns the pictures of one job. Leaving it makes the preview whole, however far the job came.

    The still picture is the last of frames 0, 1, 2, 4, 8, ...: whenever a job ends, and whether or not
    its length was known, it shows a frame from the second half, and only a few had to be drawn.

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
        self._sheet: Image | None = None
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
        """The still picture's path, if there is something on it."""
        return str(self._still) if self._sheet is not None else None

    def wants(self, index: int) -> bool:
        """Whether frame `index` appears in any picture."""
        return self._writer is not None or (self._still is not None and _is_still(index))

    def draw(self, index: int, frame: Frame, batch: TokenBatch, report: SubmitReport, look: Look) -> None:
        """Add one frame, and where and why it was looked at. StoreError when a file cannot be written."""
        named = self._settings.look is not None
        time = "" if frame.pts is None else f"{frame.pts:.2f} s"
        sheet = draw_sheet(
            frame.pixels,
            batch,
            report.tiles,
            fixations=None if look.score is not None else look.fixations * frame.size,
            importance=look.map if named else None,
            mean=self._settings.mean,
            std=self._settings.std,
            note=f"{time}   {look.why}" if named else time,
        )
        if self._writer is not None:
            self._writer.write(sheet, frame.pts)
        if self._still is not None and _is_still(index):
            self._sheet = sheet

    def finish(self) -> None:
        """Make the files whole; StoreError when one cannot be written."""
        if self._writer is not None:
            self._writer.finish()
        if self._still is not None and self._sheet is not None:
            try:
                write_png(self._still, self._sheet)
            except OSError as error:
                raise StoreError(f"cannot write picture {self._still}: {error.strerror or error}") from error

    def __enter__(self) -> Album:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        with contextlib.suppress(StoreError) if error is not None else contextlib.nullcontext():
            self.finish()


def _is_still(index: int) -> bool:
    """0 and the powers of two."""
    return index & (index - 1) == 0


def _same_file(path: Path, other: Path) -> bool:
    """Whether two names mean one file, through links as well; names that no file can have do not."""
    try:
        return path.absolute() == other.absolute() or path.samefile(other)
    except (OSError, ValueError):
        return False
