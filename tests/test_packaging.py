"""The wheel: pure Python, with the shaders and kernels inside, importable without the checkout."""

from __future__ import annotations

import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

import texvlm

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="session")
def wheel(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--wheel-dir", str(folder), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True, text=True)
    (built,) = folder.glob("*.whl")
    return built


def test_the_wheel_is_pure_and_whole(wheel):
    assert wheel.name.endswith("-py3-none-any.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    for folder in ("shaders", "cuda"):
        for path in (ROOT / folder).rglob("*"):
            if path.is_file():
                assert f"texvlm/{path.relative_to(ROOT)}" in names
    modules = {str(p.relative_to(ROOT)) for p in (ROOT / "texvlm").rglob("*.py")}
    assert modules <= names
    page = {f"texvlm/viewer/web/page/{name}" for name in ("index.html", "view.css", "view.js", "draw.js", "xr.js")}
    assert page <= names
    assert "texvlm/py.typed" in names
    assert not any(name.startswith("tests/") for name in names)


def test_the_wheel_works_without_the_checkout(wheel, tmp_path):
    zipfile.ZipFile(wheel).extractall(tmp_path / "site")
    code = (
        "import numpy as np, texvlm; "
        "from texvlm.resources import shader_folder; "
        "assert str(shader_folder()).startswith(texvlm.__path__[0]), shader_folder(); "
        "e = texvlm.Engine(backend='cpu', tokens=4); e.submit(np.zeros((32, 32, 3), np.uint8)); "
        "print(texvlm.__path__[0], e.tokens().pixels.shape)"
    )
    environment = {"PYTHONPATH": str(tmp_path / "site"), "PATH": "", "NUMBA_CACHE_DIR": str(tmp_path / "cache")}
    ran = subprocess.run(
        [sys.executable, "-P", "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert ran.returncode == 0, ran.stderr
    assert str(tmp_path) in ran.stdout


def test_versions_agree():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["version"] == texvlm.__version__
    assert f"## [{texvlm.__version__}]" in (ROOT / "CHANGELOG.md").read_text()
