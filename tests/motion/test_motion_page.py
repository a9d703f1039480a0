"""docs/motion.md: what it shows in Python runs, and its tables name what there is."""

from __future__ import annotations

import re
from pathlib import Path

import av
import numpy as np
import pytest
from moving import texels, texture

import texvlm
from texvlm import motion

PAGE = Path(texvlm.__file__).parents[1] / "docs" / "motion.md"
TEXT = PAGE.read_text(encoding="utf-8")


def test_what_the_page_shows_runs(tmp_path):
    first, second = re.findall(r"^```python\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
    path = tmp_path / "clip.mp4"
    with av.open(str(path), "w") as output:
        stream = output.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 480, 320, "yuv420p"
        for index in range(3):
            gray = (texture(texels((480, 320)) / 4 + np.array([index, 0])) * 255).astype(np.uint8)
            output.mux(stream.encode(av.VideoFrame.from_ndarray(gray, format="gray8")))
        output.mux(stream.encode(None))
    shown: dict = {}
    exec(first.replace("clip.mp4", str(path)).replace("Engine()", 'Engine(backend="cpu")'), shown)
    assert shown["known"].all()
    np.testing.assert_allclose(shown["flow"], [[4, 0]], atol=0.5)
    shown = {}
    exec(second, shown)
    assert shown["camera"].kind == "pan"
    np.testing.assert_allclose(shown["camera"].at([(100, 80)]), [[8, 0]], atol=0.3)
    assert shown["hidden"].mean() < 0.2


def test_the_page_names_every_motion_source():
    (rows,) = re.findall(r"^\| `open_motion`.*\n\| ---.*\n((?:\|.*\n)+)", TEXT, re.MULTILINE)
    assert re.findall(r'^\| `"(\w+)"`', rows, re.MULTILINE) == list(motion.MOTION_SOURCES)


@pytest.mark.parametrize("name", motion.__all__)
def test_every_public_name_is_there(name):
    assert getattr(motion, name) is not None
