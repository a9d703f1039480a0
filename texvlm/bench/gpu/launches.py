"""What was launched, and what of a multiprocessor it fills: the counts that explain a time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from math import prod
from typing import Any

from texvlm.backends.cuda.api import Driver
from texvlm.backends.cuda.compiler import NvrtcCompiler, ResourceUsage
from texvlm.backends.cuda.kernel_source import read_source
from texvlm.backends.cuda.kernels import Compiler, Definitions, Dim
from texvlm.bench.gpu.report import Launched

_REGISTERS = 65536
"""32-bit registers of a multiprocessor, on every architecture that is supported."""

_REGISTER_UNIT = 256
"""Registers are given to a warp in such portions."""

_WARPS = {75: 32, 80: 64, 86: 48, 87: 48, 89: 48, 90: 64, 100: 64, 103: 64, 110: 48, 120: 48, 121: 48}
"""Most warps of a multiprocessor, by architecture: "Technical Specifications per Compute Capability" of the
CUDA programming guide."""


@dataclass(slots=True)
class LaunchLog:
    """Sees every launch of a driver, and which file each kernel came from.

    Also a Compiler: give it to the backend in place of the one that it wraps.
    """

    driver: Driver
    compiler: Compiler
    kernels: dict[int, tuple[str, Definitions]] = field(default_factory=dict)
    seen: list[tuple[int, Dim, Dim]] = field(default_factory=list)
    _last: tuple[str, Definitions] | None = None
    _usage: dict[tuple[str, Definitions], ResourceUsage | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        launch, find = self.driver.launch, self.driver.find_kernel

        def seeing_launch(kernel: int, grid: Dim, block: Dim, arguments: int, stream: int) -> None:
            self.seen.append((kernel, grid, block))
            launch(kernel, grid, block, arguments, stream)

        def seeing_find(program: int, name: str) -> int:
            kernel = find(program, name)
            if self._last is not None:
                self.kernels[kernel] = self._last
            return kernel

        _replace(self.driver, "launch", seeing_launch)
        _replace(self.driver, "find_kernel", seeing_find)

    def image(self, file: str, definitions: Definitions) -> bytes:
        """See Compiler. What is loaded next comes from this file."""
        self._last = (file, definitions)
        return self.compiler.image(file, definitions)

    def of(self, call: Callable[[], object]) -> list[Launched]:
        """What one call launches."""
        self.seen.clear()
        call()
        seen = list(self.seen)
        self.seen.clear()
        return [self._describe(*one) for one in seen]

    def _describe(self, kernel: int, grid: Dim, block: Dim) -> Launched:
        file, definitions = self.kernels.get(kernel, ("unknown", ()))
        usage = self._usage_of(file, definitions)
        name = file.removesuffix(".cu")
        if usage is None:
            return Launched(kernel=name, grid=grid, block=block)
        info = self.driver.info
        most = _WARPS.get(int(info.architecture.removeprefix("sm_")))
        warps = resident_warps(usage.registers, prod(block), most) if most else None
        at_once = info.multiprocessors * warps // -(-prod(block) // 32) if warps else None
        return Launched(
            kernel=name,
            grid=grid,
            block=block,
            registers=usage.registers,
            spill_bytes=usage.spill_bytes,
            shared_bytes=usage.shared_bytes,
            warps=warps,
            most_warps=most,
            waves=round(prod(grid) / at_once, 2) if at_once else None,
        )

    def _usage_of(self, file: str, definitions: Definitions) -> ResourceUsage | None:
        """The assembler's report on a kernel, compiled once more for its log; None without NVRTC."""
        key = (file, definitions)
        if key not in self._usage:
            compiler = self.compiler
            known = isinstance(compiler, NvrtcCompiler) and compiler.target.is_machine_code and file != "unknown"
            self._usage[key] = compiler.build(read_source(file), definitions).usage if known else None  # type: ignore[attr-defined]
        return self._usage[key]


def resident_warps(registers: int, threads: int, most: int) -> int:
    """Warps of a multiprocessor that hold blocks at once, as far as registers and block size say.

    Args:
        registers: of each thread.
        threads: of a block.
        most: warps that a multiprocessor can hold.
    """
    warps = -(-threads // 32)
    of_a_warp = -(-registers * 32 // _REGISTER_UNIT) * _REGISTER_UNIT
    blocks = min(_REGISTERS // (of_a_warp * warps), most // warps)
    return blocks * warps


def _replace(driver: Any, name: str, function: Any) -> None:
    setattr(driver, name, function)
