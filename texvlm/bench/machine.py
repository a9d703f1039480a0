"""Where a benchmark ran: processor, memory, versions, and the commit of the source tree."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path

from pydantic import BaseModel

import texvlm

PACKAGES = ("numpy", "torch", "numba", "opencv-python-headless", "opencv-python", "av", "PyOpenGL")


class Machine(BaseModel):
    """Facts that a number depends on."""

    cpu: str
    cores: int
    ram_gib: float
    os: str
    python: str
    packages: dict[str, str]
    gl: str | None = None
    gpu: str | None = None


def probe_machine() -> Machine:
    """This machine, without device probes; `gl` and `gpu` are filled in by whoever opened a device."""
    return Machine(
        cpu=_cpu_name(),
        cores=_cores(),
        ram_gib=round(_ram_bytes() / 2**30, 1),
        os=f"{platform.system()} {platform.release()} {platform.machine()}",
        python=platform.python_version(),
        packages={name: version for name in PACKAGES if (version := _version(name))},
    )


def source_commit() -> str:
    """Commit of the tree this package runs from, or its version where that is no checkout.

    Ends in "-dirty" where a tracked file was changed; result files do not count, because a run writes them.
    """
    root = Path(texvlm.__file__).resolve().parents[1]
    if (root / ".git").exists():
        commit = _git(root, "describe", "--always", "--tags")
        changed = _git(root, "status", "--porcelain", "--untracked-files=no", "--", ".", ":!benchmarks/results")
        if commit is not None:
            return commit + ("-dirty" if changed else "")
    return f"texvlm {_version('texvlm') or 'unknown version'}"


def _git(root: Path, *arguments: str) -> str | None:
    """What git prints, or None where it cannot say."""
    done = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else None


def load_average() -> float:
    """Runnable threads in the last minute, on average; 0 where the system does not tell."""
    return round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else 0.0


def rss_bytes() -> int:
    """Resident memory of this process, bytes; its peak where the system tells no more (not Linux)."""
    try:
        pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[1]
    except OSError:
        import resource

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if platform.system() == "Darwin" else peak * 1024
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _cpu_name() -> str:
    """The processor's marketing name where the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _ram_bytes() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
