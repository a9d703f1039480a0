"""`texvlm inspect`: a strip over time, what changed in a clip, what was encoded, and why."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import typer

from texvlm.cli.console import note, print_json, print_table, progress
from texvlm.cli.options import (
    MODEL,
    MODEL_HELP,
    OUTPUT,
    SAMPLING,
    BackendOption,
    ConfigOption,
    FramesOption,
    JsonOption,
)


def inspect(
    source: Annotated[str, typer.Argument(metavar="INPUT", help="A video, a folder of images, camera:N, scene.")],
    model: Annotated[
        Path | None,
        typer.Option("--model", metavar="DIR", help=f"{MODEL_HELP} Without it pixels alone.", rich_help_panel=MODEL),
    ] = None,
    preset: Annotated[
        str,
        typer.Option(
            "--preset",
            metavar="NAME|FILE.toml",
            help="auto, webcam, conversation, surveillance, sports, movie, screen; or what auto-tune wrote.",
            rich_help_panel=MODEL,
        ),
    ] = "auto",
    motion: Annotated[
        str,
        typer.Option("--motion", metavar="NAME", help="dis, blocks, codec or none.", rich_help_panel=SAMPLING),
    ] = "blocks",
    tokens: Annotated[
        int, typer.Option("--tokens", metavar="N", min=1, help="Of a grid over each frame.", rich_help_panel=SAMPLING)
    ] = 280,
    frames: FramesOption = None,
    backend: BackendOption = "auto",
    out: Annotated[
        Path,
        typer.Option("--out", metavar="FILE.png", help="Where the strip goes.", rich_help_panel=OUTPUT),
    ] = Path("timeline.png"),
    config: ConfigOption = None,
    json: JsonOption = False,
) -> None:
    """Draw what happens over time in a clip: changed tiles, encoded tokens, motion, level, ages, deviation, cuts.

    Without --model nothing is encoded: the strip shows the pixels, and which tokens would have been stale.
    """
    if out.suffix.lower() != ".png":
        raise ValueError(f"--out {out}: the strip is written as .png; give such a name")
    if frames is not None and frames < 1:
        raise ValueError(f"--frames {frames}; accepted: 1 or more")

    from texvlm.drawing.pictures import write_png
    from texvlm.drawing.timeline import draw_timeline
    from texvlm.encoders import load
    from texvlm.motion import open_motion
    from texvlm.sources import open_source
    from texvlm.temporal.inspection import inspect_clip

    encoder = None if model is None else load(model)
    with progress("inspecting") as tell, open_source(source, motion_vectors=motion == "codec") as clip:
        found = inspect_clip(
            islice(clip, frames),
            encoder,
            preset=preset,
            tokens=tokens,
            motion=None if motion == "none" else open_motion(motion),
            backend=backend,
            progress=lambda done: tell(done, frames),
        )
    title = f"{Path(source).name}, {'pixels alone' if encoder is None else encoder.name}, {found.preset}"
    write_png(out, draw_timeline(found.frames, title=title.encode("ascii", "replace").decode()))
    transitions: dict[str, list[int]] = {}
    for index, frame in enumerate(found.frames):
        if frame.transition:
            transitions.setdefault(frame.transition, []).append(index)
    report: dict[str, Any] = {
        "input": source,
        "model": None if encoder is None else encoder.name,
        "preset": found.preset,
        "frames": len(found.frames),
        "tokens": found.tokens,
        "tokens_encoded": found.encoded,
        "flops_share": found.flops_share,
        "transitions": transitions,
        "counters": found.counters,
        "picture": str(out),
    }
    if json:
        print_json(report)
        return
    told = "would have been stale" if encoder is None else "encoded"
    rows = [
        ("frames", f"{len(found.frames):,}"),
        ("preset", found.preset),
        (f"tokens {told}", f"{found.encoded:,} of {found.tokens:,} ({found.encoded / max(found.tokens, 1):.1%})"),
    ]
    if found.flops_share is not None:
        rows.append(("operations, of all", f"{found.flops_share:.1%}"))
    rows += [(kind, ", ".join(map(str, where))) for kind, where in transitions.items()]
    fallbacks = found.counters.get("fallbacks")
    rows += [
        (f"fell back: {cause}", f"{count:,}")
        for cause, count in (fallbacks.items() if isinstance(fallbacks, dict) else ())
    ]
    print_table(title, rows)
    note(f"written: {out}")
