"""Recorded gaze: samples as they came, in a csv or parquet file.

Columns: timestamp_ns, clock, eye, valid, confidence, u, v, x, y, z; those of a point or a direction are empty
where there is none. A recording of points is also what `texvlm encode --gaze` and `texvlm.GazeTrack.read` read.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO

from texvlm.errors import SourceError, StoreError
from texvlm.gaze.sample import GazeSample

COLUMNS = ("timestamp_ns", "clock", "eye", "valid", "confidence", "u", "v", "x", "y", "z")
ENDINGS = (".csv", ".parquet")
OWNER_ONLY = 0o600


class GazeRecorder:
    """Writes samples into a new file, which nobody but its owner may read.

    A csv file holds every sample at any moment; a parquet file is empty until it is closed.

    Args:
        path: ends in .csv or .parquet (which needs pyarrow, extra `parquet`). Must not exist.
    Raises:
        ValueError: another ending.
        StoreError: the file exists, cannot be written, or pyarrow is missing.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self.written = 0
        self._rows: list[dict[str, Any]] = []
        self._parquet = _is_parquet(self.path)
        if self._parquet:
            _pyarrow(StoreError, self.path)  # before a session, not after it
        self._file: TextIO | None = _new_file(self.path)
        if not self._parquet:
            self._file.write(",".join(COLUMNS) + "\n")

    def write(self, sample: GazeSample) -> None:
        """Add a sample. StoreError when the file is closed or the disk is full."""
        if self._file is None:
            raise StoreError(f"{self.path}: the recording is closed; open a new one")
        row = _row_of(sample)
        if self._parquet:
            self._rows.append(row)
        else:
            try:
                self._file.write(",".join("" if cell is None else str(cell) for cell in row.values()) + "\n")
            except OSError as error:
                raise StoreError(f"{self.path}: {error.strerror or error}; free some room") from error
        self.written += 1

    def close(self) -> None:
        """Finish the file. May be called twice. StoreError when the disk is full."""
        file, self._file = self._file, None
        if file is None:
            return
        try:
            file.close()
            if self._parquet:
                _write_parquet(self.path, self._rows)
        except OSError as error:
            raise StoreError(f"{self.path}: {error.strerror or error}; free some room") from error
        finally:
            self._rows = []

    def __enter__(self) -> GazeRecorder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def write_gaze(path: str | os.PathLike[str], samples: Iterable[GazeSample]) -> None:
    """A recording of samples; arguments and errors as of GazeRecorder."""
    with GazeRecorder(path) as recorder:
        for sample in samples:
            recorder.write(sample)


def read_gaze(path: str | os.PathLike[str]) -> tuple[GazeSample, ...]:
    """The samples of a recording by GazeRecorder, in its order.

    Raises:
        ValueError: the name ends in neither .csv nor .parquet.
        SourceError: the file cannot be read, or a row of it is no sample; names the file and the row.
    """
    path = Path(path)
    rows = parquet_rows(path) if _is_parquet(path) else _csv_rows(path)
    samples = []
    for where, row in rows:
        try:
            samples.append(_sample_of(row))
        except (ValueError, TypeError) as error:
            raise SourceError(f"{path}, {where}: {error}") from error
    return tuple(samples)


def _row_of(sample: GazeSample) -> dict[str, Any]:
    u, v = sample.point or (None, None)
    x, y, z = sample.direction or (None, None, None)
    values = (sample.time_ns, sample.clock, sample.eye, int(sample.valid), sample.confidence, u, v, x, y, z)
    return dict(zip(COLUMNS, values, strict=True))


def _sample_of(row: Mapping[str, Any]) -> GazeSample:
    """A sample from text or from values; empty cells are None or ''."""
    if str(row["valid"]) not in ("0", "1"):
        raise ValueError(f"valid is {row['valid']!r}; accepted: 1 or 0")
    point, direction = (_numbers(row, names) for names in (("u", "v"), ("x", "y", "z")))
    return GazeSample(
        int(row["timestamp_ns"]),
        direction,  # type: ignore[arg-type]  # its length is checked there
        point,  # type: ignore[arg-type]
        clock=row["clock"],
        valid=str(row["valid"]) == "1",
        confidence=float(row["confidence"]),
        eye=row["eye"],
    )


def _numbers(row: Mapping[str, Any], names: tuple[str, ...]) -> tuple[float, ...] | None:
    cells = [row[name] for name in names]
    if all(cell in (None, "") for cell in cells):
        return None
    return tuple(float("" if cell is None else cell) for cell in cells)


def _csv_rows(path: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise SourceError(f"{path}: {error.strerror or error}; give a recording of gaze") from error
    except UnicodeDecodeError as error:
        raise SourceError(f"{path}: not a text file (UTF-8); give a recording of gaze") from error
    lines = text.splitlines()
    if not lines or lines[0] != ",".join(COLUMNS):
        raise SourceError(f"{path}: no recording of gaze; its first line is {','.join(COLUMNS)}")
    for number, line in enumerate(lines[1:], 2):
        cells = line.split(",")
        if len(cells) != len(COLUMNS):
            raise SourceError(f"{path}, line {number}: {len(cells)} values for {len(COLUMNS)} columns")
        yield f"line {number}", dict(zip(COLUMNS, cells, strict=True))


def parquet_rows(path: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """(where, row) of each sample of a parquet recording, values or None for each of COLUMNS; errors as `read_gaze`."""
    arrow, parquet = _pyarrow(SourceError, path)
    try:
        table = parquet.read_table(path)
    except (OSError, arrow.ArrowException) as error:
        reason = str(error).splitlines()[0] if path.exists() else "No such file"  # it says no more than the path
        raise SourceError(f"{path}: {reason}; give a recording of gaze") from error
    if tuple(table.column_names) != COLUMNS:
        raise SourceError(f"{path}: no recording of gaze; its columns are {', '.join(COLUMNS)}")
    for number, row in enumerate(table.to_pylist(), 1):
        yield f"row {number}", row


def _write_parquet(path: Path, rows: list[dict[str, Any]]) -> None:
    arrow, parquet = _pyarrow(StoreError, path)
    kinds = (arrow.int64(), arrow.string(), arrow.string(), arrow.int8(), *[arrow.float64()] * 6)
    schema = arrow.schema(list(zip(COLUMNS, kinds, strict=True)))
    parquet.write_table(arrow.Table.from_pylist(rows, schema=schema), path)


def _is_parquet(path: Path) -> bool:
    if path.suffix not in ENDINGS:
        raise ValueError(f"{path}: a recording of gaze ends in {' or '.join(ENDINGS)}")
    return path.suffix == ".parquet"


def _new_file(path: Path) -> TextIO:
    def for_owner(name: str, flags: int) -> int:
        return os.open(name, flags, OWNER_ONLY)

    try:
        return open(path, "x", encoding="utf-8", newline="", buffering=1, opener=for_owner)
    except FileExistsError:
        raise StoreError(f"{path} exists, and a recording is not written over; give another name") from None
    except OSError as error:
        raise StoreError(f"{path}: {error.strerror or error}; give a folder that can be written") from error


def _pyarrow(refusal: type[SourceError] | type[StoreError], path: Path) -> tuple[Any, Any]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise refusal(f'{path}: parquet needs pyarrow; pip install "texvlm[parquet]", or use a .csv file') from None
    return pyarrow, pyarrow.parquet
