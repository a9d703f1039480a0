"""The device that is measured: what it is, how it was running, and what a copy and a launch cost on it."""

from __future__ import annotations

import shutil
import subprocess

import torch

from texvlm.backends.cuda.api import Driver
from texvlm.backends.cuda.compiler import NvrtcCompiler
from texvlm.backends.cuda.kernels import Compiler
from texvlm.bench.gpu.report import Gpu
from texvlm.bench.gpu.timers import Timer

_ASKED = ("driver_version", "clocks.sm", "clocks.mem", "clocks.max.sm", "clocks.max.mem", "power.limit", "pstate")

LAUNCHES = 20
"""Launches in the graph that tells what one costs."""


def describe_gpu(driver: Driver, compiler: Compiler) -> Gpu:
    """What the device is, and its clocks where nvidia-smi tells them."""
    info = driver.info
    told = _nvidia_smi(driver.ordinal) if driver.device.type == "cuda" else {}
    return Gpu(
        name=info.name,
        architecture=info.architecture,
        memory_gib=round(info.memory_bytes / 2**30, 1),
        multiprocessors=info.multiprocessors,
        l2_mib=round(info.l2_bytes / 2**20, 1),
        cuda_driver=info.driver,
        driver=told.pop("driver_version", None),
        torch_cuda=torch.version.cuda,
        bindings=_bindings_version(),
        compiler=compiler.version if isinstance(compiler, NvrtcCompiler) else None,
        clocks=told,
        emulated=driver.device.type != "cuda",
    )


def _bindings_version() -> str | None:
    from texvlm.backends.cuda.bindings import load_bindings
    from texvlm.errors import BackendUnavailable

    try:
        return ".".join(map(str, load_bindings().version))
    except BackendUnavailable:
        return None


def _nvidia_smi(ordinal: int) -> dict[str, str]:
    """Driver version, clocks and power limit; empty without nvidia-smi.

    nvidia-smi counts all devices of the machine, CUDA only those that it may see: torch's identifier joins them.
    """
    if shutil.which("nvidia-smi") is None:
        return {}
    identifier = getattr(torch.cuda.get_device_properties(ordinal), "uuid", None)
    command = ["nvidia-smi", f"--query-gpu={','.join(_ASKED)}", "--format=csv,noheader"]
    if identifier is not None:
        command.append(f"--id=GPU-{identifier}")
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    lines = done.stdout.strip().splitlines()
    if done.returncode or not lines:
        return {}
    values = [value.strip() for value in lines[0].split(",")]
    return dict(zip(_ASKED, values, strict=True)) if len(values) == len(_ASKED) else {}


def bandwidths(device: torch.device, timer: Timer, *, large: int, frame: int) -> dict[str, float]:
    """Copy bandwidth, GB/s: inside the device, read and written both counted, and from page-locked host memory.

    Args:
        device: which.
        timer: measures.
        large: bytes copied inside the device; more than its caches hold.
        frame: bytes copied from the host: those of a frame.
    """
    source = torch.ones(large, dtype=torch.uint8, device=device)
    inside = timer.copy_bytes_per_s(source, torch.empty_like(source), 2 * large)
    host = torch.ones(frame, dtype=torch.uint8, pin_memory=device.type == "cuda")
    from_host = timer.copy_bytes_per_s(host, torch.empty(frame, dtype=torch.uint8, device=device), frame)
    return {"device": round(inside / 1e9, 2), "host_to_device": round(from_host / 1e9, 3)}


def launch_us(device: torch.device, timer: Timer) -> float:
    """Microseconds that one more launch adds to a graph: a kernel that adds 1 to one number, many times over."""
    number = torch.zeros(1, device=device)
    measured = timer.measure([lambda: number.add_(1)] * LAUNCHES)
    return round((measured.gpu or measured.wall).median_ms * 1e3, 3)
