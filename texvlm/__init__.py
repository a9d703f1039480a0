"""texvlm: video in, foveated vision tokens out.

    source -> frame -> detect -> upload -> build_mips        once a frame, only the tiles that changed
                                    |
    fixations / score -> layout -> sample -> TokenBatch      once a gaze, whatever the frame's size

Conventions, everywhere: image origin top-left, x right, y down; texel (i, j) has its centre at
(i + 0.5, j + 0.5). Points are (x, y), sizes (width, height), arrays (height, width, channel). Public
fixations are (u, v), the frame spanning 0..1; inside, everything is level-0 texels.

Layers of the package; a module imports from those to its right only:

    cli -> viewer -> bench -> encode -> store -> video_models -> temporal -> encoders -> drawing -> motion, xr
        -> engine -> budget, gaze -> fixation -> sources, tokens -> backends -> layouts, device_frames -> yuv
        -> frames -> pyramid, visual_field -> regions -> errors

Importing this package loads nothing heavy; names are resolved when first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from texvlm.backends.base import Counters
    from texvlm.device_frames import DeviceFrame
    from texvlm.engine import Engine
    from texvlm.errors import (
        BackendUnavailable,
        BusyError,
        ClosedError,
        DeviceCallError,
        KernelBuildError,
        LookError,
        ModelError,
        SourceError,
        StoreError,
        TexvlmError,
    )
    from texvlm.fixation import GazeTrack
    from texvlm.frames import Frame, as_frame
    from texvlm.layouts import make_layout
    from texvlm.pyramid import TextureSpec
    from texvlm.residency import SubmitReport
    from texvlm.sources import open_source, open_yuv_video
    from texvlm.store import TokenWriter, open_features, open_tokens
    from texvlm.tokens import TokenBatch
    from texvlm.yuv import YuvFrame, nv12, p010

__version__ = "0.1.0"

_HOME = {
    "BackendUnavailable": "errors",
    "BusyError": "errors",
    "ClosedError": "errors",
    "Counters": "backends.base",
    "DeviceCallError": "errors",
    "DeviceFrame": "device_frames",
    "Engine": "engine",
    "Frame": "frames",
    "GazeTrack": "fixation",
    "KernelBuildError": "errors",
    "LookError": "errors",
    "ModelError": "errors",
    "SourceError": "errors",
    "StoreError": "errors",
    "SubmitReport": "residency",
    "TexvlmError": "errors",
    "TextureSpec": "pyramid",
    "TokenBatch": "tokens",
    "TokenWriter": "store",
    "YuvFrame": "yuv",
    "as_frame": "frames",
    "make_layout": "layouts",
    "nv12": "yuv",
    "open_features": "store",
    "open_source": "sources",
    "open_tokens": "store",
    "open_yuv_video": "sources",
    "p010": "yuv",
}
"""Module of each public name."""

__all__ = [
    "BackendUnavailable",
    "BusyError",
    "ClosedError",
    "Counters",
    "DeviceCallError",
    "DeviceFrame",
    "Engine",
    "Frame",
    "GazeTrack",
    "KernelBuildError",
    "LookError",
    "ModelError",
    "SourceError",
    "StoreError",
    "SubmitReport",
    "TextureSpec",
    "TexvlmError",
    "TokenBatch",
    "TokenWriter",
    "YuvFrame",
    "__version__",
    "as_frame",
    "make_layout",
    "nv12",
    "open_features",
    "open_source",
    "open_tokens",
    "open_yuv_video",
    "p010",
]


def __getattr__(name: str) -> Any:
    """Load a public name's module when it is first asked for."""
    if name not in _HOME:
        raise AttributeError(f"module 'texvlm' has no attribute {name!r}; it has {', '.join(__all__)}")
    value = getattr(import_module(f"texvlm.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
