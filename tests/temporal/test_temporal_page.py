"""docs/temporal.md: what it shows in Python runs, and its tables name what there is."""

from __future__ import annotations

import re
from pathlib import Path

from model_folders import save_vit
from sources.clips import write_clip

import texvlm
from texvlm.encoders import load
from texvlm.temporal import PRESETS, TemporalEncoder

PAGE = Path(texvlm.__file__).parents[1] / "docs" / "temporal.md"
TEXT = PAGE.read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)


def test_what_the_page_shows_runs(tmp_path):
    model = save_vit(tmp_path / "model")
    clip = write_clip(tmp_path / "clip.mp4", frames=4)
    first, own, moving = BLOCKS
    shown: dict = {"print": lambda *_: None}
    first = first.replace("model-folder", str(model)).replace("clip.mp4", str(clip))
    exec(first.replace("threshold=0,", 'threshold=0, backend="cpu",').replace("tokens=280", "tokens=40"), shown)
    assert shown["temporal"].counters.views == 4
    shown = {"encoder": load(model)}
    exec(own, shown)
    assert shown["temporal"].settings(0).name == "gate 3"
    assert shown["temporal"].settings(0).check_every == 100
    exec(moving, shown)
    assert isinstance(shown["temporal"], TemporalEncoder)


def test_the_page_names_every_preset_and_reason():
    for name in PRESETS:
        assert f"`{name}`" in TEXT
    parts = [path.read_text() for path in Path(texvlm.__file__).with_name("temporal").glob("*.py")]
    for reason in re.findall(r"`([a-z ]+)`", TEXT.split("| what is seen |")[1].split("\n\n")[0]):
        assert reason == "report.reason" or any(f'"{reason}"' in part for part in parts), reason
