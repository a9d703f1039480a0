"""docs/xr.md: what it shows in Python runs; and the loader that the distribution packages serves as well."""

from __future__ import annotations

import ctypes.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from required import unavailable

import texvlm

pytestmark = pytest.mark.gl
ROOT = Path(texvlm.__file__).parents[1]
OTHER_LOADER = """
import ctypes, runpy, sys, types
loader = ctypes.CDLL({library!r})
class Library:  # functions of OpenXR 1.1, which loaders of 1.0 lack and nothing here calls, stay unbound
    def __getattr__(self, name):
        return getattr(loader, name, types.SimpleNamespace())
sys.modules["xr.library"] = types.SimpleNamespace(openxr_loader_library=Library())
import xr
address = lambda function: ctypes.cast(function, ctypes.c_void_p).value
assert address(xr.raw_functions.xrWaitFrame) == address(loader.xrWaitFrame)
sys.argv = ["xr_app.py", "--frames", "2"]
sys.path.insert(0, {demos!r})
runpy.run_path({demos!r} + "/xr_app.py", run_name="__main__")
"""


def test_the_page(rig, app):
    page = (ROOT / "docs" / "xr.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"^```python\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    rig.script("gaze 1 5 5", "stop 2")
    drawn = []
    shown = {"draw": lambda *eye: drawn.append(eye)}
    exec(block, shown)
    assert len(drawn) == 4
    assert len(shown["batch"]) == 2
    assert rig.notes[-1] == "destroyed, 0 objects left"
    for picture in re.findall(r"\((\w+\.png)\)", page):
        assert (ROOT / "docs" / picture).is_file()


def test_through_the_loader_of_the_distribution(rig, gl_backend):
    library = ctypes.util.find_library("openxr_loader")
    if library is None:
        unavailable("openxr-loader", "no OpenXR loader but the binding's; on Debian: apt-get install libopenxr-loader1")
    program = OTHER_LOADER.format(library=library, demos=str(ROOT / "demos"))
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **rig.environment}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "2 frames, tokens" in done.stdout
    assert rig.notes[-1] == "destroyed, 0 objects left"
