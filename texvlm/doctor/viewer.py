"""Whether `texvlm view` can open a window here."""

from __future__ import annotations

from texvlm.doctor.findings import Finding
from texvlm.errors import ViewerUnavailable


def examine_viewer() -> Finding:
    """Opens a small window that nobody sees, and closes it."""
    from texvlm.viewer.native.window import WINDOW_ADVICE, GlfwWindow

    use = "texvlm view"
    try:
        window = GlfwWindow(use, (64, 64), visible=False)
    except ViewerUnavailable as refusal:
        reason, _, advice = str(refusal).partition("; ")
        return Finding("viewer", "missing", f"no window for {use}: {reason}", (advice or WINDOW_ADVICE,))
    except Exception as error:  # a display that is here and broken
        return Finding("viewer", "failed", f"{type(error).__name__}: {error}".splitlines()[0])
    try:
        return Finding("viewer", "ok", f"{use} opens windows, drawn by {window.renderer}")
    finally:
        window.close()
