"""The CUDA device that tests run on where there is none: the same kernels, compiled for the host."""

from __future__ import annotations

from pathlib import Path

from cuda_host.compiler import HostCompiler, find_gxx
from cuda_host.driver import HostDriver

from texvlm.errors import BackendUnavailable


def open_host_device(
    *, sources: Path | None = None, late_streams: bool = False, backwards: bool = False, fused: bool = False
) -> tuple[HostDriver, HostCompiler]:
    """A fresh device and a compiler for it. See HostDriver and HostCompiler for the options.

    Raises:
        BackendUnavailable: there is no g++; fixtures pass the reason on to `unavailable("cuda-host", ...)`.
    """
    gxx = find_gxx()
    if gxx is None:
        raise BackendUnavailable("no g++ was found; install it (Debian/Ubuntu: apt install g++), or name it in CXX")
    return HostDriver(late_streams=late_streams, backwards=backwards), HostCompiler(gxx, sources=sources, fused=fused)
