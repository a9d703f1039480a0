"""`texvlm auto-tune`: settings for reuse over time that suit a clip, and what they trade."""

from __future__ import annotations

from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Annotated

import typer

from texvlm.cli.console import note, print_json, print_table, progress
from texvlm.cli.options import (
    INPUT,
    MODEL,
    MODEL_HELP,
    OUTPUT,
    SAMPLING,
    BackendOption,
    ConfigOption,
    JsonOption,
)


def auto_tune(
    source: Annotated[str, typer.Argument(metavar="INPUT", help="A video like those to come.")],
    model: Annotated[Path, typer.Option("--model", metavar="DIR", help=MODEL_HELP, rich_help_panel=MODEL)],
    target: Annotated[
        float,
        typer.Option(
            "--target",
            metavar="COSINE",
            help="Wanted between reused tokens and the full forward, mean.",
            rich_help_panel=MODEL,
        ),
    ] = 0.99,
    preset: Annotated[
        str,
        typer.Option("--preset", metavar="NAME|FILE.toml", help="For the other settings.", rich_help_panel=MODEL),
    ] = "auto",
    thresholds: Annotated[
        str,
        typer.Option("--thresholds", metavar="N,...", help="Tried, steps of 255.", rich_help_panel=SAMPLING),
    ] = "0.25,0.5,1,2",
    gates: Annotated[
        str, typer.Option("--gates", metavar="SHARE,...", help="Tried.", rich_help_panel=SAMPLING)
    ] = "0.04,0.08,0.15",
    tokens: Annotated[
        int, typer.Option("--tokens", metavar="N", min=1, help="Of a grid over each frame.", rich_help_panel=SAMPLING)
    ] = 280,
    frames: Annotated[
        int, typer.Option("--frames", metavar="N", min=2, help="Of the clip, at most.", rich_help_panel=INPUT)
    ] = 100,
    backend: BackendOption = "auto",
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE.toml", help="Where the settings go.", rich_help_panel=OUTPUT),
    ] = None,
    config: ConfigOption = None,
    json: JsonOption = False,
) -> None:
    """Try thresholds and gates on a clip, show what each pair saves and loses, and propose one.

    TemporalEncoder and `texvlm inspect --preset` read the file.
    """
    if out is not None and out.suffix.lower() != ".toml":
        raise ValueError(f"--out {out}: settings are written as .toml; give such a name")
    tried = {"thresholds": _numbers("thresholds", thresholds), "gates": _numbers("gates", gates)}

    from texvlm.encoders import load
    from texvlm.files import write_whole
    from texvlm.sources import open_source
    from texvlm.temporal.settings import settings_text
    from texvlm.temporal.tuning import tune

    encoder = load(model)
    with progress("trying") as tell, open_source(source) as clip:
        found = tune(
            islice(clip, frames),
            encoder,
            target=target,
            preset=preset,
            tokens=tokens,
            backend=backend,
            progress=tell,
            **tried,
        )
    if out is not None:
        write_whole(out, settings_text(found.settings).encode())
    if json:
        print_json({"input": source, "model": encoder.name} | asdict(found))
    else:
        rows = [
            (
                f"{trial.threshold:g}",
                f"{trial.gate:g}",
                f"{trial.flops_share:.3f}",
                f"{trial.encoded_share:.3f}",
                f"{trial.class_cosine:.4f}",
                f"{trial.token_cosine:.4f}",
                f"{trial.worst_frames:.4f}",
                "proposed" if trial == found.chosen else "",
            )
            for trial in found.trials
        ]
        header = ("threshold", "gate", "operations", "tokens", "class cosine", "token cosine", "worst frames", "")
        print_table(f"{Path(source).name}, {encoder.name}, {found.frames} frames", rows, header=header)
    if not found.reached:
        note(f"no pair reaches {target:g}; the most faithful one is proposed: try smaller --thresholds or --gates")
    if out is not None:
        note(f"written: {out}")


def _numbers(name: str, text: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise ValueError(f"--{name} {text}; accepted: numbers with commas between them") from None
