"""The OpenXR binding, loaded when it is needed, and what its failures mean here."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from texvlm.errors import DeviceCallError, HeadsetLost, HeadsetUnavailable

LOADER_LOG = "XR_LOADER_DEBUG"
"""Environment variable of the OpenXR loader: what it prints to stderr."""


def load_xr() -> Any:
    """The module of pyopenxr, which brings the loader.

    Raises:
        HeadsetUnavailable: it is not installed, or cannot be loaded here.
    """
    try:
        import xr
    except ModuleNotFoundError as missing:
        raise HeadsetUnavailable(
            f'OpenXR needs pyopenxr ({missing.name} is missing); pip install "texvlm[xr]"'
        ) from None
    except (ImportError, OSError, AttributeError, NotImplementedError) as error:
        raise HeadsetUnavailable(f"the OpenXR binding cannot be loaded here ({error}); see docs/xr.md") from error
    return xr


@contextmanager
def calling(xr: Any, doing: str) -> Iterator[None]:
    """Errors of the binding become this package's, in one line.

    Raises:
        HeadsetUnavailable: there is no runtime, or it has no headset.
        HeadsetLost: the session or the runtime is gone.
        DeviceCallError: any other failure.
    """
    try:
        yield
    except (xr.RuntimeUnavailableError, xr.RuntimeFailureError) as error:
        if isinstance(error, xr.RuntimeFailureError) and doing != OPENING:
            raise HeadsetLost(f"the OpenXR runtime failed while {doing}; open the headset anew") from error
        raise HeadsetUnavailable(
            "no OpenXR runtime; start the headset's (SteamVR, Monado) and make it the active one, or name its manifest "
            "in XR_RUNTIME_JSON"
        ) from error
    except (xr.FormFactorUnavailableError, xr.FormFactorUnsupportedError) as error:
        raise HeadsetUnavailable("the OpenXR runtime has no headset; connect one and wear it") from error
    except (xr.SessionLostError, xr.InstanceLostError, xr.SessionLossPending) as error:
        raise HeadsetLost(f"the headset was lost while {doing}; open it anew once its runtime is back") from error
    except xr.XrException as error:
        raise DeviceCallError(f"OpenXR failed while {doing}: {type(error).__name__}: {error}") from error


def check(xr: Any, result: Any) -> None:
    """Raise what the binding raises, for a function that was called without its wrapper."""
    checked = xr.check_result(xr.Result(result))
    if checked.is_exception():
        raise checked


OPENING = "opening the runtime"
"""What is being done when a failing runtime means that there is none."""


@contextmanager
def quiet_loader() -> Iterator[None]:
    """The loader prints nothing of its own, unless the environment asks for it: its errors are raised."""
    if LOADER_LOG in os.environ:
        yield
        return
    os.environ[LOADER_LOG] = "none"
    try:
        yield
    finally:
        del os.environ[LOADER_LOG]
