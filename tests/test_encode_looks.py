"""Looks in the encode job: policies follow what is there, resume bit for bit, fail clearly, and are drawn."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from encode_runs import after_calls, shard_bytes, with_
from fixation.scenes import with_square

from texvlm.drawing.pictures import draw_sheet, write_png
from texvlm.encode import encode
from texvlm.engine import Engine
from texvlm.errors import LookError, SourceError, StoreError
from texvlm.fixation import Look
from texvlm.store import open_tokens

LOOKS = [
    "changes:decay_s=0.3",
    "saccades:of=saliency,rate_hz=4",
    "saccades:of=changes",
    "pursuit",
    "saliency:follow=map",
    "saliency:follow=regions",
    "colour:rgb=#f0f0f0,count=2",
    "regions:boxes=0.1 0.1 0.4 0.4/0.5 0.5 0.9 0.9 2",
]


@pytest.fixture
def clip(tmp_path: Path) -> str:
    """A folder of images in which a bright square runs to the right and down."""
    (tmp_path / "in").mkdir()
    for i in range(12):
        write_png(tmp_path / "in" / f"{i:02}.png", with_square((60 + 16 * i, 50 + 8 * i)))
    return str(tmp_path / "in")


def looked_at(folder: Path) -> np.ndarray:
    """Middle of the finest tokens of each frame, texels."""
    found = []
    with open_tokens(folder) as store:
        for batch in store:
            table = batch.table[0][batch.table[0]["layer"] == 0]
            fine = table[table["side"] == table["side"].min()]
            found.append((fine["x"].mean(), fine["y"].mean()))
    return np.array(found)


@pytest.mark.parametrize("look", LOOKS)
def test_a_resume_looks_where_an_uninterrupted_run_looks(tmp_path: Path, look: str) -> None:
    settings = with_(moving=False, look=look, frames=14)
    encode(settings, tmp_path / "whole")
    encode(settings, tmp_path / "twice", stop=after_calls(9))
    report = encode(settings, tmp_path / "twice", resume=True)
    assert report.first_frame == 8  # the last whole shard
    assert shard_bytes(tmp_path / "twice") == shard_bytes(tmp_path / "whole")


@pytest.mark.parametrize("look", ["colour:rgb=#f0f0f0", "saliency", "changes", "pursuit:of=colour,rgb=#f0f0f0"])
def test_the_fovea_follows_the_thing(tmp_path: Path, clip: str, look: str) -> None:
    settings = with_(input=clip, moving=False, look=look, tokens=40, frames=None, threshold=0)
    encode(settings, tmp_path / "out")
    expected = np.array([(60 + 16 * i, 50 + 8 * i) for i in range(12)])
    apart = np.abs(looked_at(tmp_path / "out") - expected)[2:]  # the first change is seen in the second frame
    assert apart.max() < 48  # one and a half of the finest tokens but one


def test_a_map_moves_tokens_too(tmp_path: Path, clip: str) -> None:
    settings = with_(
        input=clip, moving=False, tokens=40, frames=None, look="colour:rgb=#f0f0f0,follow=map,surround=0.1"
    )
    encode(settings, tmp_path / "out")
    path = looked_at(tmp_path / "out")
    assert path[0, 0] < 120 < 180 < path[-1, 0]


@pytest.mark.parametrize(
    ("look", "error", "words"),
    [
        ("wander", ValueError, "unknown look 'wander'; accepted: fixed, moving"),
        ("saliency:wings=2", TypeError, "look saliency has no option 'wings'; it has: longest, count"),
        ("saccades:rate_hz=fast", ValueError, "look option rate_hz='fast'"),
        ("template:file=gone.png", SourceError, "gone.png"),
        ("colour", ValueError, "needs a colour"),
        ("regions:boxes=0.5 0.5 0.1 0.9", ValueError, "region"),
        ("nowhere.Policy", ValueError, "look nowhere.Policy cannot be imported"),
    ],
)
def test_looks_that_cannot_be_had_leave_nothing_behind(
    tmp_path: Path, look: str, error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        encode(with_(moving=False, look=look), tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("other", [{"moving": True}, {"moving": False, "gaze": "a.csv"}])
def test_there_is_one_way_to_look(other: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="two ways to look"):
        with_(look="saliency", **other)


def test_a_map_needs_a_layout_that_follows_it(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="rings layout cannot follow a score map"):
        encode(with_(moving=False, look="saliency:follow=map", layout="rings-20-288", tokens=None), tmp_path / "out")
    assert not (tmp_path / "out").exists()


class Fussy:
    """A user's own policy that gives up at its sixth frame."""

    name, count = "fussy", 1

    def __init__(self, frames: int = 5) -> None:
        self.left = frames

    def look(self, scene: Any) -> Look:
        self.left -= 1
        if self.left < 0:
            raise RuntimeError("seen enough")
        return Look(np.array([0.25, 0.75]), why="fussy")


def test_a_policy_that_fails_midway_loses_no_tokens(tmp_path: Path) -> None:
    with pytest.raises(
        LookError, match=r"look policy fussy failed on source 0: RuntimeError: seen enough.*the 5 frames"
    ):
        encode(with_(moving=False, look="test_encode_looks.Fussy:frames=5"), tmp_path / "out")
    with open_tokens(tmp_path / "out") as store:
        assert len(store) == 5


def test_a_template_with_other_content_is_another_job(tmp_path: Path) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (24, 24, 3), np.uint8)
    file = tmp_path / "thing.png"
    write_png(file, picture)
    settings = with_(moving=False, look=f"template:file={file},least=0.2")
    encode(settings, tmp_path / "out", stop=after_calls(3))
    write_png(file, 255 - picture)
    with pytest.raises(StoreError, match="look_files"):
        encode(settings, tmp_path / "out", resume=True)


def test_a_picture_does_not_replace_the_template(tmp_path: Path) -> None:
    file = tmp_path / "thing.png"
    write_png(file, np.random.default_rng(0).integers(0, 256, (24, 24, 3), np.uint8))
    before = file.read_bytes()
    with pytest.raises(StoreError, match="it would replace the look's file"):
        encode(with_(moving=False, look=f"template:file={file}"), tmp_path / "out", still=file)
    assert file.read_bytes() == before


def test_the_preview_shows_where_and_why(tmp_path: Path, clip: str) -> None:
    settings = with_(input=clip, moving=False, look="colour:rgb=#f0f0f0", frames=5)
    report = encode(settings, tmp_path / "out", preview=tmp_path / "p.mp4", still=tmp_path / "s.png")
    assert report.preview is not None
    assert report.ms_per_frame["look"] > 0
    frame = with_square((60, 50))
    with Engine(backend="cpu", tokens=24) as engine:
        tiles = engine.submit(frame).tiles
        batch = engine.tokens()
    importance = np.zeros((4, 4), np.float32)
    importance[0, 0] = 1
    plain = draw_sheet(frame, batch, tiles)
    shown = draw_sheet(frame, batch, tiles, importance=importance)
    height, width = plain.shape[0] // 2, plain.shape[1] // 2
    assert (shown[height + 4 :] == plain[height + 4 :]).all()  # only the first panel differs
    glow, dark = shown[height // 6, width // 8].astype(int), shown[height - 4, width - 8].astype(int)
    assert glow[0] > glow[2]  # warm
    assert dark.sum() < plain[height - 4, width - 8].sum()
    assert dark[0] == dark[2]
