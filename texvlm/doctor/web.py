"""Whether `texvlm view --web` can serve here."""

from __future__ import annotations

from importlib import metadata

from texvlm.doctor.findings import Finding

LIBRARIES = ("fastapi", "uvicorn", "websockets")


def examine_web() -> Finding:
    """Loads the server, and asks for a port of this machine's own."""
    from texvlm.viewer.web.clients import Clients

    use = "texvlm view --web"
    try:
        from texvlm.viewer.web.server import WebServer
    except ImportError as error:
        return Finding("web viewer", "missing", f"no {use}: {error.name}", ('pip install "texvlm[web]"',))
    try:
        WebServer(Clients(lambda: None)).close()
    except Exception as error:  # a library that is here and broken
        return Finding("web viewer", "failed", f"{type(error).__name__}: {error}".splitlines()[0])
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in LIBRARIES)
    return Finding("web viewer", "ok", f"{use} serves browsers, with {versions}")
