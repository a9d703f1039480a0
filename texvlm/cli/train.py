"""`texvlm train`: small helpers, learned from the model's own answers on one's own clips."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from texvlm.cli.console import note, print_json, print_table, steps
from texvlm.cli.options import INPUT, MODEL, MODEL_HELP, OUTPUT, ConfigOption, JsonOption

TRAINING = "Training"


def train(
    kind: Annotated[
        str,
        typer.Argument(
            metavar="HELPER",
            help="importance: how far would the model's answer move? delta: features that follow the pixels.",
        ),
    ],
    clips: Annotated[list[str], typer.Argument(metavar="CLIP...", help="Videos like those it will be used on.")],
    model: Annotated[Path, typer.Option("--model", metavar="DIR", help=MODEL_HELP, rich_help_panel=MODEL)],
    out: Annotated[
        Path, typer.Option("--out", metavar="FILE", help="Where the helper goes, safetensors.", rich_help_panel=OUTPUT)
    ],
    tokens: Annotated[
        int | None,
        typer.Option(
            "--tokens",
            metavar="N",
            help="Of the grid over each frame; without it as many as the model's own picture has.",
            rich_help_panel=MODEL,
        ),
    ] = None,
    every: Annotated[
        int, typer.Option("--every", metavar="N", help="Learn from each N-th frame.", rich_help_panel=INPUT)
    ] = 1,
    frames: Annotated[
        int | None,
        typer.Option("--frames", metavar="N", help="So many of each clip at most.", rich_help_panel=INPUT),
    ] = None,
    count: Annotated[
        int | None, typer.Option("--steps", metavar="N", help="Steps of training.", rich_help_panel=TRAINING)
    ] = None,
    seed: Annotated[
        int, typer.Option("--seed", metavar="N", help="Of all that is drawn.", rich_help_panel=TRAINING)
    ] = 0,
    config: ConfigOption = None,
    json: JsonOption = False,
) -> None:
    """Train a helper on clips, with the model's own answers as labels.

    The last fifth of each clip is held out; what the helper is worth there is told beside what it replaces.
    """
    from texvlm.video_models.helper_training import ImportanceScore
    from texvlm.video_models.train import train_helper

    with steps() as tell:
        report = train_helper(
            kind, clips, model, out, tokens=tokens, every=every, frames=frames, steps=count, seed=seed, tell=tell
        )
    if json:
        print_json(asdict(report))
        return
    score = report.score
    rows: list[tuple[str, float, float]]
    if isinstance(score, ImportanceScore):
        header = ["held-out pairs of frames", "helper", "pixel change"]
        rows = [("rank correlation with the model's movement", score.helper, score.pixels)]
    else:
        header = ["held-out pairs of frames", "helper", "stale features"]
        rows = [
            ("cosine of tokens, mean", score.tokens, score.stale_tokens),
            ("cosine of tokens, 1st percentile", score.tokens_p1, score.stale_tokens_p1),
            ("cosine of the class token, mean", score.prefix, score.stale_prefix),
        ]
    title = (
        f"{report.kind} for {report.encoder}: {report.weights:,} weights, {report.frames} frames, {score.pairs} pairs"
    )
    print_table(title, [(name, f"{ours:.4f}", f"{theirs:.4f}") for name, ours, theirs in rows], header=header)
    note(f"loss {report.first_loss:.3f} -> {report.last_loss:.3f}; written: {out}")
