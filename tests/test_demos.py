"""Every program under demos/ runs, prints, and complains in one line; and what the README shows in Python runs."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from model_folders import save_vit

import texvlm

ROOT = Path(texvlm.__file__).parents[1]
PROGRAMS = sorted((ROOT / "demos").glob("*.py"))
# see test_gl_app_demo and xr/test_xr_app_demo
DEMOS = [path for path in PROGRAMS if not path.stem.startswith(("gl_app", "xr_app"))]
ENVIRONMENT = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "error"}


def run(path: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(path), *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT, timeout=120)


def test_there_are_demos():
    assert {path.stem for path in DEMOS} >= {"foveated_video", "many_sources", "live_gaze"}


@pytest.mark.parametrize("path", DEMOS, ids=lambda path: path.stem)
def test_it_runs(path):
    done = run(path, "--frames", "3", "--backend", "cpu")
    assert done.returncode == 0, done.stderr
    assert "3" in done.stdout
    assert not done.stderr


@pytest.mark.parametrize("path", DEMOS, ids=lambda path: path.stem)
def test_a_missing_input_is_one_line(path):
    done = run(path, "gone.mp4")
    assert done.returncode == 1
    assert done.stderr.startswith(f"{path.stem}: gone.mp4: no such file")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("count", ["0", "-1"])
def test_no_frames_are_refused_in_one_line(count):
    done = run(ROOT / "demos" / "device_frames.py", "--frames", count)
    assert done.returncode == 2
    assert done.stderr.endswith(f"error: --frames is {count}; at least 1 is needed\n")


@pytest.mark.parametrize("path", PROGRAMS, ids=lambda path: path.stem)
def test_it_is_short_and_imports_nothing_private(path):
    text = path.read_text()
    assert len(text.splitlines()) < 120
    assert ast.get_docstring(ast.parse(text))
    for node in ast.walk(ast.parse(text)):
        names = []
        if isinstance(node, ast.ImportFrom):
            names = [node.module or "", *(alias.name for alias in node.names)]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        assert not any(part.startswith("_") for name in names for part in name.split("."))


def test_the_readme_says_what_runs(tmp_path):
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    first, over_time = re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    shown: dict[str, object] = {}
    exec(first.replace('"scene"', '"scene:320x192"'), shown)  # the same in fewer pixels
    assert shown["batch"].flat().shape == (1, 268, 3 * 16 * 16)
    folder = save_vit(tmp_path / "model").as_posix()
    shown = {}
    exec(over_time.replace("vit-tiny-patch16-224", folder).replace("clip.mp4", "scene:160x96"), shown)
    assert shown["out"].reports[0].tokens_encoded < shown["out"].reports[0].tokens
    for module, names in re.findall(r"`from (texvlm[\w.]*) import ([\w, ]+)`", text):
        exec(f"from {module} import {names}", {})
    for name in set(re.findall(r"(?<!from )\btexvlm\.([A-Za-z]\w*)", text)):
        assert name in texvlm.__all__, f"README says texvlm.{name}"


def test_the_camera_demo_refuses_a_look_in_one_line():
    done = run(ROOT / "demos" / "camera.py", "scene", "--look", "nope")
    assert done.returncode == 1
    assert done.stderr.startswith("camera: unknown look 'nope'; accepted: ")
    assert done.stderr.count("\n") == 1
