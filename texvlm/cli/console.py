"""What the commands print: reports on stdout, everything else (progress, notes, logs) on stderr.

With `--json` the only thing on stdout is one JSON value. Progress and spinners appear only where
stderr is a terminal, so that logs stay readable.
"""

from __future__ import annotations

import json
import logging
import math
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from io import StringIO
from typing import Any

Advance = Callable[[int, int | None], None]
"""Tells a progress bar how many frames are done, and of how many; None where nobody knows."""


def print_json(value: object) -> None:
    """One JSON value on stdout; numbers that JSON does not know (NaN, infinity) become null."""
    print(json.dumps(_plain(value), indent=2, allow_nan=False))


def print_table(title: str, rows: Iterable[Sequence[object]], *, header: Sequence[str] = ()) -> None:
    """A table on stdout: as wide as its content where stdout is no terminal, so that nothing is cut off."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(title=Text(title, "bold"), title_justify="left", box=box.SIMPLE, show_header=bool(header))
    cells = [[_cell(value) for value in row] for row in rows]
    columns: list[tuple[str, ...]] = list(zip(*cells, strict=True)) or [() for _ in header]
    for index, column in enumerate(columns):
        numeric = header and index > 0 and all(_is_number(cell) for cell in column)
        table.add_column(header[index] if header else "", justify="right" if numeric else "left")
    for row in cells:
        table.add_row(*map(Text, row))
    if sys.stdout.isatty():
        Console(highlight=False).print(table)
        return
    console = Console(highlight=False, width=1000, file=StringIO())
    console.print(table)
    for line in console.file.getvalue().splitlines():  # type: ignore[attr-defined]
        print(line.rstrip())


def print_line(text: str = "") -> None:
    """A line of a report, on stdout."""
    print(text)


def note(text: str) -> None:
    """A line beside the report, on stderr."""
    print(text, file=sys.stderr)


@contextmanager
def progress(what: str) -> Iterator[Advance]:
    """A bar with the time left, or a count where the total is unknown, on stderr; nothing if that is no terminal."""
    with steps() as tell:
        yield lambda done, total: tell(what, done, total)


@contextmanager
def steps() -> Iterator[Callable[[str, int, int | None], None]]:
    """The same for work whose name changes on the way."""
    if not sys.stderr.isatty():
        yield lambda what, done, total: None
        return
    from rich import progress as bars
    from rich.console import Console

    columns = (
        bars.SpinnerColumn(),
        bars.TextColumn("{task.description}", markup=False),
        bars.BarColumn(),
        bars.MofNCompleteColumn(),
        bars.TimeRemainingColumn(),
    )
    with bars.Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=None)
        yield lambda what, done, total: bar.update(task, description=what, completed=done, total=total)


@contextmanager
def spinner(what: str) -> Iterator[None]:
    """Say on stderr what takes a while; a plain line where stderr is no terminal."""
    if not sys.stderr.isatty():
        note(f"{what} ...")
        yield
        return
    from rich.console import Console

    with Console(stderr=True).status(f"{what} ..."):
        yield


@contextmanager
def logs_on_stderr(*, verbose: bool) -> Iterator[None]:
    """Show the package's warnings (with `verbose` also what it notes in passing) as lines on stderr."""
    logger = logging.getLogger("texvlm")
    handler, level = _StderrHandler(), logger.level
    handler.setFormatter(logging.Formatter("texvlm: %(levelname)s: %(message)s"))
    logger.addHandler(handler)
    logger.setLevel(logging.INFO if verbose else logging.WARNING)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)


class _StderrHandler(logging.Handler):
    """Writes to the stderr of the moment: a progress bar stands in for it while it is shown."""

    def emit(self, record: logging.LogRecord) -> None:
        """One record, one line."""
        print(self.format(record).replace("WARNING", "warning").replace("INFO", "info"), file=sys.stderr)


def size_text(count: float) -> str:
    """A number of bytes in a unit that suits it: 512 B, 1.4 MB."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def _cell(value: object) -> str:
    if isinstance(value, float):
        return "-" if math.isnan(value) else f"{value:.3g}" if abs(value) < 1 else f"{value:,.1f}"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return "-" if value is None else str(value)


def _is_number(cell: str) -> bool:
    return cell == "-" or cell.replace(",", "").replace(".", "", 1).isdigit()


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value
