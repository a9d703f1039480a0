"""`texvlm eval`: does foveation pay? One command, one report."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from texvlm.cli.console import note, print_line, steps
from texvlm.cli.options import INPUT, OUTPUT, SAMPLING, ConfigOption


def evaluate(
    model: Annotated[
        Path | None,
        typer.Option("--model", metavar="DIR", help="Folder of a pretrained ViT.", rich_help_panel=INPUT),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option("--data", metavar="DIR", help="Folder that holds photos/ to look at.", rich_help_panel=INPUT),
    ] = None,
    only: Annotated[
        str | None,
        typer.Option(
            "--only",
            metavar="PART,...",
            help="foveation, finetune, agreement, pictures, cost; runs these also where a result is there.",
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
    config: ConfigOption = None,
) -> None:
    """Measure whether foveation pays, and what it costs: a report with tables and plots.

    Planted targets read from foveated, uniform and dense tokens; agreement with a closer look; pictures
    that tokens show; time. A run that was cut off goes on when started again.
    """
    try:
        from texvlm.evaluation import EvalSettings, run_evaluation
    except ModuleNotFoundError as missing:
        raise ValueError(
            f'the evaluation needs {missing.name}, which is not installed: pip install "texvlm[hf,bench]"'
        ) from None
    settings = EvalSettings(
        model=model,
        data=data,
        parts=tuple(part.strip() for part in (only or "").split(",") if part.strip()),
        tokens=tokens,
        seed=seed,
        quick=quick,
        command=_command(),
    )
    with steps() as tell:
        written = run_evaluation(settings, out, cache=cache or out / "features", again=again, progress=tell)
    for path in written:
        note(f"written: {path}")
    print_line((out / "eval.md").read_text(encoding="utf-8"))


def _command() -> str:
    """The command as it was given, folders by their last name: reports tell nothing about where things lie."""
    words = [word if os.sep not in word else Path(word).name for word in sys.argv[1:]]
    return " ".join(["texvlm", *words])
