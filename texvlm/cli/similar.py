"""`texvlm similar`: the frames of many clips that resemble one frame most."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from texvlm.cli.console import note, print_json, print_line, print_table, steps
from texvlm.cli.options import (
    INPUT,
    MODEL,
    MODEL_HELP,
    OUTPUT,
    BackendOption,
    BatchOption,
    ConfigOption,
    FixationOption,
    FramesOption,
    JsonOption,
    LayoutOption,
    PositionsOption,
    TokensOption,
    one_place_per_fixation,
    parse_fixations,
)
from texvlm.cli.outcome import reason_of
from texvlm.errors import SourceError

if TYPE_CHECKING:
    from texvlm.encode.similar import ClipAnswers


def similar(
    query: Annotated[str, typer.Argument(metavar="QUERY", help="An image, a video, or a folder of features.")],
    clips: Annotated[
        list[str],
        typer.Argument(
            metavar="WHERE...", help="Videos, images, folders of them, or folders of features of this model."
        ),
    ],
    model: Annotated[str, typer.Option("--model", metavar="DIR", help=MODEL_HELP, rich_help_panel=MODEL)],
    at: Annotated[
        float,
        typer.Option("--at", metavar="S", min=0, help="Second of the query that is looked for.", rich_help_panel=INPUT),
    ] = 0.0,
    every: Annotated[
        int, typer.Option("--every", metavar="N", help="Compare each N-th frame of a video.", rich_help_panel=INPUT)
    ] = 10,
    frames: FramesOption = None,
    top: Annotated[int, typer.Option("--top", metavar="K", min=1, help="Frames to show.", rich_help_panel=OUTPUT)] = 10,
    apart: Annotated[
        float,
        typer.Option(
            "--apart",
            metavar="S",
            min=0,
            help="Seconds between two frames of one clip, below which only the better one is shown.",
            rich_help_panel=OUTPUT,
        ),
    ] = 1.0,
    positions: PositionsOption = "bilinear",
    batch: BatchOption = 8,
    layout: LayoutOption = "quadtree",
    tokens: TokensOption = None,
    fixation: FixationOption = None,
    backend: BackendOption = "auto",
    config: ConfigOption = None,
    json: JsonOption = False,
) -> None:
    """Find the frames that resemble one frame most, by the cosine of what a model says of each.

    Folders that `texvlm encode --model` wrote are read; everything else is encoded now.
    """
    points = parse_fixations(fixation or "0.5,0.5")

    from texvlm.encode import EncodeSettings, Progress
    from texvlm.encode.model import load_model
    from texvlm.encode.similar import answers_of, clips_in, nearest

    settings = EncodeSettings.model_validate(
        {
            "input": query,
            "layout": layout,
            "layout_options": one_place_per_fixation(layout, len(points)),
            "tokens": tokens,
            "fixations": points,
            "backend": backend,
            "every": every,
            "frames": frames,
            "features": {"model": model, "positions": positions, "batch": batch},
        }
    )
    items = [(item, len(inside) > 1) for each in clips for inside in [clips_in(each)] for item in inside]
    found: list[ClipAnswers] = []
    skipped: dict[str, str] = {}
    with steps() as tell:
        tell(f"loading {model}", 0, None)
        loaded = load_model(settings)
        wanted = answers_of(query, settings.model_copy(update={"every": 1, "frames": 1}), loaded, start_s=at)
        for number, (item, from_folder) in enumerate(items, 1):

            def progress(now: Progress, what: str = f"{number} of {len(items)}: {item}") -> None:
                tell(what, now.frame, now.total)

            try:
                found.append(answers_of(item, settings, loaded, progress=progress))
            except Exception as error:  # what somebody named must be there; what merely lay in a folder may be broken
                reason = reason_of(error)
                if reason is None or not from_folder:
                    raise
                skipped[item] = reason
    if not found:
        raise SourceError(f"nothing to compare with could be read; {items[0][0]}: {skipped[items[0][0]]}")
    matches = nearest(wanted, found, top=top, apart_s=apart)
    compared = sum(len(clip.frames) for clip in found)
    if json:
        print_json(
            {
                "query": {"clip": wanted.clip, "frame": int(wanted.frames[0]), "time_s": float(wanted.times_s[0])},
                "model": loaded.facts,
                "clips": len(found),
                "frames": compared,
                "matches": [asdict(match) for match in matches],
                "skipped": skipped,
            }
        )
        return
    rows = [
        (f"{match.similarity:.3f}", match.clip, match.frame, "-" if match.time_s is None else f"{match.time_s:.2f}")
        for match in matches
    ]
    time_s = float(wanted.times_s[0])
    place = wanted.clip if math.isnan(time_s) else f"{wanted.clip} at {time_s:.2f} s"
    print_table(f"frames like {place}", rows, header=("cosine", "clip", "frame", "time, s"))
    print_line(f"{compared} frames of {len(found)} inputs were compared, with {loaded.encoder.name}")
    for item, reason in skipped.items():
        note(f"texvlm: left out: {item}: {reason}")
