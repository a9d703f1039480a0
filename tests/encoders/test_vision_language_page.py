"""docs/vision-language.md: what it shows in Python runs."""

from __future__ import annotations

import re
from pathlib import Path

import vlms

import texvlm

PAGE = Path(texvlm.__file__).parents[1] / "docs" / "vision-language.md"


def test_what_the_page_shows_runs(tmp_path, make_pictures):
    vlms.qwen3_vl().save_pretrained(tmp_path / "model")
    (code,) = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    shown = {
        "frame": make_pictures(1, (320, 180))[0],
        "gaze": (0.4, 0.6),
        "prompt": [5, 92, vlms.IMAGE, 93, 7],
    }
    exec(code.replace("models/Qwen3-VL-2B-Instruct", str(tmp_path / "model")), shown)
    assert shown["features"].merged.shape == (1, 64, 32)
    assert shown["given"]["input_ids"].shape == (1, 68)
    assert shown["answer"].shape[0] == 1
    assert shown["answer"].shape[1] > 68
