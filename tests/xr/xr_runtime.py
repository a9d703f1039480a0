"""Builds the test runtime, and says to the loader where it is.

env $(python tests/xr/xr_runtime.py build/xr) python demos/xr_app.py --frames 10 --out docs

makes the picture of docs/xr.md: without a headset, the gaze on the notice.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from openxr_header import openxr_header

SOURCES = Path(__file__).parent / "runtime"
WARNINGS = ("-Wall", "-Wextra", "-Wno-unused-parameter", "-Werror")


def build_runtime(folder: Path, xr: Any) -> Path:
    """Compile it into the folder; its manifest, for XR_RUNTIME_JSON."""
    compiler = next(filter(None, map(shutil.which, ("cc", "gcc", "clang"))), None)
    if compiler is None:
        raise FileNotFoundError("no C compiler (cc, gcc, clang) for the OpenXR test runtime; install one")
    sources = sorted(SOURCES.glob("*.c"))
    functions = [
        name for path in sources for name in re.findall(r"^XrResult (xr\w+)\(", path.read_text(), re.MULTILINE)
    ]
    (folder / "openxr_part.h").write_text(openxr_header(xr, functions))
    (folder / "functions.h").write_text("".join(f"FUNCTION({name})\n" for name in functions))
    library = folder / "libtexvlm_test_xr.so"
    command = [compiler, "-std=c11", "-O1", "-fPIC", "-shared", "-fvisibility=hidden", *WARNINGS]
    command += [f"-I{folder}", f"-I{SOURCES}", *map(str, sources), "-o", str(library), "-lm", "-ldl"]
    subprocess.run(command, check=True, timeout=120)
    manifest = {"file_format_version": "1.0.0", "runtime": {"name": "texvlm test", "library_path": str(library)}}
    path = folder / "runtime.json"
    path.write_text(json.dumps(manifest))
    return path


def environment(manifest: Path, script: Path, log: Path) -> dict[str, str]:
    """What makes the loader take the runtime, and the runtime its script; the loader's own words are left out."""
    return {"XR_RUNTIME_JSON": str(manifest), "TEXVLM_TEST_XR_SCRIPT": str(script), "TEXVLM_TEST_XR_LOG": str(log)}


def main() -> None:
    import xr

    folder = Path(sys.argv[1]).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "script.txt").write_text("size 512 480\ngaze 1 -14 10\n")
    needed = environment(build_runtime(folder, xr), folder / "script.txt", folder / "log.txt")
    print(*(f"{name}={value}" for name, value in needed.items()))


if __name__ == "__main__":
    main()
