"""`texvlm encode`: a video into a folder of tokens, stoppable and resumable."""

from __future__ import annotations

import json as json_text
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from texvlm.cli.console import note, print_json, print_line, print_table, size_text, steps
from texvlm.cli.options import (
    INPUT,
    MODEL,
    MODEL_HELP,
    OUTPUT,
    SAMPLING,
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
    ThresholdOption,
    TokensOption,
    TraceOption,
    one_place_per_fixation,
    one_way_to_look,
    parse_fixations,
    parse_numbers,
    parse_readout,
    parse_threshold,
)
from texvlm.cli.stopping import StopRequest

if TYPE_CHECKING:
    from texvlm.encode import EncodeReport


def encode(
    context: typer.Context,
    source: Annotated[
        str,
        typer.Argument(
            metavar="INPUT",
            help="A video, an image, a folder of images, camera:N, an rtsp:// address, or scene[:NAME][:WxH].",
        ),
    ],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="The folder to write.", rich_help_panel=OUTPUT)],
    store: Annotated[
        str,
        typer.Option(
            "--store", metavar="MODE", help="full, or changes: only tokens that changed.", rich_help_panel=OUTPUT
        ),
    ] = "full",
    dtype: Annotated[
        str | None,
        typer.Option(
            "--dtype",
            metavar="TYPE",
            help="Of tokens: uint8 (k/255; the default), float16, bfloat16 or float32 (0..1).",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    mean: Annotated[
        str | None,
        typer.Option(
            "--mean", metavar="R,G,B", help="Subtracted from float tokens; with --std.", rich_help_panel=OUTPUT
        ),
    ] = None,
    std: Annotated[
        str | None,
        typer.Option("--std", metavar="R,G,B", help="Divides float tokens; with --mean.", rich_help_panel=OUTPUT),
    ] = None,
    shard_frames: Annotated[
        int | None,
        typer.Option(
            "--shard-frames", metavar="N", help="Frames in a shard; without it about 64 MB.", rich_help_panel=OUTPUT
        ),
    ] = None,
    preview: Annotated[
        Path | None,
        typer.Option("--preview", metavar="FILE.mp4", help="Draw every frame into a video.", rich_help_panel=OUTPUT),
    ] = None,
    still: Annotated[
        Path | None,
        typer.Option("--still", metavar="FILE.png", help="Draw one frame of the clip.", rich_help_panel=OUTPUT),
    ] = None,
    resume: Annotated[
        bool,
        typer.Option("--resume", help="Go on where an earlier run of this command ended.", rich_help_panel=OUTPUT),
    ] = False,
    model: Annotated[str | None, typer.Option("--model", metavar="DIR", help=MODEL_HELP, rich_help_panel=MODEL)] = None,
    write: Annotated[
        str | None,
        typer.Option(
            "--write",
            metavar="WHAT",
            help="tokens, features or both; without it features where there is a model.",
            rich_help_panel=MODEL,
        ),
    ] = None,
    positions: PositionsOption = "bilinear",
    readout: ReadoutOption = None,
    batch: BatchOption = 8,
    feature_dtype: Annotated[
        str,
        typer.Option("--feature-dtype", metavar="TYPE", help="Of features: float16 or float32.", rich_help_panel=MODEL),
    ] = "float16",
    every: Annotated[
        int, typer.Option("--every", metavar="N", help="Encode each N-th frame.", rich_help_panel=INPUT)
    ] = 1,
    frames: FramesOption = None,
    channels: Annotated[
        int, typer.Option("--channels", metavar="C", help="1 gray, 3 RGB, 4 RGBA.", rich_help_panel=INPUT)
    ] = 3,
    layout: LayoutOption = "quadtree",
    layout_options: Annotated[
        str | None,
        typer.Option(
            "--layout-options",
            metavar="NAME=VALUE,...",
            help="Further settings of the layout, as max_side=128.",
            rich_help_panel=SAMPLING,
        ),
    ] = None,
    tokens: TokensOption = None,
    patch: Annotated[
        int | None,
        typer.Option(
            "--patch",
            metavar="PX",
            help="Output pixels along one token side; without it the model's, or 16.",
            rich_help_panel=SAMPLING,
        ),
    ] = None,
    fixation: FixationOption = None,
    gaze: Annotated[
        Path | None,
        typer.Option(
            "--gaze",
            metavar="FILE.csv",
            help="Follow a recorded gaze: time,u,v; .parquet too.",
            rich_help_panel=SAMPLING,
        ),
    ] = None,
    gaze_offset: Annotated[
        float,
        typer.Option("--gaze-offset", metavar="S", help="Seconds added to its times.", rich_help_panel=SAMPLING),
    ] = 0.0,
    moving: Annotated[
        bool, typer.Option("--moving", help="Look around along a smooth figure.", rich_help_panel=SAMPLING)
    ] = False,
    look: LookOption = None,
    fov_deg: FovOption = 60.0,
    e2_deg: E2Option = 2.0,
    backend: BackendOption = "auto",
    threshold: ThresholdOption = "8/255",
    trace: TraceOption = None,
    config: ConfigOption = None,
    json: JsonOption = False,
) -> None:
    """Encode a video into foveated tokens, or into what a model makes of them: safetensors shards and a meta.json.

    Ctrl-C finishes the shard and says how to go on; a second one stops at once.
    """
    chosen = one_way_to_look(context, {"look": look, "gaze": gaze, "moving": moving or None, "fixation": fixation})
    gaze, fixation, moving, look = (chosen[name] for name in ("gaze", "fixation", "moving", "look"))
    points = parse_fixations("0.5,0.5" if fixation is None else fixation)
    wanted = {
        "input": source,
        "layout": layout,
        "tokens": tokens,
        "patch": patch,
        "fov_deg": fov_deg,
        "e2_deg": e2_deg,
        "fixations": points,
        "moving": bool(moving),
        "gaze": None if gaze is None else str(gaze),
        "gaze_offset_s": gaze_offset,
        "look": look,
        "backend": backend,
        "threshold": parse_threshold(threshold),
        "every": every,
        "frames": frames,
        "channels": channels,
        "dtype": dtype,
        "mean": parse_numbers("mean", mean),
        "std": parse_numbers("std", std),
        "store": store,
        "shard_frames": shard_frames,
        "features": _feature_settings(
            model, write, positions=positions, readout_deg=parse_readout(readout), batch=batch, dtype=feature_dtype
        ),
    }
    from texvlm.encode import EncodeSettings, Progress
    from texvlm.encode import encode as run
    from texvlm.fixation import parse_look
    from texvlm.trace import traced_to

    places = len(points) if look is None else parse_look(look).make().count or 1
    options = one_place_per_fixation(layout, places) | _layout_options(layout_options)
    settings = EncodeSettings.model_validate(wanted | {"layout_options": options})
    again = _resume_command(context)
    with StopRequest("finishing the shard; Ctrl-C again stops at once") as stop, steps() as tell, traced_to(trace):

        def progress(now: Progress) -> None:
            tell("catching up" if now.replaying else "encoding", now.frame, now.total)

        tell("opening (the first run compiles kernels)", 0, None)
        try:
            report = run(
                settings,
                out,
                resume=resume,
                preview=preview,
                still=still,
                progress=progress,
                stop=lambda: stop.requested,
            )
        except KeyboardInterrupt:
            note(f"stopped at once; what was written is whole. To go on: {again}")
            raise
    stopped = report.status == "stopped"
    resumable = stopped and report.source["kind"] != "live"
    if json:
        print_json(report.model_dump(mode="json") | {"resume": again if resumable else None})
    else:
        _print(report)
    if stopped:
        note(f"stopped after {report.frames} frames." + (f" To go on: {again}" if resumable else ""))


def _feature_settings(model: str | None, write: str | None, **options: Any) -> dict[str, Any] | None:
    """Fields of FeatureSettings; None for tokens alone. ValueError where flags contradict each other."""
    if write not in (None, "tokens", "features", "both"):
        raise ValueError(f"write is {write!r}; accepted: tokens, features, both")
    if model is None:
        if write in ("features", "both"):
            raise ValueError(f"--write {write} needs a model; give its folder as --model DIR")
        if options["readout_deg"] is not None:
            raise ValueError("--readout asks a model; give its folder as --model DIR")
        return None
    if write == "tokens":
        raise ValueError("--write tokens uses no model; leave out --model, or write features or both")
    return {"model": model, "keep_tokens": write == "both", **options}


def _resume_command(context: typer.Context) -> str:
    """This call, as it must be repeated to go on."""
    arguments = list(context.obj.arguments)
    if "--resume" not in arguments:
        arguments.append("--resume")
    return shlex.join(["texvlm", *arguments])


def _layout_options(text: str | None) -> dict[str, Any]:
    """name=value,... with values as JSON has them, or plain words."""
    options: dict[str, Any] = {}
    for part in filter(None, (text or "").split(",")):
        name, equals, value = part.partition("=")
        if not (name.strip() and equals):
            raise ValueError(f"layout option {part!r}; accepted: NAME=VALUE, as max_side=128")
        try:
            options[name.strip()] = json_text.loads(value)
        except ValueError:
            options[name.strip()] = value.strip()
    return options


def _print(report: EncodeReport) -> None:
    """The report as a table."""
    if report.encoded == 0:
        print_line(f"{report.out}: {report.status} with {report.frames} frames; nothing was left to encode")
        return
    since = f", {report.encoded} of them now (from frame {report.first_frame})" if report.first_frame else ""
    sampled = report.tokens_sampled / report.encoded
    stages = ", ".join(f"{name} {ms:.2f}" for name, ms in report.ms_per_frame.items() if ms)
    rows = [
        ("frames", f"{report.frames}{since}; {report.status}"),
        ("frame size", _sizes(report)),
        ("tiles changed", f"{100 * report.tiles_changed:.1f} %, {size_text(report.bytes_uploaded)} uploaded"),
        ("tokens", f"{report.tokens_per_frame} a frame, {sampled:.1f} of them sampled anew"),
        ("ms a frame", f"{sum(report.ms_per_frame.values()):.2f}  ({stages})"),
        ("frames a second", f"{report.fps:.1f}"),
        *_model_rows(report),
        ("written", f"{size_text(report.bytes_written)} in {report.shards} shards"),
        *_source_rows(report.source),
        *_gaze_rows(report.gaze),
    ]
    print_table(f"{report.input} -> {report.out}, backend {report.backend}", rows)
    for name, path in (("preview", report.preview), ("picture", report.still)):
        if path:
            print_line(f"{name}   {path}")


def _model_rows(report: EncodeReport) -> list[tuple[str, str]]:
    """What made the features, and what there is of them."""
    if report.model is None:
        return []
    shapes = report.feature_shapes or {}
    parts = [f"{shapes['features'][-1]} numbers a token"] if "features" in shapes else []
    parts += ["pooled"] if "pooled" in shapes else []
    parts += [f"{shapes['regions'][0]} read-outs"] if "regions" in shapes else []
    beside = ", beside the tokens" if report.contents == "both" else ""
    return [("model", str(report.model["name"])), ("features", f"{', '.join(parts)}{beside}")]


def _sizes(report: EncodeReport) -> str:
    text = f"{report.size[0]} x {report.size[1]}"
    if report.size_changes:
        text += f" at first; it changed {report.size_changes} times"
        text += f", and textures were made anew {report.reallocations} times"
    return text


def _source_rows(facts: dict[str, Any]) -> list[tuple[str, str]]:
    """What was wrong with the input, if anything."""
    rows = []
    if facts.get("truncated"):
        rows.append(("input", "cut short: it ends before the end that its header states"))
    for name in ("damaged", "dropped"):
        if facts.get(name):
            rows.append((f"{name}", f"{facts[name]} frames or packets of the input"))
    return rows


def _gaze_rows(coverage: dict[str, Any] | None) -> list[tuple[str, str]]:
    """How much of the clip the gaze file speaks for."""
    if coverage is None:
        return []
    words = f"{100 * coverage['fraction']:.1f} % of the clip"
    if coverage["gaps"]:
        words += f", {coverage['gaps']} gaps up to {coverage['longest_gap_s']:.2f} s, in which the last point holds"
    for key, where in (("before_s", "before its first"), ("after_s", "after its last")):
        if coverage[key] > 0:
            words += f", {coverage[key]:.2f} s {where} sample"
    return [("gaze", words)]
