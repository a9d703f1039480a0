"""docs/gaze.md and docs/embedding.md: what they show in Python runs."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from gl_app import RGBA8, TEXTURE_2D, app_context

import texvlm
from texvlm.gaze import GazeInput, GazeSample, GazeView

DOCS = Path(texvlm.__file__).parents[1] / "docs"


def blocks(page: str) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```$", (DOCS / page).read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def test_gaze(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shown: dict[str, object] = {}
    *before, recording = blocks("gaze.md")
    for block in before:
        exec(block, shown)
    assert shown["state"] == "followed"
    assert shown["gaze"].at(0, 1)[1] == "none"
    shown["gaze"] = GazeInput([GazeView(shown["left_eye"], "left")])  # from here on time begins anew
    exec(recording, shown)
    assert shown["replay"].finished
    assert shown["gaze"].at(1_000_000)[1] == "followed"


@pytest.mark.gl
def test_embedding(gl_backend, rng):
    size = (352, 208)
    one, two = blocks("embedding.md")
    gaze = GazeInput([GazeView(eye=eye) for eye in ("left", "right")])
    for eye in ("left", "right"):
        gaze.put(GazeSample(0, point=(0.25, 0.5), eye=eye))
    with app_context() as app:
        name, array = app.texture(RGBA8, size), app.texture(RGBA8, size, layers=2)
        drawn = rng.integers(0, 256, (size[1], size[0], 4), dtype=np.uint8)
        app.put(name, drawn)
        for layer in range(2):
            app.put(array, drawn, layer=layer)
        shown = {"size": size, "name": name, "target": TEXTURE_2D, "array": array, "u": 0.4, "v": 0.6}
        shown |= {"gaze": gaze, "display_time_ns": 0}
        exec(one, shown)
        np.testing.assert_array_equal(shown["engine"].read_level(0), drawn[::-1, :, :3])
        shown["engine"].close()
        exec(two, shown)
        assert len(shown["batch"]) == 2
        shown["engine"].close()
        shown["backend"].close()
    assert (DOCS / "gl_app.png").is_file()
