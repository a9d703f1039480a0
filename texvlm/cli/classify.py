"""`texvlm classify`: what a classifier sees in each frame, from foveated tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from texvlm.cli.console import note, print_json, print_table, steps
from texvlm.cli.options import (
    INPUT,
    MODEL,
    MODEL_HELP,
    OUTPUT,
    BackendOption,
    BatchOption,
    ConfigOption,
    E2Option,
    FixationOption,
    FovOption,
    FramesOption,
    JsonOption,
    LayoutOption,
    LookOption,
    PositionsOption,
    ReadoutOption,
    TokensOption,
    one_place_per_fixation,
    one_way_to_look,
    parse_fixations,
    parse_readout,
)
from texvlm.cli.stopping import StopRequest

if TYPE_CHECKING:
    from texvlm.encode.labels import FrameLabels, Label


def classify(
    context: typer.Context,
    source: Annotated[
        str, typer.Argument(metavar="INPUT", help="A video, an image, a folder of images, camera:N, an address, scene.")
    ],
    model: Annotated[str, typer.Option("--model", metavar="DIR", help=MODEL_HELP, rich_help_panel=MODEL)],
    top: Annotated[
        int, typer.Option("--top", metavar="K", min=1, help="Labels of each frame.", rich_help_panel=OUTPUT)
    ] = 3,
    labels: Annotated[
        Path | None,
        typer.Option(
            "--labels",
            metavar="FILE",
            help="Names of the classes, a line for each or JSON, instead of the model's own.",
            rich_help_panel=MODEL,
        ),
    ] = None,
    positions: PositionsOption = "bilinear",
    readout: ReadoutOption = None,
    batch: BatchOption = 8,
    every: Annotated[
        int | None,
        typer.Option(
            "--every",
            metavar="N",
            help="Classify each N-th frame; without it each image, and each 10th frame of anything else.",
            rich_help_panel=INPUT,
        ),
    ] = None,
    frames: FramesOption = None,
    layout: LayoutOption = "quadtree",
    tokens: TokensOption = None,
    fixation: FixationOption = None,
    look: LookOption = None,
    fov_deg: FovOption = 60.0,
    e2_deg: E2Option = 2.0,
    backend: BackendOption = "auto",
    config: ConfigOption = None,
    json: JsonOption = False,
) -> None:
    """Say what a classifier sees in each frame.

    With --readout it also says what it sees where it looks. Ctrl-C ends early and reports what was seen.
    """
    chosen = one_way_to_look(context, {"look": look, "fixation": fixation})
    points = parse_fixations(chosen["fixation"] or "0.5,0.5")
    readout_deg = parse_readout(readout)

    from texvlm.encode import EncodeSettings, Progress
    from texvlm.encode.labels import classify as run
    from texvlm.encode.labels import read_labels
    from texvlm.encode.model import load_model
    from texvlm.fixation import parse_look
    from texvlm.sources.images import IMAGE_SUFFIXES

    named = chosen["look"]
    places = len(points) if named is None else parse_look(named).make().count or 1
    pictures = Path(source).is_dir() or Path(source).suffix.lower() in IMAGE_SUFFIXES
    settings = EncodeSettings.model_validate(
        {
            "input": source,
            "layout": layout,
            "layout_options": one_place_per_fixation(layout, places),
            "tokens": tokens,
            "fov_deg": fov_deg,
            "e2_deg": e2_deg,
            "fixations": points,
            "look": named,
            "backend": backend,
            "every": every or (1 if pictures else 10),
            "frames": frames,
            "features": {"model": model, "positions": positions, "readout_deg": readout_deg, "batch": batch},
        }
    )
    found: list[FrameLabels] = []
    with StopRequest("ending; Ctrl-C again stops at once") as stop, steps() as tell:

        def progress(now: Progress) -> None:
            tell("classifying", now.frame, now.total)

        tell(f"loading {model}", 0, None)
        loaded = load_model(settings)
        names = None if labels is None else read_labels(labels, loaded.encoder)
        found.extend(run(settings, loaded, top=top, names=names, progress=progress, stop=lambda: stop.requested))
    if json:
        print_json({"input": source, "model": loaded.facts, "frames": [asdict(frame) for frame in found]})
        return
    header = ["frame", "time, s", "whole frame"]
    header += [f"around fixation {k + 1}" for k in range(max((len(frame.fixations) for frame in found), default=0))]
    rows = [
        (
            frame.frame,
            "-" if frame.time_s is None else f"{frame.time_s:.2f}",
            *map(_text, [frame.whole, *frame.fixations]),
        )
        for frame in found
    ]
    print_table(f"{source}, {loaded.encoder.name}", rows, header=header)
    if stop.requested:
        note(f"stopped after {len(found)} frames")


def _text(labels: Sequence[Label]) -> str:
    """Labels in one line: ladle 0.16, mixing bowl 0.11."""
    return ", ".join(f"{label.name} {label.probability:.2f}" for label in labels)
