"""`texvlm view`: see what an encoder sees, with the pointer as gaze."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from texvlm.cli.console import note, print_json, print_line, print_table, size_text
from texvlm.cli.options import (
    INPUT,
    OUTPUT,
    REPORT,
    SAMPLING,
    BackendOption,
    ConfigOption,
    E2Option,
    FovOption,
    JsonOption,
    LayoutOption,
    LookOption,
    PatchOption,
    ThresholdOption,
    TokensOption,
    TraceOption,
    parse_fixations,
    parse_size,
    parse_threshold,
)
from texvlm.cli.stopping import StopRequest
from texvlm.cli.view_web import (
    CertificateOption,
    HostOption,
    KeyOption,
    PortOption,
    WebOption,
    WebPlace,
    refuse_window_flags,
    view_in_browsers,
)

if TYPE_CHECKING:
    from texvlm.viewer import ViewStatistics

WINDOW = "Window"


def view(
    source: Annotated[
        str,
        typer.Argument(
            metavar="INPUT",
            help="A video, an image, a folder of images, camera:N, an rtsp:// address, or scene[:NAME][:WxH].",
        ),
    ] = "scene",
    mode: Annotated[
        str,
        typer.Option(
            "--mode",
            metavar="NAME",
            help="What to show first: frame, reconstruction, tokens, changed, reencoded or both.",
            rich_help_panel=WINDOW,
        ),
    ] = "both",
    size: Annotated[
        str, typer.Option("--size", metavar="WxH", help="Of the window, pixels.", rich_help_panel=WINDOW)
    ] = "1280x720",
    offscreen: Annotated[
        bool,
        typer.Option(
            "--offscreen",
            help="Open no window; every frame is drawn, whatever its time, and the end ends it.",
            rich_help_panel=WINDOW,
        ),
    ] = False,
    panel: Annotated[
        bool, typer.Option("--panel/--no-panel", help="Numbers in the corner of the window.", rich_help_panel=WINDOW)
    ] = True,
    vsync: Annotated[
        bool, typer.Option("--vsync/--no-vsync", help="Wait for the display.", rich_help_panel=WINDOW)
    ] = True,
    web: WebOption = False,
    host: HostOption = "127.0.0.1",
    port: PortOption = 8399,
    cert: CertificateOption = None,
    key: KeyOption = None,
    once: Annotated[
        bool, typer.Option("--once", help="End with the input, instead of beginning anew.", rich_help_panel=INPUT)
    ] = False,
    frames: Annotated[
        int | None, typer.Option("--frames", metavar="N", help="End after N frames.", rich_help_panel=INPUT)
    ] = None,
    out: Annotated[
        Path,
        typer.Option("--out", metavar="DIR", help="Where the keys s and r write.", rich_help_panel=OUTPUT),
    ] = Path(),
    screenshot: Annotated[
        Path | None,
        typer.Option("--screenshot", metavar="FILE.png", help="Keep the last picture.", rich_help_panel=OUTPUT),
    ] = None,
    record: Annotated[
        Path | None,
        typer.Option("--record", metavar="FILE.mp4", help="Record what is shown.", rich_help_panel=OUTPUT),
    ] = None,
    rerun: Annotated[
        Path | None,
        typer.Option(
            "--rerun",
            metavar="FILE.rrd",
            help="Log frames, tokens, the fixation and numbers for the Rerun viewer.",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    trace: TraceOption = None,
    layout: LayoutOption = "quadtree",
    tokens: TokensOption = None,
    patch: PatchOption = 16,
    fixation: Annotated[
        str,
        typer.Option(
            "--fixation", metavar="U,V", help="Where to look until the pointer moves.", rich_help_panel=SAMPLING
        ),
    ] = "0.5,0.5",
    look: LookOption = None,
    fov_deg: FovOption = 60.0,
    e2_deg: E2Option = 2.0,
    backend: BackendOption = "auto",
    threshold: ThresholdOption = "8/255",
    report: Annotated[
        bool, typer.Option("--report/--no-report", help="Print the numbers at the end.", rich_help_panel=REPORT)
    ] = True,
    config: ConfigOption = None,
    json: JsonOption = False,
) -> None:
    """Show an input as an encoder gets to see it; the pointer moves the fixation.

    Press h in the window for the keys. Needs an extra: pip install "texvlm[viewer]", or with --web "texvlm[web]".
    """
    from texvlm.trace import traced_to
    from texvlm.viewer import ViewSettings
    from texvlm.viewer.modes import parse_mode
    from texvlm.viewer.native.opening import open_session, open_surface
    from texvlm.viewer.native.viewer import NativeViewer, ViewFiles

    points = parse_fixations(fixation)
    if len(points) != 1:
        raise ValueError(f"fixation is {fixation!r}; a viewer has one pointer: give one u,v")
    if frames is not None and frames < 1:
        raise ValueError(f"frames is {frames}; accepted: 1 or more")
    window, picture_mode = parse_size(size), parse_mode(mode)
    if min(window) < 1 or max(window) > LARGEST:
        raise ValueError(f"size is {size!r}; each side is 1..{LARGEST} pixels")
    settings = ViewSettings(
        source,
        layout=layout,
        tokens=tokens,
        patch=patch,
        fov_deg=fov_deg,
        e2_deg=e2_deg,
        threshold=parse_threshold(threshold),
        backend=backend,
        look=look,
        fixation=points[0],
        loop=not (once or offscreen),
        clocked=not offscreen,
    )
    settings.make_layout(tokens=tokens)  # what is wrong with it is told before a window opens
    with ExitStack() as stack:
        stop = stack.enter_context(StopRequest("closing"))
        stack.enter_context(traced_to(trace))
        if web:
            refuse_window_flags(offscreen=offscreen, screenshot=screenshot is not None, record=record is not None)
            place = WebPlace(host, port, cert, key)
            statistics, name = view_in_browsers(
                settings, place, mode=picture_mode, frames=frames, rerun=rerun, stop=lambda: stop.requested
            )
            written, left_out = [], 0
        else:
            surface = stack.enter_context(open_surface(f"texvlm {source}", window, offscreen=offscreen, vsync=vsync))
            session = stack.enter_context(open_session(settings, surface))
            if rerun is not None:
                from texvlm.viewer.rerun_log import RerunLog

                session.listeners.append(stack.enter_context(RerunLog(rerun, session)).take)
            viewer = NativeViewer(
                session,
                surface,
                mode=picture_mode,
                files=ViewFiles(out, screenshot, record),
                frames=frames,
                patient=offscreen,
                panel=panel,
                stop=lambda: stop.requested,
            )
            try:
                viewer.run()
                statistics, name = session.statistics(), session.engine.backend_name
            finally:
                viewer.close()
            written, left_out = list(viewer.written), viewer.left_out
            for path in (screenshot, record):
                if path is not None and path not in written:
                    note(f"texvlm: no picture was shown, so there is no {path}")
        written += [path for path in (rerun,) if path is not None]
    if trace is not None:
        written.append(trace)
    if json:
        facts = {"input": source, "backend": name, "written": list(map(str, written)), "left_out": left_out}
        print_json(asdict(statistics) | facts)
        return
    if report:
        print_table(f"{source}, backend {name}", _rows(statistics, left_out))
    for path in written:
        print_line(f"wrote {path}")


LARGEST = 16384
"""Pixels along a window's side."""


def _rows(statistics: ViewStatistics, left_out: int) -> list[tuple[str, str]]:
    stages = ", ".join(f"{name} {ms:.2f}" for name, ms in statistics.stages_ms.items())
    rows = [
        ("pictures", f"{statistics.pictures} of {statistics.frames} frames; {statistics.dropped} dropped"),
        ("frames a second", f"{statistics.frames_per_s:.1f} of late"),
        ("ms of late", stages),
        ("tokens", f"{statistics.tokens} a picture"),
        ("uploaded", f"{size_text(statistics.bytes_uploaded_total)} in all"),
    ]
    if statistics.latency_ms is not None:
        rows.append(("look to picture", f"{statistics.latency_ms:.1f} ms, the last move"))
    if left_out:
        rows.append(("recording", f"without {left_out} pictures that came too fast"))
    return rows
