"""HostCompiler: cuda/*.cu through g++ and cuda_host.h into a shared library, cached on disk."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from texvlm.backends.cuda.kernels import Definitions
from texvlm.errors import KernelBuildError
from texvlm.resources import cuda_folder

HEADERS = Path(__file__).parent
_FLAGS = (
    *("-x", "c++", "-std=c++17", "-O2", "-g1", "-shared", "-fPIC", "-fvisibility=hidden"),
    # what cannot be seen from a kernel's text alone: other fibers change memory, and longjmp crosses stacks
    *("-fno-strict-aliasing", "-fno-ipa-reference", "-fno-ipa-modref", "-fno-ipa-pure-const"),
    # what a device does not define either becomes a fault
    *("-fsanitize=bounds,shift,signed-integer-overflow", "-fsanitize-undefined-trap-on-error"),
    *("-U_FORTIFY_SOURCE", "-D_GNU_SOURCE", "-fno-stack-protector", "-Wno-unknown-pragmas", "-Wno-attributes"),
)
_RUBBISH = ("-ftrivial-auto-var-init=pattern",)  # in variables that were not set; g++ 12 and later
_ROUNDING = {False: ("-ffp-contract=off",), True: ("-ffp-contract=fast", "-mfma")}


def find_gxx() -> str | None:
    """Path of g++, or None; $CXX wins."""
    return shutil.which(os.environ.get("CXX") or "g++")


class HostCompiler:
    """See kernels.Compiler. `image` is the path of a shared library, as bytes."""

    def __init__(self, gxx: str, *, sources: Path | None = None, fused: bool = False) -> None:
        """Compile files of a folder; cuda/ when none is given.

        Args:
            gxx: the compiler.
            sources: folder of .cu and .cuh files.
            fused: contract a * b + c to one rounding wherever g++ can, as NVRTC does unless told
                otherwise; to find arithmetic that depends on it. Needs a processor with FMA.
        """
        self._gxx = gxx
        self._sources = sources or Path(str(cuda_folder()))
        self._folder = _cache_folder()
        version = subprocess.run([gxx, "--version"], capture_output=True, text=True, check=True).stdout
        self._version = version.splitlines()[0]
        number = subprocess.run([gxx, "-dumpversion"], capture_output=True, text=True, check=True).stdout
        rubbish = _RUBBISH if int(number.split(".")[0]) >= 12 else ()
        self._flags = (*_FLAGS, *rubbish, *_ROUNDING[fused])

    def image(self, file: str, definitions: Definitions) -> bytes:
        """See kernels.Compiler."""
        target = self._folder / f"{file.removesuffix('.cu')}-{self._key(file, definitions)}.so"
        if not target.is_file():
            self._build(file, definitions, target)
        return os.fsencode(target)

    def _key(self, file: str, definitions: Definitions) -> str:
        """Everything that the result depends on; all of the folder's headers, used or not."""
        key = hashlib.sha256(repr((self._version, self._flags, file, definitions)).encode())
        for path in (self._sources / file, *sorted(self._sources.glob("*.cuh")), *sorted(HEADERS.glob("*.h"))):
            key.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
        return key.hexdigest()[:24]

    def _build(self, file: str, definitions: Definitions, target: Path) -> None:
        name = file.removesuffix(".cu")
        text = (self._sources / file).read_text()
        wrapper = (
            f'#include "cuda_host.h"\nnamespace {{\n#include "{self._sources / file}"\n}}\n'
            f"CUDA_HOST_EXPORT({name}, ({_launch_bound(text)}))\n"
        )
        handle, made = tempfile.mkstemp(suffix=".so", dir=self._folder)
        os.close(handle)
        try:
            options = [f"-D{key}={value}" for key, value in definitions]
            includes = [f"-I{HEADERS}", f"-I{self._sources}"]
            command = [self._gxx, *self._flags, *options, *includes, "-o", made, "-"]
            done = subprocess.run(command, input=wrapper, capture_output=True, text=True, check=False)
            if done.returncode:
                lines = done.stderr.splitlines()
                first = next((line for line in lines if "error:" in line), "no error line")
                raise KernelBuildError(f"{file} {dict(definitions)}: {first}\n{done.stderr}")
            os.chmod(made, 0o755)
            os.replace(made, target)
        finally:
            Path(made).unlink(missing_ok=True)


def _launch_bound(text: str) -> str:
    """First argument of the file's __launch_bounds__, as an expression; the device's limit where there is none."""
    found = re.search(r"__launch_bounds__\(((?:[^(),]|\([^()]*\))+)", text)
    return found.group(1) if found else "1024"


def _cache_folder() -> Path:
    """$TEXVLM_HOST_KERNELS, or a folder of this user's under the system's temporary one."""
    named = os.environ.get("TEXVLM_HOST_KERNELS")
    folder = Path(named) if named else Path(tempfile.gettempdir()) / f"texvlm-host-kernels-{os.getuid()}"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder
