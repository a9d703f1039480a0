"""Finding the GPU, or the one line that says why there is none."""

from __future__ import annotations

import os

import torch

from texvlm.backends.base import Filtering
from texvlm.backends.cuda.backend import CudaBackend
from texvlm.backends.cuda.bindings import (
    INSUFFICIENT_DRIVER,
    NO_DEVICE,
    Bindings,
    compare_with_torch,
    cuda_of_torch,
    load_bindings,
)
from texvlm.backends.cuda.compiler import NvrtcCompiler
from texvlm.backends.cuda.device_info import compute_capability, driver_version, version_words
from texvlm.backends.cuda.driver import CudaDriver
from texvlm.backends.cuda.host_policy import HostDetection, HostPolicy
from texvlm.errors import BackendUnavailable, DeviceCallError

OLDEST_CAPABILITY = (7, 5)
"""Turing: the oldest architecture that every supported compiler still knows."""


def open_cuda(
    ordinal: int | None = None,
    *,
    filtering: Filtering = "hardware",
    detect_host_frames: HostDetection | HostPolicy = "auto",
) -> CudaBackend:
    """A backend on a GPU whose arrays CUDA owns.

    Args:
        ordinal: the device's number among those that CUDA sees; None for torch's current one.
        filtering: "hardware" for the texture units, "exact" for 32-bit arithmetic on fetched texels.
        detect_host_frames: who compares packed frames from host memory: "host", "device", or "auto"; see `host_policy`.
    Raises:
        BackendUnavailable: there is no usable GPU, driver, torch or cuda-bindings; says which, and what to do.
    """
    policy = HostPolicy.of(detect_host_frames)
    driver = open_driver(ordinal)
    return CudaBackend(driver, NvrtcCompiler(driver.info.architecture), filtering=filtering, detect_host_frames=policy)


def open_driver(ordinal: int | None = None, *, bindings: Bindings | None = None) -> CudaDriver:
    """The driver of one GPU.

    Args:
        ordinal: its number among the devices that CUDA sees; None for torch's current device.
        bindings: cuda-bindings as loaded; None to load them.
    Raises:
        BackendUnavailable: there is no usable GPU, driver, torch or cuda-bindings; says which, and what to do.
    """
    cuda_of_torch()  # first: without it nothing else is worth installing
    bindings = bindings or load_bindings()
    compare_with_torch(bindings)
    count = _count_devices(bindings)
    try:
        current = torch.cuda.current_device()  # makes torch start CUDA, too
        ordinal = current if ordinal is None else ordinal
        if not 0 <= ordinal < count:
            raise BackendUnavailable(f"no CUDA device {ordinal}; this process sees {count}, counted from 0{_hidden()}")
        _check_age(bindings, ordinal)
        return CudaDriver(bindings, ordinal)
    except (DeviceCallError, MemoryError, RuntimeError, AssertionError) as failure:  # torch raises the last two
        raise BackendUnavailable(f"CUDA device {ordinal} cannot be used: {failure}") from failure


def _count_devices(bindings: Bindings) -> int:
    """How many devices there are; a reason where there are none."""
    result = bindings.runtime.cudaGetDeviceCount()
    if result[0] == INSUFFICIENT_DRIVER:
        version = driver_version(bindings)
        if version == 0:
            raise BackendUnavailable(
                "no NVIDIA driver (libcuda) is found; install it, or start the container with --gpus all"
            )
        needed = ".".join(map(str, bindings.version[:2]))
        older = ', or pip install "texvlm[cuda12]"' if version // 1000 == 12 else ""
        raise BackendUnavailable(
            f"the NVIDIA driver supports CUDA {version_words(version)}, cuda-bindings is made for {needed}; "
            f"update the driver{older}"
        )
    if result[0] == NO_DEVICE:
        raise BackendUnavailable(f"the NVIDIA driver shows no GPU to this process{_hidden()}")
    try:
        count = int(bindings.check("cudaGetDeviceCount", result))
    except DeviceCallError as failure:
        raise BackendUnavailable(f"the NVIDIA driver does not start: {failure}") from failure
    if count == 0:
        raise BackendUnavailable(f"the NVIDIA driver shows no GPU to this process{_hidden()}")
    return count


def _check_age(bindings: Bindings, ordinal: int) -> None:
    capability = compute_capability(bindings, ordinal)
    if capability < OLDEST_CAPABILITY:
        oldest = "sm_{}{}".format(*OLDEST_CAPABILITY)
        raise BackendUnavailable(
            "CUDA device {} is of architecture sm_{}{}; accepted: {} (Turing) and newer".format(
                ordinal, *capability, oldest
            )
        )


def _hidden() -> str:
    """A word about the variable that hides devices, where it is set."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    return "" if visible is None else f" (CUDA_VISIBLE_DEVICES={visible!r})"
