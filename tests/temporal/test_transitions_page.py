"""docs/transitions.md: what it shows in Python runs."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
from shots import resting

import texvlm

PAGE = Path(texvlm.__file__).parents[1] / "docs" / "transitions.md"


def test_every_block_runs(monkeypatch):
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) == 3
    pictures = [np.rint(255 * picture).astype(np.uint8) for picture in resting(1, 2) + resting(2, 2)]
    frames = [texvlm.Frame(picture, pts=k / 25) for k, picture in enumerate(pictures)]
    monkeypatch.setattr(texvlm, "open_source", lambda name: frames)
    names: dict[str, object] = {"features": SimpleNamespace(tokens=torch.rand(1, 5, 8)), "source": "door"}
    for block in blocks:
        exec(block, names)
    transition = names["transition"]
    assert transition.frame == 3
    assert names["decision"].reason == "first"
    assert names["calm"].shape == (5, 8)
    names["engine"].close()
