"""A kernel file compiled for the host: finding its entry point, and running it."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
from collections.abc import Callable
from ctypes import POINTER, byref, c_char, c_int, c_uint, c_uint64, c_void_p
from dataclasses import dataclass
from typing import Any

from cuda_host.images import ImageRecord, ImageTable

Dim = tuple[int, int, int]
_MAX_THREADS = 1024


class _Launch(ctypes.Structure):
    """Mirrors Launch in runtime.h."""

    _fields_ = (
        ("objects", POINTER(POINTER(ImageRecord))),
        ("object_count", c_uint64),
        ("stacks", POINTER(c_void_p)),
        ("outside_reads", c_uint64),
        ("outside_writes", c_uint64),
        ("backwards", c_uint64),
        ("fault", c_uint64),
        ("message", c_char * 1024),
    )


@dataclass(frozen=True, slots=True)
class HostKernel:
    """An entry point.

    Attributes:
        program: handle of the program that it belongs to.
        name: of the kernel.
        argument_bytes: size of its one argument.
        run: the function that loops over blocks and threads.
        path: of the library.
    """

    program: int
    name: str
    argument_bytes: int
    run: Callable[..., int]
    path: str


def find_kernel(library: ctypes.CDLL, program: int, name: str) -> HostKernel | None:
    """An entry point of a loaded library, or None."""
    try:
        size, address = library[f"host_bytes_{name}"], library[f"host_launch_{name}"]
    except AttributeError:
        return None
    size.restype, size.argtypes = c_uint, ()
    # keeps the GIL: the emulation's state is one for the whole program
    prototype = ctypes.PYFUNCTYPE(c_int, POINTER(_Launch), POINTER(c_uint), POINTER(c_uint), c_void_p)
    return HostKernel(program, name, size(), prototype(ctypes.cast(address, c_void_p).value or 0), library._name)


def load_library(image: bytes) -> ctypes.CDLL:
    """What HostCompiler made. OSError when there is no such file."""
    return ctypes.CDLL(os.fsdecode(image))


class Launcher:
    """Runs kernels over one table of objects.

    Attributes:
        outside_reads: surface reads beyond their array, in Zero mode.
        outside_writes: surface writes beyond their array, in Zero mode.
    """

    _stacks: Any = (c_void_p * _MAX_THREADS)()  # shared by all: only the thread with the GIL runs kernels

    def __init__(self, images: ImageTable, *, backwards: bool) -> None:
        self._images = images
        self._state = _Launch(ctypes.cast(images.slots, POINTER(POINTER(ImageRecord))), 0, self._stacks)
        self._state.backwards = backwards

    @property
    def outside_reads(self) -> int:
        """Counted since the start."""
        return int(self._state.outside_reads)

    @property
    def outside_writes(self) -> int:
        """Counted since the start."""
        return int(self._state.outside_writes)

    def run(self, kernel: HostKernel, grid: Dim, block: Dim, arguments: bytes) -> str | None:
        """Run a kernel to its end; what went wrong, or None."""
        self._state.object_count, self._state.fault = self._images.used, 0
        failed = kernel.run(byref(self._state), (c_uint * 3)(*grid), (c_uint * 3)(*block), arguments)
        if not failed:
            return None
        where = f" ({_line_at(kernel.path, self._state.fault)})" if self._state.fault else ""
        return self._state.message.decode(errors="replace") + where


def _line_at(path: str, offset: int) -> str:
    """File and line of a place in a library, as well as the tools here can tell."""
    tool = shutil.which("addr2line")
    if tool is None:
        return f"{path}+{offset:#x}"
    command = [tool, "-i", "-s", "-e", path, f"{offset:#x}"]  # -i: from the innermost inlined function outwards
    return " in ".join(subprocess.run(command, capture_output=True, text=True, check=False).stdout.split("\n")[:-1])
