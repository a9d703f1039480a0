"""`texvlm demo`: the main job on a scene that needs no file, with numbers and pictures."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from texvlm.cli.console import note, print_json, print_line, print_table, progress, size_text, spinner
from texvlm.cli.options import INPUT, OUTPUT, BackendOption, ConfigOption, JsonOption

if TYPE_CHECKING:
    from texvlm.demo import DemoReport


def demo(
    source: Annotated[
        str, typer.Argument(metavar="INPUT", help="A video, an image, a folder of images, or scene[:NAME][:WxH].")
    ] = "scene",
    out: Annotated[
        Path, typer.Option("--out", metavar="DIR", help="Where the results go.", rich_help_panel=OUTPUT)
    ] = Path("demo"),
    frames: Annotated[
        int | None, typer.Option("--frames", metavar="N", help="Stop after N frames.", rich_help_panel=INPUT)
    ] = None,
    backend: BackendOption = "auto",
    config: ConfigOption = None,
    json: JsonOption = False,
) -> None:
    """Encode a scene (or a file) with a moving fixation, beside the dense grid of the same frames.

    Writes demo.png and preview.mp4 (the frame, the token squares, the changed tiles, and what the
    tokens alone show) and the tokens themselves.
    """
    from texvlm.demo import check_demo, demo_settings, run_demo, warm_up

    settings = demo_settings(source, frames=frames, backend=backend)
    check_demo(settings, out)
    with spinner("compiling kernels, once"):
        warm_up(settings)
    with progress(f"demo {source}") as tell:
        report = run_demo(settings, out, progress=tell)
    if json:
        print_json(asdict(report) | {"ratio": report.ratio, "resting_ratio": report.resting_ratio})
        return
    title = f"{report.source}, {report.size[0]} x {report.size[1]}, backend {report.backend}"
    print_table(title, _rows(report))
    print_line(f"picture   {report.picture}")
    print_line(f"preview   {report.preview}")
    print_line(f"tokens    {report.tokens_folder}    texvlm.open_tokens({report.tokens_folder!r})")
    if report.dense_resize != "OpenCV":
        note('the dense baseline resized with torch, which is slower than OpenCV: pip install "texvlm[bench]"')


def _rows(report: DemoReport) -> list[tuple[str, str]]:
    stages = ", ".join(f"{name} {ms:.3f}" for name, ms in report.stages_ms.items() if ms)
    dense = f"{report.dense_ms:.2f}  (resize to 1024 x 1024 with {report.dense_resize}, normalise, patchify)"
    return [
        ("frames", f"{report.frames}"),
        ("tiles changed", f"{100 * report.tiles_share:.1f} % of a frame"),
        ("uploaded", f"{size_text(report.bytes_uploaded)} of {size_text(report.frame_bytes)} a frame"),
        ("tokens", f"{report.tokens} a frame, {report.tokens_sampled:.0f} of them sampled anew"),
        ("ms a frame", f"{report.ms:.2f}  (the gaze moves; {stages})"),
        ("  first frame", f"{report.first_ms:.2f}  (everything is new)"),
        ("  gaze at rest", f"{report.resting_ms:.2f}  (only what changed is sampled)"),
        ("ms, dense grid", dense),
        ("ratio", f"{report.ratio:.1f}x as fast as the dense grid, {report.resting_ratio:.1f}x with the gaze at rest"),
        ("", f"{report.tokens} tokens for {report.dense_tokens}"),
        ("worst texel", f"{report.worst_difference:.0f} / 255 from the frame; the threshold is {report.threshold:.0f}"),
    ]
