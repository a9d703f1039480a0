"""docs/temporal-quality.md: what it shows in Python runs."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np

import texvlm
from texvlm import Engine
from texvlm.fixation import scene_of

PAGE = Path(texvlm.__file__).parents[1] / "docs" / "temporal-quality.md"


def test_what_the_page_shows_runs(tmp_path, rng):
    blocks = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    assert len(blocks) == 4
    frames = [np.full((360, 640, 3), 90, np.uint8) for _ in range(6)]
    for k, frame in enumerate(frames):
        frame[100:180, 40 * k : 40 * k + 80] = 220
    truth = rng.random((40, 9, 12)).astype(np.float32)
    encoded = SimpleNamespace(encoded=np.ones(9, bool), deviation=np.zeros(9), ages=np.zeros(9, int))
    with Engine(backend="cpu") as engine:
        shown = {
            "np": np,
            "scene_of": scene_of,
            "engine": engine,
            "frames": frames,
            "run": [(t, t, t, encoded) for t in truth],
            "path": tmp_path / "strip.png",
        }
        for block in blocks:
            exec(block, shown)
    plan = shown["plan"]
    assert plan.counts[0] >= 80
    assert plan.counts[1] <= 20
    assert np.array_equal(shown["batch"].table[0], plan.table)
    assert shown["ghosts"].report().worst == 0
    assert (tmp_path / "strip.png").stat().st_size > 1000
