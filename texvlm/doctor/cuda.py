"""What the cuda backend needs, looked at one by one: each line says what is there, or what to install.

Works without a GPU, without cuda-bindings and without a driver; later parts that need earlier ones are
left out. Only the interop probe makes contexts and runs something.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from texvlm.backends._egl import load_egl
from texvlm.backends.cuda.bindings import Bindings, compare_with_torch, load_bindings
from texvlm.backends.cuda.compiler import NvrtcCompiler
from texvlm.backends.cuda.device_info import driver_version, read_info, version_words
from texvlm.doctor.findings import Finding, State
from texvlm.errors import BackendUnavailable, TexvlmError

_ANY_ARCHITECTURE = "sm_80"
"""The compiler is only asked for its version and its folder."""

_DRIVER_ADVICE = (
    "where there is an NVIDIA GPU: install its driver; in a container: start it with --gpus all",
    "nvidia-smi shows what the driver sees",
)


def examine_cuda() -> list[Finding]:
    """Bindings, compiler, driver, torch, devices, compiled kernels, and OpenGL beside them."""
    try:
        bindings = load_bindings()
    except BackendUnavailable as refusal:
        return [Finding("cuda-bindings", _state_of(refusal), str(refusal))]
    found = [
        Finding("cuda-bindings", "ok", ".".join(map(str, bindings.version))),
        *_guarded("NVRTC", lambda: _compiler(bindings)),
        *_guarded("torch for CUDA", lambda: _torch(bindings)),
        *_guarded("NVIDIA driver", lambda: _driver(bindings)),
    ]
    ordinals = _count(bindings)
    for ordinal in range(ordinals):
        found += _guarded(f"CUDA device {ordinal}", lambda ordinal=ordinal: _device(bindings, ordinal))  # type: ignore[misc]
    if ordinals:
        found += _guarded("EGL and CUDA", lambda: _egl(ordinals))
        found += _guarded("OpenGL interop", _interop)
    return found


def _guarded(name: str, look: Callable[[], list[Finding]]) -> list[Finding]:
    """What a look finds; a refusal or a failure of it is a finding, too."""
    try:
        return look()
    except BackendUnavailable as refusal:
        return [Finding(name, "missing", str(refusal))]
    except Exception as error:  # a doctor does not die of what it examines
        words = str(error) if isinstance(error, TexvlmError) else f"{type(error).__name__}: {error}"
        return [Finding(name, "failed", words)]


def _state_of(refusal: BackendUnavailable) -> State:
    return "missing" if "cannot be imported" in str(refusal) else "failed"


def _compiler(bindings: Bindings) -> list[Finding]:
    """NVRTC, and where the kernels that it compiled are kept."""
    compiler = NvrtcCompiler(_ANY_ARCHITECTURE, bindings=bindings)
    return [Finding("NVRTC", "ok", compiler.version), _kernel_folder(compiler.folder)]


def _kernel_folder(folder: Path) -> Finding:
    advice = ("export TEXVLM_CACHE=<a folder that can be written>  # every run compiles for seconds without it",)
    if not folder.is_dir():
        return Finding("CUDA kernels", "ok", f"none compiled yet; they will be kept in {folder}")
    files = [file for file in folder.iterdir() if file.is_file()]
    size = sum(file.stat().st_size for file in files)
    if not os.access(folder, os.W_OK):
        return Finding("CUDA kernels", "failed", f"{folder} cannot be written", advice)
    return Finding("CUDA kernels", "ok", f"{len(files)} compiled, {size / 1e6:.1f} MB in {folder}")


def _torch(bindings: Bindings) -> list[Finding]:
    import torch

    compare_with_torch(bindings)
    return [Finding("torch for CUDA", "ok", f"torch {torch.__version__}, CUDA {torch.version.cuda}")]


def _driver(bindings: Bindings) -> list[Finding]:
    version = driver_version(bindings)
    if not version:
        return [Finding("NVIDIA driver", "missing", "no libcuda is found", _DRIVER_ADVICE)]
    return [Finding("NVIDIA driver", "ok", f"supports CUDA {version_words(version)}")]


def _count(bindings: Bindings) -> int:
    """Devices that CUDA shows; why there are none is the cuda backend's own refusal."""
    result = bindings.runtime.cudaGetDeviceCount()
    if result[0]:
        bindings.runtime.cudaGetLastError()
        return 0
    return int(result[1])


def _device(bindings: Bindings, ordinal: int) -> list[Finding]:
    info = read_info(bindings, ordinal)
    detail = (
        f"{info.name}, {info.architecture}, {info.memory_bytes / 2**30:.0f} GiB, "
        f"{info.multiprocessors} multiprocessors, {info.l2_bytes / 2**20:.0f} MiB of second-level cache"
    )
    return [Finding(f"CUDA device {ordinal}", "ok", detail)]


def _egl(count: int) -> list[Finding]:
    """Which of EGL's devices says that it is which CUDA device."""
    egl = load_egl()
    pairs = {device.label: egl.cuda_ordinal(device) for device in egl.devices()}
    words = ", ".join(
        f"EGL {label} is {'no CUDA device' if ordinal is None else f'CUDA device {ordinal}'}"
        for label, ordinal in pairs.items()
    )
    if {ordinal for ordinal in pairs.values() if ordinal is not None} >= set(range(count)):
        return [Finding("EGL and CUDA", "ok", words)]
    advice = (
        "the driver's graphics libraries are missing: in a container set "
        "NVIDIA_DRIVER_CAPABILITIES=compute,utility,graphics; egl_vendor.d/10_nvidia.json must be there",
        "with CUDA_VISIBLE_DEVICES set, EGL may name other ordinals; what CUDA says of a context counts",
    )
    return [Finding("EGL and CUDA", "missing", words or "EGL lists no device", advice)]


def _interop() -> list[Finding]:
    """Whether OpenGL and CUDA really see each other's texels on torch's current device."""
    from texvlm.backends.cuda.gl_context import open_headless_for, probe_interop
    from texvlm.backends.cuda.kernels import Kernels
    from texvlm.backends.cuda.opening import open_driver
    from texvlm.backends.gl import GlBackend

    driver = open_driver()
    try:
        context = open_headless_for(driver)
        owner = GlBackend(context)
        kernels = Kernels(driver, NvrtcCompiler(driver.info.architecture))
        try:
            probe_interop(driver, kernels, context, owner)
        finally:
            kernels.close()
            owner.close()
    finally:
        driver.close()
    detail = f"CUDA device {driver.ordinal} and {context.info.renderer} see each other's texels"
    return [Finding("OpenGL interop", "ok", detail)]
