"""Backends: texture arrays on one device each, behind the verbs of `base.Backend`.

`open_backend` is the only place that knows them by name and that reads texvlm's environment variable. They are
tried in the order cuda, gl (only on a hardware renderer), cpu; every refusal keeps its reason.
Rejected: choosing by a guess from the platform's name (a container with a GPU and no driver files
looks the same), and falling back silently (a user would measure the wrong device).
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from dataclasses import dataclass

from texvlm.backends.base import Backend, Filtering
from texvlm.errors import BackendUnavailable

BACKENDS = ("cuda", "gl", "cpu")
"""In the order in which they are tried."""

SHARED = ("cuda-gl-resident", "cuda-gl-epochs")
"""CUDA on arrays that OpenGL owns; only on request, since mapping costs and most users show nothing."""

_log = logging.getLogger("texvlm")


@dataclass(frozen=True, slots=True)
class Choice:
    """An opened backend, and why each one tried before it was refused."""

    backend: Backend
    refusals: tuple[str, ...] = ()


def open_backend(name: str = "auto", *, filtering: Filtering = "hardware") -> Choice:
    """Open a backend by name, or the best that this machine has.

    Args:
        name: "auto", "cuda", "gl", "cpu", or one of SHARED. "auto" may be overridden by the environment
            variable TEXVLM_BACKEND. An explicit "gl" also takes a software renderer.
        filtering: of the cuda backends; the others always filter exactly.
    Raises:
        ValueError: no such backend.
        BackendUnavailable: it cannot be had; says what was tried and what to install.
    """
    said_by = ""
    if name == "auto" and "TEXVLM_BACKEND" in os.environ:
        name, said_by = os.environ["TEXVLM_BACKEND"], " (from TEXVLM_BACKEND)"
    if name != "auto" and name not in _OPENERS:
        raise ValueError(f"backend {name!r}{said_by}; accepted: 'auto', {', '.join(map(repr, _OPENERS))}")
    if filtering not in ("hardware", "exact"):
        raise ValueError(f"filtering is {filtering!r}; accepted: 'hardware', 'exact'")
    refusals: list[str] = []
    for candidate in BACKENDS if name == "auto" else (name,):
        try:
            backend = _OPENERS[candidate](name == "auto", filtering)
        except BackendUnavailable as refusal:
            refusals.append(f"{candidate}: {refusal}")
            continue
        except Exception as failure:
            if name != "auto":
                raise
            # a broken driver must not take down a machine whose cpu backend works
            refusals.append(f"{candidate}: {type(failure).__name__}: {failure}")
            continue
        _log.info("backend %s; refused: %s", candidate, "; ".join(refusals) or "none")
        return Choice(backend, tuple(refusals))
    raise BackendUnavailable("; ".join(refusals))


def _open_cuda(automatic: bool, filtering: Filtering) -> Backend:
    from texvlm.backends.cuda.opening import open_cuda

    return open_cuda(filtering=filtering)


def _open_resident(automatic: bool, filtering: Filtering) -> Backend:
    from texvlm.backends.cuda.gl_backend import open_cuda_gl

    return open_cuda_gl(mapping="resident", filtering=filtering)


def _open_epochs(automatic: bool, filtering: Filtering) -> Backend:
    from texvlm.backends.cuda.gl_backend import open_cuda_gl

    return open_cuda_gl(mapping="epochs", filtering=filtering)


def _open_gl(automatic: bool, filtering: Filtering) -> Backend:
    from texvlm.backends.gl import open_headless

    return open_headless(hardware_only=automatic)


def _open_cpu(automatic: bool, filtering: Filtering) -> Backend:
    from texvlm.backends.cpu import CpuBackend

    return CpuBackend()


_OPENERS: dict[str, Callable[[bool, Filtering], Backend]] = {
    "cuda": _open_cuda,
    "gl": _open_gl,
    "cpu": _open_cpu,
    "cuda-gl-resident": _open_resident,
    "cuda-gl-epochs": _open_epochs,
}
