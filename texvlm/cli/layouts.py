"""`texvlm layouts`: what each layout does to a frame, as a table and as pictures."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from texvlm.cli.console import note, print_json, print_table
from texvlm.cli.options import (
    OUTPUT,
    SAMPLING,
    ConfigOption,
    E2Option,
    FovOption,
    JsonOption,
    PatchOption,
    TokensOption,
    one_place_per_fixation,
    parse_fixations,
    parse_size,
)

OTHER_PICTURES = {".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff"}
"""Endings of pictures that are not written; a folder of such a name would be a surprise."""


def layouts(
    name: Annotated[str, typer.Argument(help="A layout, or all.")] = "all",
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="DIR|FILE.png",
            help="Where to draw: a folder, or for one layout a file.",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    size: Annotated[
        str, typer.Option("--size", metavar="WxH", help="Frame size, texels.", rich_help_panel=SAMPLING)
    ] = "1920x1080",
    tokens: TokensOption = None,
    patch: PatchOption = 16,
    fixation: Annotated[
        str,
        typer.Option("--fixation", metavar="U,V", help="Where to look; several as u,v,u,v.", rich_help_panel=SAMPLING),
    ] = "0.5,0.5",
    fov_deg: FovOption = 60.0,
    e2_deg: E2Option = 2.0,
    config: ConfigOption = None,
    json: JsonOption = False,
) -> None:
    """Draw layouts and count what they cover: tokens, levels, texels seen once, never or twice."""
    import numpy as np

    from texvlm.drawing.layout_sheet import draw_layout, layout_facts
    from texvlm.drawing.pictures import write_png
    from texvlm.layouts import LAYOUTS, Focus, make_layout
    from texvlm.layouts.base import to_texels
    from texvlm.pyramid import check_frame_size

    names = list(LAYOUTS) if name == "all" else [name]
    frame = parse_size(size)
    check_frame_size(frame)
    points = parse_fixations(fixation)
    focus = Focus(to_texels(np.array(points), frame))
    if out is not None and out.suffix.lower() == ".png" and len(names) > 1:
        raise ValueError(f"--out {out} is one picture for {len(names)} layouts; name a layout, or give a folder")
    if out is not None and out.suffix.lower() in OTHER_PICTURES:
        raise ValueError(f"--out {out}: pictures are written as .png; give such a name, or a folder")
    drawn: list[dict[str, Any]] = []
    for each in names:
        try:
            places = one_place_per_fixation(each, len(points))
            layout = make_layout(each, tokens=tokens, patch=patch, fov_deg=fov_deg, e2_deg=e2_deg, **places)
            facts = layout_facts(layout.plan(frame, focus), size=frame, patch=patch)
        except ValueError as reason:
            if len(names) == 1:
                raise
            note(f"texvlm: {each} is left out: {reason}")
            continue
        entry = {"layout": each, **asdict(facts), "picture": None}
        if out is not None:
            path = out if out.suffix.lower() == ".png" else out / f"{each}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            write_png(path, draw_layout(each, layout, focus, size=frame))
            entry["picture"] = str(path)
        drawn.append(entry)
    if json:
        print_json({"size": frame, "fixations": points, "patch": patch, "layouts": drawn})
    else:
        print_table(f"layouts on {frame[0]} x {frame[1]}, patch {patch}", map(_row, drawn), header=_HEADER)
        if out is not None:
            note(f"drawn: {', '.join(str(entry['picture']) for entry in drawn)}")


_HEADER = (
    "layout",
    "tokens",
    "once %",
    "never %",
    "twice+ %",
    "partly outside",
    "side, texels",
    "tokens at LOD 0, 1, ...",
)


def _row(entry: dict[str, Any]) -> tuple[object, ...]:
    lods = entry["lods"]
    least, most = entry["sides"]
    return (
        entry["layout"],
        entry["tokens"],
        *(f"{100 * entry[share]:.1f}" for share in ("once", "never", "several")),
        entry["partly_outside"],
        f"{least:g}" if least == most else f"{least:.4g} - {most:.4g}",
        " ".join(str(lods.get(level, 0)) for level in range(max(lods, default=-1) + 1)),
    )
