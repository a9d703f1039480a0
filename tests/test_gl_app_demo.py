"""demos/gl_app.py: the tokens are those of what the app drew, each eye has its own, and no pixel visits the host."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from cuda_device import open_host_device
from required import unavailable

import texvlm
from texvlm.backends import gl
from texvlm.backends._gl_api import GlApi
from texvlm.backends.cuda.backend import CudaBackend
from texvlm.errors import BackendUnavailable

pytestmark = pytest.mark.gl

DEMOS = Path(texvlm.__file__).parents[1] / "demos"
SIZE = (352, 208)
ARRANGEMENTS = ["mono", "side-by-side", "layers"]
TRANSFERS = ("glTextureSubImage3D", "glGetTextureSubImage")
"""Every call of the backend that copies pixels between the host and a texture."""


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "error", str(DEMOS / "gl_app.py"), "--size", "352x208", *arguments]
    environment = os.environ | {"PYTHONPATH": str(DEMOS.parent)} | environment
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120)


@pytest.fixture
def demo(gl_backend, monkeypatch):
    """A module of the demo by its name."""
    monkeypatch.syspath_prepend(str(DEMOS))
    return lambda name: importlib.import_module(f"gl_app_{name}")


@pytest.fixture
def program(demo):
    """The program itself, under another name: that of tests/gl_app.py is the same."""
    spec = importlib.util.spec_from_file_location("gl_app_program", DEMOS / "gl_app.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def app(demo, request):
    app = demo("renderer").App(request.param, SIZE)
    yield app
    app.close()


@pytest.fixture(params=["gl", "cuda-host"])
def backend(request, app):
    """On the app's context; whoever is given it closes it."""
    if request.param == "gl":
        yield gl.open_current()
        return
    try:
        driver, compiler = open_host_device()
    except BackendUnavailable as refusal:
        unavailable("cuda-host", str(refusal))
    yield CudaBackend(driver, compiler)
    assert driver.leaks() == []
    assert driver.violations == []


def shown(app, eye) -> np.ndarray:
    """What the app has drawn for one eye, read back by its own renderer: rows from the top."""
    whole = np.frombuffer(app.buffers[0].texture.read(), np.uint8)
    x, y = eye.corner
    if app.buffers[0].target == 0x8C1A:
        picture = whole.reshape(len(app.eyes), SIZE[1], SIZE[0], 4)[eye.layer]
    else:
        picture = whole.reshape(SIZE[1], -1, 4)[y : y + SIZE[1], x : x + SIZE[0]]
    return picture[::-1, :, :3]


@pytest.mark.parametrize("app", ARRANGEMENTS, indirect=True)
def test_each_source_holds_what_its_eye_sees(app, demo, backend):
    with demo("tokens").Tokens(app, backend) as tokens:
        for frame in range(3):
            app.draw(frame)
            batch = tokens.take(frame)
            for source, eye in enumerate(app.eyes):
                drawn, stored = shown(app, eye), tokens.engine.read_level(0, source=source)
                assert drawn.std() > 20
                assert np.abs(stored.astype(int) - drawn).max() <= (8 if frame else 0)
        assert len(batch) == len(app.eyes)
        assert tokens.picture().shape[2] == 3


@pytest.mark.parametrize("app", ARRANGEMENTS, indirect=True)
def test_no_pixel_visits_the_host(app, demo, monkeypatch):
    backend = gl.open_current()
    calls, staged = [], []

    def counting(name, call):
        return lambda *arguments: calls.append(name) or call(*arguments)

    with demo("tokens").Tokens(app, backend) as tokens:
        context, staging = tokens.backend._context, tokens.backend._staging
        assert isinstance(context.gl, GlApi)
        for name in TRANSFERS:
            monkeypatch.setattr(context.gl, name, counting(name, getattr(context.gl, name)))
        take = staging.take
        monkeypatch.setattr(staging, "take", lambda size: staged.append(size) or take(size))
        written = []
        for frame in range(4):
            before = tokens.engine.counters.tiles_dirty
            app.draw(frame)
            tokens.take(frame)
            written.append(tokens.engine.counters.tiles_dirty - before)
        assert calls == []
        frame_bytes = 3 * SIZE[0] * SIZE[1] * len(app.eyes)
        assert 0 < sum(staged) / 4 < frame_bytes / 4  # tables and a flag for each tile
        tiles = 22 * 13 * len(app.eyes)
        assert written[0] == tiles
        assert 0 < min(written[1:]) <= max(written[1:]) < tiles / 2  # crates turn, the hall stands
        tokens.engine.read_level(0)
        assert calls == ["glGetTextureSubImage"]  # so the count can see one


@pytest.mark.parametrize("app", ARRANGEMENTS, indirect=True)
def test_each_eye_looks_at_the_same_thing_in_its_own_picture(app, demo):
    backend = gl.open_current()
    with demo("tokens").Tokens(app, backend) as tokens:
        app.draw(0)
        tokens.take(0)
        for fixation, eye in zip(tokens.fixations, app.eyes, strict=True):
            x, y, _, w = eye.matrix() @ (-1.35, 0.85, -4.35, 1)  # where the notice begins
            np.testing.assert_allclose(fixation, ((x / w + 1) / 2, (1 - y / w) / 2), atol=0.02)
        if len(app.eyes) == 2:
            assert tokens.fixations[0, 0] - tokens.fixations[1, 0] > 0.1


def test_a_context_of_its_own_gives_the_same_tokens(program, capsys):
    said = []
    for run_app in (program.lent, program.shared):
        run_app("layers", SIZE, 3, "gl", None)
        said.append([line for line in capsys.readouterr().out.splitlines() if "medians" not in line])
    assert said[0] == said[1]
    assert "tokens (2, 268, 768)" in said[0][1]


def test_what_fails_on_the_apps_thread_is_raised_here(program, monkeypatch):
    monkeypatch.setattr(program.App, "draw", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        program.shared("mono", SIZE, 3, "gl", None)


def test_it_runs_as_a_program(gl_backend, tmp_path):
    done = run("--eyes", "side-by-side", "--context", "shared", "--frames", "3", "--out", str(tmp_path / "new"))
    assert done.returncode == 0, done.stderr
    assert not done.stderr
    assert "2 of 352 x 208" in done.stdout
    assert "3 frames: drawing " in done.stdout
    assert (tmp_path / "new" / "gl_app.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--size", "big"), "'big' is no size; give WxH"),
        (("--size", "0x9"), "'0x9' is no size"),
        (("--frames", "0"), "--frames is 0; at least 1 is needed"),
    ],
)
def test_what_cannot_be_run_is_said(program, monkeypatch, capsys, arguments, message):
    monkeypatch.setattr(sys, "argv", ["gl_app.py", *arguments])
    with pytest.raises(SystemExit):
        program.main()
    assert message in capsys.readouterr().err


def test_without_moderngl_it_is_one_line(tmp_path):
    (tmp_path / "moderngl.py").write_text("raise ModuleNotFoundError('gone', name='moderngl')")
    done = run(PYTHONPATH=f"{tmp_path}{os.pathsep}{DEMOS.parent}")
    assert done.returncode == 1
    assert done.stderr == 'gl_app: moderngl is missing; pip install "texvlm[demos]"\n'


def test_without_opengl_it_is_one_line(tmp_path):
    done = run(__EGL_VENDOR_LIBRARY_DIRS=str(tmp_path))
    assert done.returncode == 1
    assert done.stderr.startswith("gl_app: no OpenGL 4.5 through EGL (")
    assert done.stderr.count("\n") == 1
