"""Compiled kernels, and how their arguments are packed.

Every kernel takes one structure by value, declared twice: in its .cu file and, as a NumPy record, beside
the code that launches it. The host passes the record's size as TEXVLM_ARGUMENT_BYTES and each
kernel file asserts it, so the two cannot drift apart unseen.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from texvlm.backends.cuda.api import Driver, Stream
from texvlm.profiling import profile_range

Definitions = tuple[tuple[str, int | str], ...]
"""Preprocessor definitions of one variant of a kernel: (name, value)."""

Dim = tuple[int, int, int]

_CATEGORIES = {"refresh": "upload", "build_tail": "mip"}
"""Category of a kernel's range, as `texvlm.profiling` names them; every other one serves the tokens."""


class Compiler(Protocol):
    """Turns a kernel file into an image that the driver loads."""

    def image(self, file: str, definitions: Definitions) -> bytes:
        """Machine code of one file under cuda/ for the running device.

        Raises:
            KernelBuildError: it does not compile; carries the compiler's log.
        """


@dataclass(frozen=True, slots=True)
class Kernel:
    """One variant of a kernel, ready to launch; `label` and `category` are what a profiler is told."""

    driver: Driver
    handle: int
    label: str
    category: str

    def launch(self, grid: Dim, block: Dim, arguments: np.ndarray[Any, Any], stream: Stream) -> None:
        """Queue it; `arguments` is a record array of one element, read before this returns."""
        with profile_range(self.label, self.category, grid[0] * grid[1] * grid[2]):
            self.driver.launch(self.handle, grid, block, arguments.ctypes.data, stream)


class Kernels:
    """Every variant that has been used, compiled and loaded once."""

    def __init__(self, driver: Driver, compiler: Compiler) -> None:
        self._driver = driver
        self._compiler = compiler
        self._programs: list[int] = []
        self._kernels: dict[tuple[str, Definitions], Kernel] = {}

    def get(self, file: str, definitions: Definitions, arguments: np.dtype[Any]) -> Kernel:
        """The entry point of cuda/<file>, which is named after the file ("refresh.cu": `refresh`)."""
        found = self._kernels.get((file, definitions))
        if found is None:
            complete = (*definitions, ("TEXVLM_ARGUMENT_BYTES", arguments.itemsize))
            program = self._driver.load_program(self._compiler.image(file, complete))
            self._programs.append(program)
            name = file.removesuffix(".cu")
            handle = self._driver.find_kernel(program, name)
            found = Kernel(self._driver, handle, f"launch {name}", _CATEGORIES.get(name, "sample"))
            self._kernels[file, definitions] = found
        return found

    def close(self) -> None:
        """Unload every program."""
        self._kernels.clear()
        with ExitStack() as steps:  # every one whatever fails
            while self._programs:
                steps.callback(self._driver.unload_program, self._programs.pop())
