"""`texvlm eval`: does foveation pay, and what does reuse over time save? One command, one report each."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from texvlm.cli.console import note, print_line, steps
from texvlm.cli.options import INPUT, OUTPUT, SAMPLING, ConfigOption

FOVEATION, TEMPORAL = "foveation", "temporal"
TIME = "Of `temporal` only"
"""Group of flags in the help."""

Tell = Callable[[str, int, int | None], None]


def evaluate(
    context: typer.Context,
    what: Annotated[
        str, typer.Argument(metavar="WHAT", help="foveation, or temporal: reuse of features over time.")
    ] = FOVEATION,
    model: Annotated[
        Path | None,
        typer.Option("--model", metavar="DIR", help="Folder of a pretrained ViT.", rich_help_panel=INPUT),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option("--data", metavar="DIR", help="Folder with photos/ to look at, and clips.", rich_help_panel=INPUT),
    ] = None,
    only: Annotated[
        str | None,
        typer.Option(
            "--only",
            metavar="PART,...",
            help="Parts: foveation, finetune, agreement, pictures, cost; of temporal: agreement, time, end-to-end. "
            "Runs these also where a result is there.",
            rich_help_panel=INPUT,
        ),
    ] = None,
    tokens: Annotated[
        int, typer.Option("--tokens", metavar="N", min=16, help="Budget of the quadtree.", rich_help_panel=SAMPLING)
    ] = 268,
    seed: Annotated[
        int, typer.Option("--seed", metavar="N", min=0, help="Of all that is drawn.", rich_help_panel=SAMPLING)
    ] = 0,
    quick: Annotated[
        bool,
        typer.Option(
            "--quick",
            help="Tiny frames, and without --model a tiny model: only to see that all runs.",
            rich_help_panel=SAMPLING,
        ),
    ] = False,
    out: Annotated[
        Path,
        typer.Option("--out", metavar="DIR", help="Where JSON, Markdown and plots go.", rich_help_panel=OUTPUT),
    ] = Path("eval"),
    cache: Annotated[
        Path | None,
        typer.Option(
            "--cache",
            metavar="DIR",
            help="Where features are kept, so that a run goes on; by default OUT/features.",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    again: Annotated[
        bool, typer.Option("--again", help="Run parts anew whose result is there.", rich_help_panel=OUTPUT)
    ] = False,
    clips: Annotated[
        str | None,
        typer.Option("--clips", metavar="NAME,...", help="Only these clips, or kinds of clips.", rich_help_panel=TIME),
    ] = None,
    methods: Annotated[
        str | None,
        typer.Option("--methods", metavar="NAME,...", help="Only these methods.", rich_help_panel=TIME),
    ] = None,
    layouts: Annotated[
        str, typer.Option("--layouts", metavar="NAME,...", help="Tokens of each frame.", rich_help_panel=TIME)
    ] = "uniform,quadtree",
    frames: Annotated[
        int, typer.Option("--frames", metavar="N", min=2, help="Of each clip.", rich_help_panel=TIME)
    ] = 150,
    config: ConfigOption = None,
) -> None:
    """Measure whether foveation pays, or what reuse over time saves and loses: a report with tables and plots.

    foveation: planted targets read from foveated, uniform and dense tokens; agreement with a closer look;
    pictures that tokens show; time. temporal: footage of many kinds, and cases that break methods; every method
    against the full forward of the same tokens; time next to multiply-adds. A run that was cut off goes on when
    started again.
    """
    if what not in (FOVEATION, TEMPORAL):
        raise ValueError(f"an evaluation of {what!r}; accepted: {FOVEATION}, {TEMPORAL}")
    unused = ("cache",) if what == TEMPORAL else ("clips", "methods", "layouts", "frames")
    for name in unused:
        source = context.get_parameter_source(name)
        if source is not None and source.name == "COMMANDLINE":
            raise ValueError(f"--{name} means nothing to `texvlm eval {what}`; leave it out")
    choice = {
        "model": model,
        "data": data,
        "parts": _names(only),
        "seed": seed,
        "quick": quick,
        "command": _command(),
    }
    with steps() as tell:
        if what == TEMPORAL:
            chosen = {"clips": _names(clips), "methods": _names(methods), "layouts": _names(layouts)}
            written = _temporal(choice | chosen | {"frames": frames, "quadtree_tokens": tokens}, out, again, tell)
        else:
            written = _foveation(choice | {"tokens": tokens}, out, cache, again, tell)
    for path in written:
        note(f"written: {path}")
    report = next(path for path in written if path.suffix == ".md")
    print_line(report.read_text(encoding="utf-8"))


def _foveation(choice: dict[str, Any], out: Path, cache: Path | None, again: bool, tell: Tell) -> list[Path]:
    try:
        from texvlm.evaluation import EvalSettings, run_evaluation
    except ModuleNotFoundError as missing:
        raise _not_installed(missing) from None
    return run_evaluation(EvalSettings(**choice), out, cache=cache or out / "features", again=again, progress=tell)


def _temporal(choice: dict[str, Any], out: Path, again: bool, tell: Tell) -> list[Path]:
    try:
        from texvlm.evaluation.temporal import TemporalSettings, run_temporal
    except ModuleNotFoundError as missing:
        raise _not_installed(missing) from None
    return run_temporal(TemporalSettings(**choice), out, again=again, progress=tell)


def _not_installed(missing: ModuleNotFoundError) -> ValueError:
    return ValueError(f'the evaluation needs {missing.name}, which is not installed: pip install "texvlm[hf,bench]"')


def _names(text: str | None) -> tuple[str, ...]:
    return tuple(part.strip() for part in (text or "").split(",") if part.strip())


def _command() -> str:
    """The command as it was given, folders by their last name: reports tell nothing about where things lie."""
    words = [word if os.sep not in word else Path(word).name for word in sys.argv[1:]]
    return " ".join(["texvlm", *words])
