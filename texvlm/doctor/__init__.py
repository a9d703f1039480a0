"""What this machine has and lacks: versions, drivers, backends, and a small test of each that works.

`diagnose` tries everything that `open_backend` would try, once, and keeps each refusal with its
reason and what would mend it. Nothing here prints, and nothing raises because something is missing.
"""

from __future__ import annotations

import ctypes
import os
import platform
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from texvlm.doctor.findings import Finding
from texvlm.errors import BackendUnavailable, TexvlmError

SELF_TEST_SIZE = (64, 64)
SELF_TEST_TOLERANCE = 0.1
"""Greatest difference between two backends' tokens, in 1/255."""

_SOFTWARE_ADVICE = "an NVIDIA GPU is here, but OpenGL renders on the CPU: the driver's graphics libraries are missing"
_CACHE_ADVICE = "export NUMBA_CACHE_DIR=<a folder that can be written>  # every run compiles for seconds without it"

TRANSFORMERS = ((5, 23), (6, 0))
"""Versions of transformers that the extra `hf` asks for: the first, and the first that is too new."""

LIBRARIES = (
    "torch",
    "numba",
    "numpy",
    "av",
    "safetensors",
    "pydantic",
    "typer",
    "rich",
    "transformers",
    "nvtx",
)


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """Everything found on this machine.

    Attributes:
        versions: of Python, the system, and each library; None for one that is not installed.
        findings: threads, models, profiler, kernel cache.
        cuda: what the cuda backend needs, one by one.
        backends: cuda, gl, cpu: usable or not, and why.
        devices: what EGL and the NVIDIA driver offer, in words.
        automatic: the backend that "auto" takes; None when none works.
        refusals: what "auto" left out, and why.
        self_tests: for each usable backend the tokens of a small frame against the cpu backend's.
    """

    versions: dict[str, str | None]
    findings: list[Finding]
    backends: list[Finding]
    devices: list[str]
    automatic: str | None
    refusals: tuple[str, ...]
    self_tests: list[Finding] = field(default_factory=list)
    cuda: list[Finding] = field(default_factory=list)

    @property
    def usable(self) -> bool:
        """At least one backend works."""
        return any(test.state == "ok" for test in self.self_tests)


def diagnose() -> Diagnosis:
    """Look at everything. Takes seconds on a machine that never compiled the kernels."""
    backends, tokens = _try_backends()
    automatic, refusals = _automatic()
    return Diagnosis(
        versions=_versions(),
        findings=[_threading(), _models(), _flow(), _viewer(), _web(), _nvtx(), _kernel_cache()],
        backends=backends,
        devices=_devices(),
        automatic=automatic,
        refusals=refusals,
        self_tests=_compare(tokens),
        cuda=_cuda(),
    )


# ---------------------------------------------------------------- versions


def _versions() -> dict[str, str | None]:
    from texvlm import __version__

    found: dict[str, str | None] = {
        "texvlm": __version__,
        "python": sys.version.split()[0],
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "cores": str(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()),
    }
    for name in LIBRARIES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = None
    found["FFmpeg"] = _ffmpeg_version()
    return found


def _ffmpeg_version() -> str | None:
    try:
        import av
    except ImportError:
        return None
    return str(getattr(av, "ffmpeg_version_info", None) or av.library_versions.get("libavcodec"))


# ---------------------------------------------------------------- backends


def _try_backends() -> tuple[list[Finding], dict[str, NDArray[np.float32] | str]]:
    """A finding for each backend, and for each usable one the tokens of the test frame, or why there are none."""
    from texvlm.backends import BACKENDS

    findings: list[Finding] = []
    tokens: dict[str, NDArray[np.float32] | str] = {}
    for name in BACKENDS:
        try:
            detail, tokens[name] = _self_test(name)
        except BackendUnavailable as refusal:
            tokens.pop(name, None)
            findings.append(Finding(name, "missing", str(refusal).removeprefix(f"{name}: "), _ADVICE[name]()))
        except Exception as error:  # a doctor does not die of what it examines
            tokens[name] = f"{type(error).__name__}: {error}"
            findings.append(Finding(name, "failed", str(tokens[name]), _ADVICE[name]()))
        else:
            slow = "software True" in detail and bool(_nvidia_devices())
            findings.append(Finding(name, "ok", detail, (_SOFTWARE_ADVICE, *_gl_advice()) if slow else ()))
    return findings, tokens


def _self_test(name: str) -> tuple[str, NDArray[np.float32]]:
    """The backend in words, and the tokens that it makes of a small frame in two steps."""
    from texvlm.engine import Engine

    width, height = SELF_TEST_SIZE
    frame = np.random.default_rng(1).integers(0, 256, (height, width, 3), np.uint8)
    with Engine(SELF_TEST_SIZE, layout="quadtree", tokens=16, patch=8, backend=name, threshold=0) as engine:
        engine.submit(np.zeros_like(frame))
        engine.tokens((0.4, 0.6))
        engine.submit(frame)
        pixels: NDArray[np.float32] = engine.tokens((0.4, 0.6)).pixels.cpu().numpy()
        words = {key: value for key, value in engine.describe().items() if isinstance(value, str | int | bool)}
    return _in_words(words), pixels


def _in_words(described: dict[str, Any]) -> str:
    """A backend's own description on one line, without what the engine added."""
    engine_facts = {"layout", "threshold", "dtype", "sources", "backend", "name"}
    return ", ".join(f"{key} {value}" for key, value in described.items() if key not in engine_facts) or "usable"


def _compare(tokens: dict[str, NDArray[np.float32] | str]) -> list[Finding]:
    """Each backend's tokens against the cpu backend's (or the first that worked)."""
    good = {name: pixels for name, pixels in tokens.items() if not isinstance(pixels, str)}
    base = "cpu" if "cpu" in good else next(iter(good), None)
    findings: list[Finding] = []
    for name, pixels in tokens.items():
        if isinstance(pixels, str):
            findings.append(Finding(name, "failed", pixels))
            continue
        if not np.isfinite(pixels).all():
            findings.append(Finding(name, "failed", "tokens that are not finite"))
            continue
        worst = 0.0 if base is None else float(np.abs(pixels - good[base]).max()) * 255
        what = "16 tokens of a 64 x 64 frame"
        if name != base:
            what += f"; worst difference to {base} {worst:.3f} / 255"
        if worst <= SELF_TEST_TOLERANCE:
            findings.append(Finding(name, "ok", what))
        else:
            advice = f"accepted is {SELF_TEST_TOLERANCE} / 255; use another backend and report this driver"
            findings.append(Finding(name, "failed", what, (advice,)))
    return findings


def _automatic() -> tuple[str | None, tuple[str, ...]]:
    """The backend that "auto" takes, TEXVLM_BACKEND included, and what it left out."""
    from texvlm.backends import open_backend

    try:
        choice = open_backend("auto")
    except BackendUnavailable as error:
        return None, (str(error),)
    except Exception as error:
        return None, (f"{type(error).__name__}: {error}",)
    choice.backend.close()
    return choice.backend.name, choice.refusals


# ---------------------------------------------------------------- drivers and surroundings


def _devices() -> list[str]:
    return [*_egl_devices(), *_nvidia_devices()]


def _egl_devices() -> list[str]:
    """Every device that EGL lists, and whether it says that it renders on the CPU."""
    try:
        from texvlm.backends._egl import load_egl

        devices = load_egl().devices()
    except (TexvlmError, ImportError, OSError):
        return []
    return [f"EGL {device.label}{' (software)' if device.software else ''}" for device in devices]


def _nvidia_devices() -> list[str]:
    """GPUs that the NVIDIA driver shows to this process; no CUDA package is needed to ask."""
    try:
        cuda = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return []
    count, version = ctypes.c_int(), ctypes.c_int()
    if cuda.cuInit(0) or cuda.cuDeviceGetCount(ctypes.byref(count)):
        return ["NVIDIA driver without a usable GPU"]
    cuda.cuDriverGetVersion(ctypes.byref(version))
    names = []
    for index in range(count.value):
        name = ctypes.create_string_buffer(128)
        if cuda.cuDeviceGetName(name, len(name), index) == 0:
            words = name.value.decode(errors="replace")
            names.append(f"NVIDIA {index}: {words}, CUDA {version.value // 1000}.{version.value % 1000 // 10}")
    return names


def _cuda() -> list[Finding]:
    from texvlm.doctor.cuda import examine_cuda

    return examine_cuda()


def _threading() -> Finding:
    """Numba's threading layer; known once a parallel kernel has run, which the self-test sees to."""
    import numba

    try:
        layer = numba.threading_layer()
    except ValueError:
        return Finding("threads", "failed", "no parallel kernel has run")
    return Finding("threads", "ok", f"Numba uses {numba.get_num_threads()} threads, layer {layer}")


def _models() -> Finding:
    """Whether the encoders have what they call: transformers, of the versions whose blocks they were written for."""
    use = "vision models (encode --model, classify, similar, texvlm.encoders)"
    advice = ('pip install "texvlm[hf]"',)
    try:
        version = metadata.version("transformers")
    except metadata.PackageNotFoundError:
        return Finding("models", "missing", f"no {use}", advice)
    numbers = tuple(int(part) if part.isdigit() else 0 for part in version.split(".")[:2])
    if not TRANSFORMERS[0] <= numbers < TRANSFORMERS[1]:
        accepted = " or newer, below ".join(".".join(map(str, bound)) for bound in TRANSFORMERS)
        return Finding("models", "failed", f"transformers {version}; {use} need {accepted}", advice)
    return Finding("models", "ok", f"transformers {version}, for {use}")


def _flow() -> Finding:
    """Whether flow can be measured that needs OpenCV; other motion sources need nothing."""
    from texvlm.errors import FlowUnavailable
    from texvlm.motion import DisFlow

    flat = np.zeros((16, 16), np.uint8)
    try:
        DisFlow().between(flat, flat)
    except FlowUnavailable:
        return Finding("optical flow", "missing", "no OpenCV", ('pip install "texvlm[flow]"',))
    except Exception as error:  # a library that is here and broken
        return Finding("optical flow", "failed", f"{type(error).__name__}: {error}".splitlines()[0])
    return Finding("optical flow", "ok", "dense inverse search of OpenCV")


def _viewer() -> Finding:
    from texvlm.doctor.viewer import examine_viewer

    return examine_viewer()


def _web() -> Finding:
    from texvlm.doctor.web import examine_web

    return examine_web()


def _nvtx() -> Finding:
    from texvlm.profiling import is_available

    if is_available():
        return Finding("nvtx", "ok", "ranges in the domain texvlm are shown by Nsight Systems")
    return Finding("nvtx", "missing", "no ranges for profilers", ('pip install "texvlm[profile]"',))


def _kernel_cache() -> Finding:
    """Where Numba keeps compiled kernels, so that only the first run on a machine compiles."""
    from texvlm.backends import _filter

    place = getattr(_filter.split_lod.stats, "cache_path", None)
    if not place:
        return Finding("kernel cache", "missing", "no folder can be written; kernels live in memory", (_CACHE_ADVICE,))
    folder = Path(place)
    files = list(folder.glob("*.nbc")) if folder.is_dir() else []
    size = sum(file.stat().st_size for file in files)
    if folder.is_dir() and not os.access(folder, os.W_OK):
        return Finding("kernel cache", "failed", f"{folder} cannot be written", (_CACHE_ADVICE,))
    return Finding("kernel cache", "ok", f"{len(files)} kernels, {size / 1e6:.1f} MB in {folder}")


# ---------------------------------------------------------------- what to do


def _cuda_advice() -> tuple[str, ...]:
    """Only where there is a GPU to use; the refusal itself says what is missing."""
    if not _nvidia_devices():
        return ()
    return ("an NVIDIA GPU is visible; the section cuda above says what is missing for it",)


def _gl_advice() -> tuple[str, ...]:
    from texvlm.backends._egl import PACKAGES

    lines = []
    if sys.platform == "linux":
        lines.append(f"Debian/Ubuntu: apt install {PACKAGES}")
        lines.append(
            "container on an NVIDIA GPU: start it with --gpus all "
            "-e NVIDIA_DRIVER_CAPABILITIES=compute,utility,graphics; "
            "/usr/share/glvnd/egl_vendor.d/10_nvidia.json must be there"
        )
        if _on_wsl():
            lines.append(
                "WSL2: install the GPU driver on Windows only, check that /dev/dxg and /usr/lib/wsl/lib are there, "
                "then use Mesa's d3d12 driver: export GALLIUM_DRIVER=d3d12"
            )
    else:
        lines.append("headless OpenGL is for Linux; use backend cpu here")
    return tuple(lines)


def _cpu_advice() -> tuple[str, ...]:
    return ("pip install --force-reinstall numba llvmlite",)


_ADVICE: dict[str, Callable[[], tuple[str, ...]]] = {"cuda": _cuda_advice, "gl": _gl_advice, "cpu": _cpu_advice}


def _on_wsl() -> bool:
    return "microsoft" in platform.release().lower()
