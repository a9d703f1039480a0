"""NVRTC: kernel files to machine code for one GPU, kept on disk. Needs no GPU itself.

Machine code is made for the GPU's own architecture, or for the newest one of its family that NVRTC
knows. For a GPU that is newer than the compiler, PTX is made, which the driver finishes.

Products are not fused with sums (--fmad=false): every kernel then computes what the same text
computes on a host, which is how the kernels are tested where there is no GPU, and tables planned on
the device can equal those planned by NumPy.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from texvlm.backends.cuda.bindings import Bindings, load_bindings
from texvlm.backends.cuda.image_cache import ImageCache, default_folder
from texvlm.backends.cuda.kernel_source import KernelSource, read_source
from texvlm.backends.cuda.kernels import Definitions
from texvlm.errors import BackendUnavailable, KernelBuildError

OPTIONS = ("-std=c++17", "--fmad=false", "-lineinfo", "-Xptxas=-v")

_USAGE = {
    "registers": r"Used (\d+) registers",
    "stack_bytes": r"(\d+) bytes stack frame",
    "spill_bytes": r"(\d+) bytes spill stores",
    "reload_bytes": r"(\d+) bytes spill loads",
}
_SHARED = r"(\d+) bytes smem"


@dataclass(frozen=True, slots=True)
class ResourceUsage:
    """What one kernel takes of a multiprocessor, as the assembler reports it.

    Attributes:
        registers: for each thread.
        stack_bytes: local memory of a thread: arrays that did not become registers.
        spill_bytes: written by a thread to local memory for want of registers.
        reload_bytes: read back.
        shared_bytes: for each block.
    """

    registers: int
    stack_bytes: int
    spill_bytes: int
    reload_bytes: int
    shared_bytes: int


@dataclass(frozen=True, slots=True)
class Target:
    """What the compiler is asked for.

    Attributes:
        architecture: NVRTC's name for it: "sm_90" for machine code, "compute_120" for PTX.
    """

    architecture: str

    @property
    def is_machine_code(self) -> bool:
        """Whether the driver has nothing left to compile."""
        return self.architecture.startswith("sm_")


@dataclass(frozen=True, slots=True)
class Build:
    """What one compilation gave.

    Attributes:
        image: what the driver loads.
        log: of the compiler and the assembler.
    """

    image: bytes
    log: str

    @property
    def usage(self) -> ResourceUsage:
        """What the kernel takes. ValueError for PTX, which is assembled later."""
        values = {}
        for name, pattern in _USAGE.items():
            found = re.search(pattern, self.log)
            if found is None:
                raise ValueError(f"the compiler's log tells no {name.replace('_', ' ')}: {self.log!r}")
            values[name] = int(found[1])
        shared = re.search(_SHARED, self.log)  # named only where there is any
        return ResourceUsage(**values, shared_bytes=int(shared[1]) if shared else 0)


class NvrtcCompiler:
    """Compiles for one architecture; see `kernels.Compiler`. May be used by several threads.

    Args:
        architecture: of the GPU, such as "sm_90".
        folder: where images are kept; None for `image_cache.default_folder`.
        sources: folder of kernel files; None for cuda/.
        forbid: make a compilation an error, to prove a warm start; None asks TEXVLM_FORBID_COMPILE.
        bindings: cuda-bindings as loaded; None to load them.

    Attributes:
        target: what is compiled for.
        version: of NVRTC, such as "13.0".
        builds: compilations so far; images from the cache are not among them.

    Raises:
        BackendUnavailable: cuda-bindings or NVRTC is missing, or NVRTC knows no such architecture.
    """

    def __init__(
        self,
        architecture: str,
        *,
        folder: Path | None = None,
        sources: Path | None = None,
        forbid: bool | None = None,
        bindings: Bindings | None = None,
    ) -> None:
        self._bindings = bindings or load_bindings()
        version, supported = _open_nvrtc(self._bindings)
        self.version = "{}.{}".format(*version)
        self.target = choose_target(architecture, supported, self.version)
        self.builds = 0
        self._sources = sources
        self._cache = ImageCache(folder or default_folder())
        self._forbid = os.environ.get("TEXVLM_FORBID_COMPILE", "") not in ("", "0") if forbid is None else forbid

    @property
    def folder(self) -> Path:
        """Where images are kept."""
        return self._cache.folder

    def image(self, file: str, definitions: Definitions) -> bytes:
        """See Compiler."""
        source = read_source(file, self._sources)
        name = self._name_of(source, definitions)
        found = self._cache.get(name)
        if found is None:
            if self._forbid:
                raise KernelBuildError(
                    f"{file} for {self.target.architecture}{_in_words(definitions)} is not among the compiled "
                    f"kernels in {self.folder}, and compiling is forbidden; unset TEXVLM_FORBID_COMPILE and run once"
                )
            found = self.build(source, definitions).image
            self._cache.put(name, found)
        return found

    def build(self, source: KernelSource, definitions: Definitions) -> Build:
        """Compile, whatever the cache holds.

        Raises:
            KernelBuildError: it does not compile; first error, then the compiler's whole log.
        """
        self.builds += 1
        options = [f"--gpu-architecture={self.target.architecture}", *OPTIONS]
        options += [f"-D{name}={value}" for name, value in definitions]
        try:
            return _compile(self._bindings.nvrtc, source, options, machine_code=self.target.is_machine_code)
        except _Refused as refused:
            raise KernelBuildError(
                f"{source.file} does not compile for {self.target.architecture}{_in_words(definitions)}: "
                f"{first_error(refused.log) or refused.code}\n{refused.log}"
            ) from None

    def _name_of(self, source: KernelSource, definitions: Definitions) -> str:
        """File name in the cache: another one for anything that could give another image."""
        key = json.dumps(
            [source.text, source.headers, sorted(definitions), self.target.architecture, self.version, OPTIONS]
        )
        return f"{source.file.removesuffix('.cu')}-{hashlib.sha256(key.encode()).hexdigest()[:40]}"


def choose_target(architecture: str, supported: Sequence[int], version: str) -> Target:
    """What to compile for a GPU.

    Args:
        architecture: the GPU's, such as "sm_90".
        supported: what this NVRTC knows, such as (75, 80, 90).
        version: of NVRTC, for the error.
    Raises:
        ValueError: no name of an architecture.
        BackendUnavailable: the GPU is older than everything that this NVRTC knows.
    """
    number = re.fullmatch(r"sm_(\d+)", architecture)
    if number is None:
        raise ValueError(f"architecture {architecture!r}; accepted: 'sm_75', 'sm_90', ...")
    wanted = int(number[1])
    older = [known for known in supported if known <= wanted]
    if not older:
        raise BackendUnavailable(
            f"NVRTC {version} compiles for sm_{min(supported)} and newer; this GPU is {architecture}"
        )
    best = max(older)
    if best // 10 == wanted // 10:  # machine code runs on later GPUs of its own family
        return Target(f"sm_{best}")
    return Target(f"compute_{best}")


def first_error(log: str) -> str | None:
    """The first line of a log that tells of an error: file(line): error: ..."""
    return next((line.strip() for line in log.splitlines() if re.search(r"\berror\b", line)), None)


def _in_words(definitions: Definitions) -> str:
    return f" with {', '.join(f'{name}={value}' for name, value in definitions)}" if definitions else ""


# ---------------------------------------------------------------- NVRTC's calls


class _Refused(Exception):
    def __init__(self, code: str, log: str) -> None:
        super().__init__(code)
        self.code, self.log = code, log


def _open_nvrtc(bindings: Bindings) -> tuple[tuple[int, int], list[int]]:
    """Version of NVRTC and the architectures that it knows."""
    nvrtc = bindings.nvrtc
    try:
        version = _value(nvrtc, nvrtc.nvrtcVersion())
        return (version[0], version[1]), [int(known) for known in _value(nvrtc, nvrtc.nvrtcGetSupportedArchs())]
    except (RuntimeError, _Refused) as error:  # the bindings load the library at the first call
        raise BackendUnavailable(
            f"the NVRTC library of CUDA {bindings.version[0]} cannot be loaded ({_one_line(error)}); "
            f'pip install "texvlm[{bindings.extra}]"'
        ) from None


def _compile(nvrtc: Any, source: KernelSource, options: Sequence[str], *, machine_code: bool) -> Build:
    program = _value(
        nvrtc,
        nvrtc.nvrtcCreateProgram(
            source.text.encode(),
            source.file.encode(),
            len(source.headers),
            [text.encode() for _, text in source.headers],
            [name.encode() for name, _ in source.headers],
        ),
    )
    try:
        result = nvrtc.nvrtcCompileProgram(program, len(options), [option.encode() for option in options])
        log = _text(nvrtc, program, "ProgramLog").decode(errors="replace").rstrip("\0 \n")
        if result[0]:
            raise _Refused(str(getattr(result[0], "name", result[0])), log)
        return Build(_text(nvrtc, program, "CUBIN" if machine_code else "PTX"), log)
    finally:
        nvrtc.nvrtcDestroyProgram(program)


def _text(nvrtc: Any, program: Any, what: str) -> bytes:
    """A result of a program: NVRTC writes into memory of the size that it told."""
    text = bytearray(_value(nvrtc, getattr(nvrtc, f"nvrtcGet{what}Size")(program)))
    _value(nvrtc, getattr(nvrtc, f"nvrtcGet{what}")(program, text))
    return bytes(text)


def _value(nvrtc: Any, result: tuple[Any, ...]) -> Any:
    """Value of a call; a failure of the compiler itself, not of what it compiles, is an error."""
    if result[0]:
        _, words = nvrtc.nvrtcGetErrorString(result[0])
        raise _Refused(words.decode(), "")
    return result[1] if len(result) == 2 else result[1:]


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
