"""Recorded gaze: a csv file as a fixation path."""

from __future__ import annotations

import csv
import importlib
import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from texvlm.errors import SourceError


@dataclass(frozen=True, slots=True)
class Coverage:
    """How much of a clip a gaze recording speaks for.

    Attributes:
        fraction: share of the clip's time between samples no further apart than the gap limit, 0..1.
        gaps: longer gaps that touch the clip.
        longest_gap_s: the longest of them, seconds; 0 without one.
        before_s: seconds of the clip before the first sample.
        after_s: seconds of the clip after the last sample.
    """

    fraction: float
    gaps: int
    longest_gap_s: float
    before_s: float
    after_s: float


@dataclass(frozen=True, eq=False)
class GazeTrack:
    """Recorded gaze: valid samples in time order, interpolated.

    Between two samples at most `max_gap` apart the fixation runs straight from one to the other. In
    a longer gap (a blink, a lost tracker), before the first and after the last sample it holds.

    Attributes:
        times: seconds, float64, shape (n,), strictly increasing, n >= 1.
        points: (u, v), float64, shape (n, 2).
        max_gap: longest time between samples that is interpolated, seconds.
        skipped: rows that were marked invalid, or below the wanted confidence.
        duplicates: samples replaced by a later one of the same time.
    """

    times: NDArray[np.float64]
    points: NDArray[np.float64]
    max_gap: float = 0.2
    skipped: int = 0
    duplicates: int = 0

    def __post_init__(self) -> None:
        if not len(self.times) or self.points.shape != (len(self.times), 2):
            raise ValueError(f"{len(self.times)} times for points of shape {self.points.shape}; need (n, 2), n >= 1")
        if not (np.isfinite(self.times).all() and np.isfinite(self.points).all()):
            raise ValueError("gaze times and points are finite numbers")
        if not (np.diff(self.times) > 0).all():
            raise ValueError("gaze times are strictly increasing")
        if not 0 < self.max_gap < math.inf:
            raise ValueError(f"max_gap is {self.max_gap}; accepted: seconds above 0")

    @classmethod
    def read(cls, path: str | os.PathLike[str], *, max_gap: float = 0.2, offset: float = 0.0) -> GazeTrack:
        """Read a gaze recording: csv, or the parquet of texvlm.gaze.GazeRecorder; arguments as for `read_csv`.

        Raises:
            SourceError: as `read_csv`; or pyarrow (extra `parquet`) is missing.
        """
        if os.path.splitext(path)[1] != ".parquet":
            return cls.read_csv(path, max_gap=max_gap, offset=offset)
        name = os.fspath(path)
        return _read_rows(name, _parquet_rows(name), max_gap=max_gap, offset=offset, min_confidence=0.5)

    @classmethod
    def read_csv(
        cls,
        path: str | os.PathLike[str],
        *,
        max_gap: float = 0.2,
        offset: float = 0.0,
        min_confidence: float = 0.5,
    ) -> GazeTrack:
        """Read a gaze recording.

        The first line names the columns, in any order and case: a time (`time`, `t`, `timestamp` or
        `pts`, seconds; or `timestamp_ns`), `u` and `v` (or `x` and `y`), and if there is one `valid`
        (1/0, true/false, yes/no) or `confidence` (0..1; NaN is below all). With `valid`, u and v may be NaN:
        an eye that was lost. Other columns are ignored. Separators are commas, semicolons or tabs; lines that start
        with `#` are comments. Times never go back; of several samples with the same time (one per eye, say) the
        last one counts.

        Args:
            path: the file, UTF-8.
            max_gap: see `GazeTrack`.
            offset: seconds added to every time, to bring the recorder's clock to the clip's.
            min_confidence: samples below it are skipped.
        Raises:
            SourceError: the file cannot be read or breaks a rule above; names the file and the line.
        """
        name = os.fspath(path)
        try:
            with open(path, encoding="utf-8-sig", newline="") as file:
                lines = file.read().splitlines()
        except OSError as error:
            raise SourceError(f"{name}: {error.strerror or error}; give a gaze csv file") from error
        except UnicodeDecodeError as error:
            raise SourceError(f"{name}: not a text file (UTF-8); give a gaze csv file") from error
        rows = ((f"line {number}", cells) for number, cells in _rows(lines))
        return _read_rows(name, rows, max_gap=max_gap, offset=offset, min_confidence=min_confidence)

    @property
    def gaps(self) -> int:
        """Times between samples that are longer than `max_gap`."""
        return int((np.diff(self.times) > self.max_gap).sum())

    def at(self, pts: float | None) -> tuple[float, float]:
        """The fixation (u, v) at a time, seconds.

        Raises:
            ValueError: the time is unknown or not finite.
        """
        if pts is None or not math.isfinite(pts):
            raise ValueError(f"time of the frame is {pts}; a gaze track needs frames with a known time")
        after = int(np.searchsorted(self.times, pts, side="right"))
        before = max(after - 1, 0)
        u, v = self.points[before]
        if 0 < after < len(self.times):
            start, end = self.times[before], self.times[after]
            if end - start <= self.max_gap:
                part = (pts - start) / (end - start)
                u, v = self.points[before] * (1 - part) + self.points[after] * part
        return float(u), float(v)

    def coverage(self, start: float, end: float) -> Coverage:
        """How much of the clip from `start` to `end`, seconds, the samples speak for.

        Raises:
            ValueError: the end lies before the start.
        """
        if not start <= end:
            raise ValueError(f"clip from {start} s to {end} s; the end lies before the start")
        first, last = float(self.times[0]), float(self.times[-1])
        steps = np.diff(self.times)
        inside = np.clip(np.minimum(self.times[1:], end) - np.maximum(self.times[:-1], start), 0, None)
        long = steps > self.max_gap
        touching = steps[long & (inside > 0)]
        covered = float(inside[~long].sum())
        length = end - start
        return Coverage(
            fraction=min(covered / length, 1.0) if length else float(first <= start <= last),
            gaps=len(touching),
            longest_gap_s=float(touching.max()) if len(touching) else 0.0,
            before_s=min(max(first - start, 0.0), length),
            after_s=min(max(end - last, 0.0), length),
        )


_TIME_COLUMNS = ("time", "t", "timestamp", "pts", "timestamp_ns")
_TRUE, _FALSE = ("1", "1.0", "true", "yes"), ("0", "0.0", "false", "no")

_LARGEST = 8.0
"""Normalised gaze this far out, in its median, is pixels: no headset sees eight frames aside."""


def _read_rows(
    name: str, rows: Iterator[tuple[str, list[str]]], *, max_gap: float, offset: float, min_confidence: float
) -> GazeTrack:
    """From (where, cells) of each row, the names of the columns first."""
    header = next(rows, None)
    if header is None:
        raise SourceError(f"{name}: the file is empty; a gaze csv has a header line such as time,u,v and then samples")
    columns = [c.strip().lower() for c in header[1]]
    time = _column(name, columns, _TIME_COLUMNS)
    pair = ("u", "v") if "u" in columns or "x" not in columns else ("x", "y")
    across, down = (_column(name, columns, (c,)) for c in pair)
    valid = columns.index("valid") if "valid" in columns else None
    confidence = columns.index("confidence") if "confidence" in columns else None

    times: list[float] = []
    points: list[tuple[float, float]] = []
    skipped = duplicates = 0
    latest = -math.inf  # of every row: an invalid sample must not hide that time went back
    for place, cells in rows:
        where = f"{name}, {place}"
        if len(cells) < len(columns):
            raise SourceError(f"{where}: {len(cells)} values for {len(columns)} columns ({', '.join(columns)})")
        if columns[time] == "timestamp_ns":
            now = _number(where, columns[time], cells[time]) / 1e9
        else:
            now = _number(where, columns[time], cells[time])
        if now < latest:
            raise SourceError(f"{where}: time {now:.6f} s comes after {latest:.6f} s; times must not go back")
        latest = now
        if valid is not None and (not _truth(where, cells[valid]) or _is_nan(cells[across]) or _is_nan(cells[down])):
            skipped += 1
            continue
        if confidence is not None and (
            _is_nan(cells[confidence]) or _number(where, "confidence", cells[confidence]) < min_confidence
        ):
            skipped += 1
            continue
        point = _number(where, pair[0], cells[across]), _number(where, pair[1], cells[down])
        if times and times[-1] == now + offset:
            duplicates += 1
            points[-1] = point
        else:
            times.append(now + offset)
            points.append(point)
    if not times:
        seen = f"all {skipped} samples are invalid" if skipped else "there is no sample after the header"
        raise SourceError(f"{name}: {seen}; give at least one valid sample")
    if (np.median(np.abs(points), axis=0) > _LARGEST).any():
        raise SourceError(
            f"{name}: {pair[0]}, {pair[1]} look like pixels (first: {points[0][0]:g}, {points[0][1]:g}); "
            "divide them by the frame's width and height"
        )
    return GazeTrack(np.array(times), np.array(points), max_gap=max_gap, skipped=skipped, duplicates=duplicates)


def _parquet_rows(name: str) -> Iterator[tuple[str, list[str]]]:
    """(where, cells as text) of each row of a recording by GazeRecorder, the names of its columns first."""
    # by its name: it stands above this part, and brings pyarrow only where a recording asks for it
    recording = importlib.import_module("texvlm.gaze.recording")
    yield "its columns", list(recording.COLUMNS)
    for where, row in recording.parquet_rows(Path(name)):
        yield where, ["" if cell is None else str(cell) for cell in row.values()]


def _is_nan(cell: str) -> bool:
    return cell.strip().lower() == "nan"


def _rows(lines: Sequence[str]) -> Iterator[tuple[int, list[str]]]:
    """(line number, cells) of each line that is neither blank nor a comment."""
    separator = None
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        separator = separator or max(",;\t", key=line.count)
        yield number, next(csv.reader([line], delimiter=separator))


def _column(name: str, columns: list[str], accepted: tuple[str, ...]) -> int:
    for label in accepted:
        if label in columns:
            return columns.index(label)
    raise SourceError(
        f"{name}: no column {' or '.join(accepted)} in the header ({', '.join(columns)}); "
        "a gaze csv has time, u and v, with optional valid or confidence"
    )


def _number(where: str, label: str, cell: str) -> float:
    try:
        value = float(cell)
    except ValueError:
        raise SourceError(f"{where}: {label} is {cell.strip()!r}; a number is needed") from None
    if not math.isfinite(value):
        raise SourceError(f"{where}: {label} is {cell.strip()}; a finite number is needed (mark lost samples valid=0)")
    return value


def _truth(where: str, cell: str) -> bool:
    word = cell.strip().lower()
    if word in _TRUE or word in _FALSE:
        return word in _TRUE
    raise SourceError(f"{where}: valid is {cell.strip()!r}; accepted: 1 or 0, true or false, yes or no")
