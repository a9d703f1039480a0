"""Flags that several commands share, and the reading of values that are more than one number.

Values stay text until a command reads them here, so that a flag and a line of texvlm.toml are
spelled alike and refused in the same words.
"""

from __future__ import annotations

import math
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any

import typer

from texvlm.cli.config_file import load_config

SAMPLING, MODEL, INPUT, OUTPUT, REPORT = "What to sample", "Model", "Input", "Output", "Report"
"""Groups of flags in the help of a command."""

ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config",
        metavar="FILE",
        is_eager=True,
        callback=load_config,
        help="Defaults for the flags, in TOML; texvlm.toml in this folder is found by itself.",
        rich_help_panel=REPORT,
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the report as JSON.", rich_help_panel=REPORT)]
TraceOption = Annotated[
    Path | None,
    typer.Option(
        "--trace",
        metavar="FILE.json",
        help="Write what took how long, as a Chrome trace: open it in ui.perfetto.dev.",
        rich_help_panel=OUTPUT,
    ),
]
BackendOption = Annotated[
    str, typer.Option("--backend", metavar="NAME", help="auto, cuda, gl or cpu.", rich_help_panel=SAMPLING)
]
LayoutOption = Annotated[
    str,
    typer.Option("--layout", metavar="NAME", help="Where tokens go; see `texvlm layouts`.", rich_help_panel=SAMPLING),
]
TokensOption = Annotated[
    int | None,
    typer.Option(
        "--tokens",
        metavar="N",
        help="Token budget; without it the layout's own count.",
        rich_help_panel=SAMPLING,
    ),
]
PatchOption = Annotated[
    int, typer.Option("--patch", metavar="PX", help="Output pixels along one token side.", rich_help_panel=SAMPLING)
]
LookOption = Annotated[
    str | None,
    typer.Option(
        "--look",
        metavar="POLICY",
        help="Look by a policy: saliency, changes, priorities, colour, template, query, pursuit, saccades, regions, "
        "moving, gaze, fixed, or package.module.Policy; options as saccades:of=changes,rate_hz=3.",
        rich_help_panel=SAMPLING,
    ),
]
FixationOption = Annotated[
    str | None,
    typer.Option(
        "--fixation",
        metavar="U,V",
        help="Where to look, 0..1 across the frame; several as u,v,u,v. The middle without it.",
        rich_help_panel=SAMPLING,
    ),
]
FramesOption = Annotated[
    int | None,
    typer.Option("--frames", metavar="N", help="Stop after N encoded frames.", rich_help_panel=INPUT),
]
MODEL_HELP = "Folder of a vision model, as save_pretrained of transformers writes it."
PositionsOption = Annotated[
    str,
    typer.Option(
        "--positions",
        metavar="HOW",
        help="bilinear or area: how the position table is read off its grid.",
        rich_help_panel=MODEL,
    ),
]
BatchOption = Annotated[
    int,
    typer.Option("--batch", metavar="N", help="Frames that go through the model together.", rich_help_panel=MODEL),
]
ReadoutOption = Annotated[
    str | None,
    typer.Option(
        "--readout",
        metavar="fixation:DEG",
        help="Also answer for what lies within so many degrees of each fixation.",
        rich_help_panel=MODEL,
    ),
]
FovOption = Annotated[
    float,
    typer.Option("--fov-deg", metavar="DEG", help="Field of view across the longer side.", rich_help_panel=SAMPLING),
]
E2Option = Annotated[
    float,
    typer.Option("--e2-deg", metavar="DEG", help="Eccentricity at which acuity has halved.", rich_help_panel=SAMPLING),
]
ThresholdOption = Annotated[
    str,
    typer.Option(
        "--threshold",
        metavar="X",
        help="Largest difference that a tile may keep, of full scale: 8/255, 0.03, or 0 for bit-exact.",
        rich_help_panel=SAMPLING,
    ),
]


def parse_threshold(text: str) -> float:
    """8/255, 0.03 or 0 as a fraction of full scale; ValueError outside 0..1."""
    try:
        value = float(Fraction(text)) if "/" in text else float(text)
    except (ValueError, ZeroDivisionError):
        value = math.nan
    if not 0 <= value <= 1:
        raise ValueError(f"threshold is {text!r}; accepted: 0 to 1, as 8/255, 0.03 or 0 (bit-exact)")
    return value


def parse_fixations(text: str) -> list[tuple[float, float]]:
    """u,v or several as u,v,u,v (spaces and semicolons separate as well); ValueError for anything else."""
    try:
        numbers = [float(part) for part in text.replace(";", ",").replace(" ", ",").split(",") if part]
    except ValueError:
        numbers = []
    if not numbers or len(numbers) % 2:
        raise ValueError(f"fixation is {text!r}; accepted: u,v where the frame spans 0..1, as 0.5,0.5")
    points = list(zip(numbers[::2], numbers[1::2], strict=True))
    for point in points:
        if not all(map(math.isfinite, point)):
            raise ValueError(f"fixation is {text!r}; u and v must be finite numbers, the frame spans 0..1")
    return points


def parse_numbers(name: str, text: str | None) -> tuple[float, ...] | None:
    """Numbers with commas between them, for the channels of `name`; ValueError when one is not finite."""
    if text is None:
        return None
    try:
        numbers = tuple(float(part) for part in text.split(","))
    except ValueError:
        numbers = (math.nan,)
    if not all(map(math.isfinite, numbers)):
        raise ValueError(f"{name} is {text!r}; accepted: one finite number a channel, as 0.485,0.456,0.406")
    return numbers


def parse_readout(text: str | None) -> float | None:
    """fixation:4 as degrees; ValueError for anything else."""
    if text is None:
        return None
    kind, _, radius = text.partition(":")
    try:
        degrees = float(radius)
    except ValueError:
        degrees = math.nan
    if kind != "fixation" or not 0 < degrees < 90:
        raise ValueError(f"readout is {text!r}; accepted: fixation:DEGREES, above 0 and below 90, as fixation:4")
    return degrees


def parse_size(text: str) -> tuple[int, int]:
    """1920x1080 as (width, height); ValueError for anything else. The range is checked by who uses it."""
    width, _, height = text.lower().partition("x")
    if not (width.strip().isdecimal() and height.strip().isdecimal()):
        raise ValueError(f"size is {text!r}; accepted: WIDTHxHEIGHT in texels, as 1920x1080")
    return int(width), int(height)


def given_on_line(context: typer.Context, name: str) -> bool:
    """Whether a flag was given in this call, and not by the configuration file."""
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def one_way_to_look(context: typer.Context, ways: dict[str, Any]) -> dict[str, Any]:
    """The flags that say where to look, of which one counts: None for the others.

    One of this call replaces one of the configuration file; ValueError where two stand on the same side.
    """
    given = [name for name, value in ways.items() if value is not None]
    here = [name for name in given if given_on_line(context, name)]
    rivals = here or given
    if len(rivals) > 1:
        raise ValueError(f"--{rivals[0]} and --{rivals[1]} are two ways to look; give one of them")
    return {name: value if name in rivals else None for name, value in ways.items()}


def one_place_per_fixation(layout: str, fixations: int) -> dict[str, Any]:
    """The option of layouts that keep a fixed place for each fixation, such as rings; empty for others."""
    from texvlm.layouts import make_layout

    return {"fixations": fixations} if fixations > 1 and hasattr(make_layout(layout), "fixations") else {}
