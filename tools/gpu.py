"""Prove and measure the cuda backend on this machine's NVIDIA GPU. Called by `make gpu`.

    python tools/gpu.py [--wheels DIR] [--out DIR]     everything: a few minutes, eight at most
    python tools/gpu.py --look                         only say whether there is a GPU
    python tools/gpu.py --install                      cuda-bindings that fit this interpreter's torch, by pip

Runs from the checkout with the interpreter that runs it. What that interpreter lacks may come as wheels: they
are unpacked into a temporary folder, and nothing is installed. A step that fails does not keep the
later ones from running. Writes benchmarks/results/<gpu>-<date>.json, and .log with everything that was
printed. Ends with 0 when all steps passed, with 1 when one failed, with 2 when nothing could be run.

Only the standard library is used here: this must be able to say what is missing.
"""

from __future__ import annotations

import argparse
import ctypes
import glob
import importlib.metadata
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
LIMIT_S = 470
"""Of everything together, seconds."""

# module -> what brings it
NEEDED = {
    "numpy": "numpy",
    "torch": "torch",
    "numba": "numba",
    "cuda.bindings.runtime": "cuda-bindings",
    "cuda.bindings.nvrtc": "cuda-bindings, nvidia-cuda-nvrtc",
    "av": "av",
    "pydantic": "pydantic",
    "typer": "typer",
    "rich": "rich",
    "safetensors": "safetensors",
    "cv2": "opencv-python-headless",
    "pytest": "pytest",
    "hypothesis": "hypothesis",
}
WELCOME = {"nvtx": "nvtx", "PIL": "pillow", "matplotlib": "matplotlib"}
"""Without these some tests are skipped."""

NOT_HERE = "not cuda_host and not cuda-host"
"""Tests of the kernels compiled for the host belong to every other machine."""

SANITIZERS = ("compute-sanitizer", "bin/compute-sanitizer", "compute-sanitizer/compute-sanitizer")


def main() -> int:
    """Run what the command line asks for; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--look", action="store_true", help="only say whether there is a GPU")
    parser.add_argument("--install", action="store_true", help="install cuda-bindings beside this interpreter's torch")
    parser.add_argument("--wheels", type=Path, help="folder of wheels for what this interpreter lacks")
    parser.add_argument("--out", type=Path, help="folder that gets a copy of the results, too")
    parser.add_argument("--quick", action="store_true", help="tiny frames: only to see that all runs")
    arguments = parser.parse_args()
    try:
        if arguments.install:
            return install_bindings()
        gpu = find_gpu()
        if arguments.look:
            print(f"gpu: {gpu}")
            return 0
        with tempfile.TemporaryDirectory(prefix="texvlm-gpu-") as scratch:
            environment = prepare(Path(scratch), arguments.wheels)
            return run_all(gpu, environment, Path(scratch), arguments.out, quick=arguments.quick)
    except Refusal as refusal:
        print(f"gpu: {refusal}", file=sys.stderr)
        return 2


class Refusal(Exception):
    """Nothing can be run; the message says why, and what to do."""


# ---------------------------------------------------------------- before anything runs


def find_gpu() -> str:
    """Name of the first GPU that the driver shows. Refusal when there is none."""
    try:
        cuda = ctypes.CDLL("libcuda.so.1")
    except OSError:
        raise Refusal("no NVIDIA driver here (libcuda.so.1 cannot be loaded); run this on a machine with one") from None
    count = ctypes.c_int()
    code = cuda.cuInit(0) or cuda.cuDeviceGetCount(ctypes.byref(count))
    if code or not count.value:
        raise Refusal(f"the NVIDIA driver shows no GPU to this process (code {code}); see nvidia-smi")
    name = ctypes.create_string_buffer(128)
    device = ctypes.c_int()
    if cuda.cuDeviceGet(ctypes.byref(device), 0) or cuda.cuDeviceGetName(name, len(name), device):
        raise Refusal("the NVIDIA driver does not tell its GPU's name; see nvidia-smi")
    return name.value.decode(errors="replace")


def install_bindings() -> int:
    """Install the extra that fits torch's CUDA version; pip's exit status."""
    import torch

    if torch.version.cuda is None:
        raise Refusal(f"torch {torch.__version__} was built without CUDA; install a CUDA build, see pytorch.org")
    extra = "cuda12" if torch.version.cuda.startswith("12.") else "cuda"
    command = [sys.executable, "-m", "pip", "install", "-q", "-e", f"{ROOT}[{extra}]"]
    return subprocess.run(command, check=False).returncode


def prepare(scratch: Path, wheels: Path | None) -> dict[str, str]:
    """The environment for all steps, with the checkout and unpacked wheels on the path.

    Refusal when a needed module is still missing; names every one.
    """
    places = [str(ROOT)]
    if wheels is not None:
        places.append(str(unpack(wheels, scratch / "site")))
    if os.environ.get("PYTHONPATH"):
        places.append(os.environ["PYTHONPATH"])
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(places),
        "PYTHONUNBUFFERED": "1",
        "TEXVLM_HOST_KERNELS": str(scratch / "host-kernels"),
    }
    missing = {module: reason for module in NEEDED if (reason := import_failure(module, environment))}
    if missing:
        lines = "\n".join(f"  {module}: {reason}; comes with {NEEDED[module]}" for module, reason in missing.items())
        raise Refusal(
            f"{len(missing)} needed modules cannot be imported by {Path(sys.executable).name}:\n{lines}\n"
            "  install them, or give a folder of wheels that has them: make gpu PYTHON=python3 WHEELS=DIR"
        )
    for module, package in WELCOME.items():
        if import_failure(module, environment):
            print(f"gpu: {package} is not here; tests that use it are skipped")
    return environment


def unpack(wheels: Path, target: Path) -> Path:
    """Install the wheels of what this interpreter lacks into a folder of their own."""
    files = sorted(wheels.glob("*.whl"))
    if not files:
        raise Refusal(f"{wheels} holds no wheels (*.whl)")
    lacking = [file for file in files if not is_installed(file.name.split("-")[0])]
    target.mkdir()
    if lacking:
        command = [sys.executable, "-m", "pip", "install", "-q", "--no-index", "--no-deps", "--no-cache-dir"]
        command += ["--disable-pip-version-check", "--target", str(target), *map(str, lacking)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            last = (done.stderr or done.stdout).strip().splitlines()[-1:]
            raise Refusal(f"wheels in {wheels} cannot be installed: {' '.join(last)}")
    names = ", ".join(file.name.split("-")[0] for file in lacking) or "none was needed"
    print(f"gpu: from {wheels}: {names}")
    return target


def is_installed(distribution: str) -> bool:
    """Whether this interpreter has a distribution, by its name in a wheel's file name."""
    try:
        importlib.metadata.version(distribution.replace("_", "-"))
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def import_failure(module: str, environment: dict[str, str]) -> str | None:
    """Why a module cannot be imported, in one line; None when it can."""
    done = subprocess.run(
        [sys.executable, "-c", f"import {module}"], env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode == 0:
        return None
    return (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]


# ---------------------------------------------------------------- the steps


def run_all(gpu: str, environment: dict[str, str], scratch: Path, out: Path | None, *, quick: bool) -> int:
    """Every step in turn, and where the results lie."""
    slug = re.sub(r"[^a-z0-9]+", "-", gpu.lower()).strip("-")
    name = f"{slug}-{datetime.now(UTC):%Y-%m-%d}"
    result = (scratch if quick else RESULTS) / f"{name}.json"
    result.parent.mkdir(parents=True, exist_ok=True)
    python = sys.executable
    with Log(result.with_suffix(".log"), scratch) as log:
        log.say(f"{gpu}, {datetime.now(UTC):%Y-%m-%d %H:%M} UTC, commit {commit()}")
        steps = Steps(log, environment)
        if shutil.which("nvidia-smi"):
            steps.run("nvidia-smi", ["nvidia-smi"], limit_s=30)
        steps.run("doctor", [python, "-m", "texvlm", "doctor"], limit_s=60)
        required = "cuda,gl" if renders_on_nvidia(environment) else "cuda"
        log.say(f"tests: required are {required}")
        pytest = [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--durations=5", "tests"]
        for kind in ("DeprecationWarning", "FutureWarning"):  # of other versions of libraries than those of CI
            pytest += ["-W", f"default::{kind}"]
        marked = "cuda or gl" if "gl" in required else "cuda and not gl"
        steps.run("tests", [*pytest, "-m", marked, "-k", NOT_HERE], limit_s=200, TEXVLM_REQUIRE=required)
        sanitizer = find_sanitizer()
        if sanitizer:
            steps.run(
                "memcheck",
                [sanitizer, "--tool", "memcheck", "--error-exitcode", "9", python, "tools/sanitize_run.py"],
                limit_s=80,
                PYTORCH_NO_CUDA_MEMORY_CACHING="1",  # else a stray write lands in torch's own pool, unseen
            )
        else:
            log.say("memcheck: left out, there is no compute-sanitizer on the PATH or in the CUDA toolkit")
        place = result.relative_to(ROOT) if result.is_relative_to(ROOT) else result
        bench = [python, "-m", "texvlm", "bench", "--gpu", "--out", str(place)]
        if os.environ.get("TEXVLM_DATA"):
            bench += ["--data", os.environ["TEXVLM_DATA"]]
        steps.run("benchmark", bench + ["--quick"] * quick, limit_s=130)
        failed = steps.report()
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        for file in (result, result.with_suffix(".log")):
            if file.exists():
                shutil.copy(file, out)
    if not quick:
        print(f"gpu: results in {result.relative_to(ROOT)} and {result.with_suffix('.log').name}")
    return 1 if failed else 0


class Log:
    """What is printed also goes to a file, without the names of this machine's folders."""

    def __init__(self, path: Path, scratch: Path) -> None:
        self._file = path.open("w", encoding="utf-8")
        # a virtual environment may lie in the checkout, and both at home: the longest path goes first
        hidden = {str(scratch): "$TMP", str(ROOT): ".", sys.prefix: "$PYTHON", str(Path.home()): "~"}
        self._hidden = dict(sorted(hidden.items(), key=lambda pair: -len(pair[0])))
        if os.environ.get("TEXVLM_DATA"):
            self._hidden[os.environ["TEXVLM_DATA"]] = "$TEXVLM_DATA"

    def say(self, line: str) -> None:
        """Print a line of our own."""
        self.write(f"gpu: {line}\n")

    def write(self, text: str) -> None:
        """Print what a step printed."""
        sys.stdout.write(text)
        sys.stdout.flush()
        for place, word in self._hidden.items():
            if len(place) > 1:  # home may be "/"
                text = text.replace(place, word)
        self._file.write(text)
        self._file.flush()

    def __enter__(self) -> Log:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()


class Steps:
    """Runs commands one after the other, each with a limit, and remembers how they ended."""

    def __init__(self, log: Log, environment: dict[str, str]) -> None:
        self._log = log
        self._environment = environment
        self._start = time.monotonic()
        self._outcomes: list[tuple[str, str, float]] = []

    def run(self, name: str, command: Sequence[str], *, limit_s: float, **variables: str) -> None:
        """Run one step; what it prints is printed, and logged."""
        start = time.monotonic()
        left = LIMIT_S - (start - self._start)
        if left < 5:
            self._outcomes.append((name, "not run, no time left", 0.0))
            return
        self._log.write(f"\n==== {name}: {' '.join(command)}\n")
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=self._environment | variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        with process:
            # its children, too: they hold the other end of what is read below
            stop = threading.Timer(min(limit_s, left), lambda: os.killpg(process.pid, signal.SIGKILL))
            stop.start()
            assert process.stdout is not None
            for line in process.stdout:
                self._log.write(line)
            code = process.wait()
            late = not stop.is_alive()
            stop.cancel()
        spent = time.monotonic() - start
        outcome = "passed" if code == 0 else f"stopped after {spent:.0f} s" if late else f"failed, exit status {code}"
        self._outcomes.append((name, outcome, spent))
        self._log.say(f"{name} {outcome}, {spent:.1f} s")

    def report(self) -> bool:
        """Print how each step ended; whether one failed."""
        self._log.write("\n")
        for name, outcome, spent in self._outcomes:
            self._log.say(f"{name:12} {spent:6.1f} s  {outcome}")
        return any(outcome != "passed" for _, outcome, _ in self._outcomes)


def renders_on_nvidia(environment: dict[str, str]) -> bool:
    """Whether EGL gives an OpenGL renderer of NVIDIA's, so that interop can be tested."""
    code = (
        "from texvlm.backends.gl import open_headless\n"
        "backend = open_headless(hardware_only=True)\n"
        "print(backend.describe()['renderer'])\n"
        "backend.close()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False, timeout=60
    )
    return done.returncode == 0 and "nvidia" in done.stdout.lower()


def find_sanitizer() -> str | None:
    """Path of compute-sanitizer: on the PATH, or in a CUDA toolkit."""
    found = shutil.which("compute-sanitizer")
    if found:
        return found
    toolkits = [os.environ.get("CUDA_HOME"), os.environ.get("CUDA_PATH"), *sorted(glob.glob("/usr/local/cuda*"))]
    for toolkit in filter(None, toolkits):
        for place in SANITIZERS:
            path = Path(toolkit) / place
            if path.is_file() and os.access(path, os.X_OK):
                return str(path)
    return None


def commit() -> str:
    """Commit of the checkout, or "unknown" where this is none."""
    command = ["git", "-C", str(ROOT), "describe", "--always", "--dirty", "--exclude", "*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


if __name__ == "__main__":
    sys.exit(main())
