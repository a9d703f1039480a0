"""docs/depth-and-text.md: what it shows runs, on small models."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from families import clip, depth_anything
from test_similarity import save_tokenizer

import texvlm

PAGE = Path(texvlm.__file__).parents[1] / "docs" / "depth-and-text.md"


@pytest.fixture
def shown(make_pictures):
    frame, other = make_pictures(2, (320, 192))
    later = frame.copy()
    later[:64, :64] = other[:64, :64]
    return {"frame": frame, "later": later, "gaze": (0.4, 0.6), "texvlm": texvlm}


def run(number: int, shown: dict[str, object], name: str, folder: Path) -> None:
    code = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)[number]
    assert name in code
    exec(code.replace(name, str(folder)), shown)


def test_depth(shown, tmp_path):
    depth_anything().save_pretrained(tmp_path)
    run(0, shown, "models/depth-anything-small-hf", tmp_path)
    assert shown["wide"].shape == shown["depth"].shape == (1, 144, 256)
    assert 0 < shown["part"].pixels.shape[1] < 268
    assert shown["depth"].isfinite().all()
    assert (shown["depth"] - shown["wide"]).abs().max() > 1e-3


def test_words(shown, tmp_path):
    clip().save_pretrained(tmp_path)
    save_tokenizer(tmp_path)
    run(1, shown, "models/clip-vit-base-patch16", tmp_path)
    assert np.isfinite(shown["relevance"]).all()
    assert shown["relevance"].shape == (5, 7)
