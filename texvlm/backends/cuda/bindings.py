"""cuda-bindings: the only module that imports it, and what its calls' results mean.

The bindings return errors instead of raising them: (code, value, ...). Every call goes through
`Bindings.check`, so that no code is dropped.
"""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass
from typing import Any, Final

import torch

from texvlm.errors import BackendUnavailable, DeviceCallError

_log = logging.getLogger("texvlm")

NO_MEMORY = 2
NOT_READY = 600
NO_DEVICE = 100
INSUFFICIENT_DRIVER = 35
CAPTURE_IMPLICIT = 906

OLDEST = ((12, 9, 4), (13, 0, 3))
"""Oldest cuda-bindings of each CUDA major version that works: before these, in 12.9.3 and 13.0.0..13.0.2 among
them, graphics calls report success and hand over a null handle."""

_CAUSES: Final = {
    1: "a value that this device or format does not take",
    35: "the NVIDIA driver is missing, or older than cuda-bindings needs",
    100: "no NVIDIA GPU is visible to this process",
    101: "a device number beyond those that CUDA sees, or an OpenGL context on another GPU",
    200: "the kernel image is damaged; delete the kernel cache",
    208: "the texture is still mapped; unmap it first",
    209: "kernels were compiled for another GPU architecture; delete the kernel cache",
    219: "the OpenGL context is not current on this thread",
    222: "the compiler is newer than the driver; update the driver or install an older NVRTC",
    304: "the OpenGL context is not on the NVIDIA driver (software renderer, other GPU, WSL2 or remote desktop)",
    400: "a handle of something that was destroyed, or that belongs to another device",
    700: "an earlier kernel touched memory outside its arrays; the device is lost to this process",
    701: "the block needs more registers or shared memory than a multiprocessor has",
    719: "an earlier kernel failed; the device is lost to this process",
    801: "this driver or cluster cannot share this kind of OpenGL texture",
    900: "the stream is being captured into a graph, or is the default stream, which cannot be",
    901: "a call that is not allowed while a graph is captured spoiled the capture",
    904: "streams joined the capture and were not joined back",
    906: "work for the default stream while another stream is being captured",
    999: "a GPU of another maker renders (hybrid graphics, VirtualGL), or the driver needs a restart",
}
"""Likely causes of error codes, which the runtime and the driver interface share."""

_CAUSES_OF_CALL: Final = {
    ("cudaGraphicsGLRegisterImage", 1): (
        "the texture's format is not shared with CUDA (accepted: 1, 2 or 4 channels of 8 or 16 bits or float, "
        "no sRGB or RGB8), or its storage is incomplete"
    ),
    ("cudaGraphicsMapResources", 999): "the texture is mapped already",
    ("cudaGraphicsUnmapResources", 999): "the texture is not mapped",
    ("cudaGraphicsMapResources", 400): "a texture is named twice, or was unregistered",
}


@dataclass(frozen=True, slots=True)
class Bindings:
    """The parts of cuda-bindings that are used.

    Attributes:
        runtime: module cuda.bindings.runtime.
        driver: module cuda.bindings.driver; kernels and their arguments, which the runtime part lacks.
        nvrtc: module cuda.bindings.nvrtc.
        version: such as (13, 0, 3).
    """

    runtime: Any
    driver: Any
    nvrtc: Any
    version: tuple[int, ...]

    @property
    def extra(self) -> str:
        """What brings these bindings and their compiler: the name of texvlm's extra."""
        return "cuda12" if self.version[0] == 12 else "cuda"

    def check(self, call: str, result: tuple[Any, ...]) -> Any:
        """Value of a call, None for one without; a tuple where there are several.

        Raises:
            MemoryError: the device, or the host for pinned memory, has no room.
            DeviceCallError: any other failure, with its likely cause.
        """
        if result[0]:  # an integer, 0 on success; slower tests would show in the time of a launch
            raise self._failure(call, result[0])
        if len(result) == 2:
            return result[1]
        return result[1:] or None

    def _failure(self, call: str, code: Any) -> Exception:
        number = int(code)
        words = f"{call}: {number} {getattr(code, 'name', 'unknown error')}"
        if call.startswith("cuda"):
            self.runtime.cudaGetLastError()  # kept until read: a later caller would take it for its own
        if number == NO_MEMORY:
            return MemoryError(f"{words}; make textures smaller or fewer, or free memory of this GPU")
        cause = _CAUSES_OF_CALL.get((call, number), _CAUSES.get(number))
        return DeviceCallError(f"{words}; likely cause: {cause}" if cause else words)


def load_bindings() -> Bindings:
    """Import cuda-bindings and see that this version works.

    Raises:
        BackendUnavailable: it is missing, broken, or of a version that does not work; says what to install.
    """
    try:
        import cuda.bindings
        from cuda.bindings import driver, nvrtc, runtime
    except ImportError as error:
        raise BackendUnavailable(f"cuda-bindings cannot be imported ({error}); {_advice()}") from None
    text = str(getattr(cuda.bindings, "__version__", "0"))
    return Bindings(runtime, driver, nvrtc, check_version(text))


def check_version(text: str) -> tuple[int, ...]:
    """Version of cuda-bindings as numbers.

    Raises:
        BackendUnavailable: a version whose graphics calls do nothing, or one that is too old.
    """
    version = tuple(int(number) for number in re.findall(r"\d+", text)[:3])
    oldest = next((known for known in OLDEST if known[0] == version[0]), OLDEST[0]) if version else OLDEST[0]
    if version < oldest:
        accepted = " or ".join(".".join(map(str, known)) for known in OLDEST)
        raise BackendUnavailable(
            f"cuda-bindings {text} is too old or has its graphics calls disabled; accepted: {accepted} and newer "
            f"of these; {_advice()}"
        )
    return version


def cuda_of_torch() -> str:
    """Version of CUDA that torch is built for, such as "13.0".

    Raises:
        BackendUnavailable: torch was built without CUDA.
    """
    if torch.version.cuda is None:
        raise BackendUnavailable(f"torch {torch.__version__} was built without CUDA; install a CUDA build of torch")
    return torch.version.cuda


def compare_with_torch(bindings: Bindings) -> None:
    """Log a line when torch was built for another major version of CUDA than the bindings.

    They work together where the driver is new enough for both: they share its context.

    Raises:
        BackendUnavailable: torch was built without CUDA.
    """
    built_for = cuda_of_torch()
    if int(built_for.split(".")[0]) != bindings.version[0]:
        version = ".".join(map(str, bindings.version))
        _log.warning("torch is built for CUDA %s, cuda-bindings is %s: %s", built_for, version, _advice())


def _advice() -> str:
    """The command that brings bindings for torch's major version of CUDA."""
    twelve = (torch.version.cuda or "").startswith("12.")
    return f'pip install "texvlm[{"cuda12" if twelve else "cuda"}]"'
