"""`texvlm view --web`: the flags of the browser viewer, and playing it until somebody stops it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from texvlm.cli.console import note

if TYPE_CHECKING:
    from texvlm.viewer import PictureMode, ViewSettings, ViewStatistics

BROWSER = "Browser"

WebOption = Annotated[
    bool,
    typer.Option("--web", help="Show it in browsers instead of a window.", rich_help_panel=BROWSER),
]
HostOption = Annotated[
    str,
    typer.Option(
        "--host",
        metavar="NAME",
        help="Name or address to listen on; any but this machine's own puts a token into the address to open.",
        rich_help_panel=BROWSER,
    ),
]
PortOption = Annotated[
    int,
    typer.Option("--port", metavar="N", min=0, max=65535, help="To listen on; 0 for any.", rich_help_panel=BROWSER),
]
CertificateOption = Annotated[
    Path | None,
    typer.Option(
        "--cert", metavar="FILE.pem", help="Certificate for https, which headsets ask for.", rich_help_panel=BROWSER
    ),
]
KeyOption = Annotated[Path | None, typer.Option("--key", metavar="FILE.pem", help="Its key.", rich_help_panel=BROWSER)]


@dataclass(frozen=True, slots=True)
class WebPlace:
    """Where the browser viewer listens, as flags say it."""

    host: str
    port: int
    certificate: Path | None
    key: Path | None


def view_in_browsers(
    settings: ViewSettings,
    place: WebPlace,
    *,
    mode: PictureMode,
    frames: int | None,
    rerun: Path | None,
    stop: Callable[[], bool],
) -> tuple[ViewStatistics, str]:
    """Serve until the end; how it went, and the backend's name."""
    from texvlm.viewer.web.opening import open_web

    with ExitStack() as stack:
        viewer, server = stack.enter_context(
            open_web(
                settings,
                host=place.host,
                port=place.port,
                certificate=place.certificate,
                key=place.key,
                mode=mode,
                frames=frames,
                stop=stop,
            )
        )
        if rerun is not None:
            from texvlm.viewer.rerun_log import RerunLog

            viewer.session.listeners.append(stack.enter_context(RerunLog(rerun, viewer.session)).take)
        note(f"open {server.url} in a browser; Ctrl-C ends it")
        viewer.run()
        return viewer.session.statistics(), viewer.session.engine.backend_name


def refuse_window_flags(**flags: bool) -> None:
    """ValueError where a flag that needs a window was given; of each, whether it was."""
    given = [name for name, there in flags.items() if there]
    if given:
        raise ValueError(f"--{given[0]} is for a window, and --web opens none; give one of them")
