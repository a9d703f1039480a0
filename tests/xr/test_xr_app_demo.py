"""demos/xr_app.py runs, and what the compositor gets shows tokens where each eye looks."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from headset_rig import FOVS, place
from required import unavailable

import texvlm

pytestmark = pytest.mark.gl
ROOT = Path(texvlm.__file__).parents[1]
GAZE = "XR_KHR_opengl_enable,XR_EXT_eye_gaze_interaction"
EGL = f"{GAZE},XR_MNDX_egl_enable"


def run(rig, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "error", str(ROOT / "demos" / "xr_app.py"), *arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **rig.environment, **environment}
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120)


def read_ppm(path: Path) -> np.ndarray:
    header, _, pixels = path.read_bytes().partition(b"\n")
    _, width, height, _ = header.split()
    return np.frombuffer(pixels, np.uint8).reshape(int(height), int(width), 3).astype(int)


def outlined(picture: np.ndarray, fixation: tuple[float, float]) -> float:
    """Share of the pixels about a point that have the yellow of fine tokens' outlines."""
    x, y = (int(f * side) for f, side in zip(fixation, picture.shape[1::-1], strict=True))
    near = picture[y - 30 : y + 30, x - 30 : x + 30]
    return float(((near[..., 0] > 200) & (near[..., 1] > 170) & (near[..., 2] < 130)).mean())


@contextmanager
def virtual_display():
    if shutil.which("Xvfb") is None:
        unavailable("xvfb", "Xvfb is not installed; on Debian and Ubuntu: apt-get install xvfb")
    read, write = os.pipe()
    options = ["-displayfd", str(write), "-screen", "0", "640x480x24", "-nolisten", "tcp", "-noreset"]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    server = subprocess.Popen(["Xvfb", *options], pass_fds=(write,), **quiet)
    os.close(write)
    try:
        with os.fdopen(read) as told:
            yield f":{told.readline().strip()}"
    finally:
        server.terminate()
        server.wait(10)


@pytest.fixture(params=["egl", "glx"])
def context(request, gl_backend):
    """(name, what the environment must have) of each kind of context."""
    if request.param == "egl":
        yield request.param, {}
        return
    with virtual_display() as display:
        yield request.param, {"DISPLAY": display}


def test_the_overlay_is_where_each_eye_looks(rig, context, tmp_path):
    kind, needed = context
    arrangement, offered = {"egl": ("layers", EGL), "glx": ("side-by-side", GAZE)}[kind]  # one of each is enough
    rig.script(f"extensions {offered}", "size 512 480", "gaze 1 -14 10", f"show 5 {tmp_path / 'shown'}")
    options = ("--context", kind, "--arrangement", arrangement, "--out", str(tmp_path / "new"))
    done = run(rig, "--frames", "5", *options, **needed)
    assert done.returncode == 0, done.stderr
    assert not done.stderr
    assert "a headset that is not there, gaze of the eyes: 2 of 512 x 480" in done.stdout
    assert "tokens (2, 268, 768)" in done.stdout
    for k, fov in enumerate(FOVS.values()):
        picture = read_ppm(tmp_path / f"shown-{k}.ppm")
        u, v = place(-14, 10, fov)
        assert outlined(picture, (u, v)) > 0.08
        assert outlined(picture, (1 - u, 0.85)) < 0.02
    assert (tmp_path / "new" / "xr_app.png").read_bytes().startswith(b"\x89PNG")
    assert rig.notes[1] == {"egl": "binding egl", "glx": "binding xlib"}[kind]
    assert rig.notes[-1] == "destroyed, 0 objects left"


def test_without_a_runtime_it_is_one_line(rig, gl_backend, tmp_path):
    done = run(rig, XR_RUNTIME_JSON=str(tmp_path / "none.json"))
    assert done.returncode == 1
    assert done.stderr.startswith("xr_app: no OpenXR runtime; start the headset's")
    assert done.stderr.count("\n") == 1


def test_without_moderngl_it_is_one_line(rig, tmp_path):
    (tmp_path / "moderngl.py").write_text("raise ModuleNotFoundError('gone', name='moderngl')")
    done = run(rig, PYTHONPATH=f"{tmp_path}{os.pathsep}{ROOT}")
    assert done.returncode == 1
    assert done.stderr == 'xr_app: moderngl is missing; pip install "texvlm[demos,xr]"\n'
