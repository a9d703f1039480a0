"""`texvlm layouts`: its numbers against a count by hand, its pictures, its refusals."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from texvlm.drawing.layout_sheet import cover_counts, draw_layout, layout_facts
from texvlm.drawing.pictures import LOD_COLOURS
from texvlm.frames import Frame
from texvlm.layouts import LAYOUTS, Focus, make_layout, make_table, pad_table
from texvlm.sources import open_source

SIZE = (320, 240)


def picture(path: str) -> np.ndarray:
    with open_source(path) as source:
        frame = next(iter(source))
        assert isinstance(frame, Frame)
        return frame.pixels


def test_all_layouts_are_listed_and_drawn(call):
    outcome = call("layouts", "--out", "drawn")
    assert outcome.code == 0
    for name in LAYOUTS:
        assert name in outcome.out
        assert picture(f"drawn/{name}.png").shape[1] >= 480
    assert outcome.err.startswith("drawn: drawn/quadtree.png")


def test_the_report_as_json(call):
    report = call("layouts", "quadtree", "--size", "640x480", "--tokens", "100", "--json").json
    assert report["size"] == [640, 480]
    (entry,) = report["layouts"]
    assert entry["tokens"] == 100
    assert (entry["once"], entry["never"], entry["several"]) == (1, 0, 0)
    assert sum(entry["lods"].values()) == 100
    assert entry["picture"] is None


def test_one_layout_into_one_file(call):
    assert call("layouts", "rings-172", "--out", "new/rings.png", "--fixation", "0.1,0.9").code == 0
    assert picture("new/rings.png").ndim == 3


def test_layouts_that_cannot_serve_are_left_out_with_the_reason(call):
    outcome = call("layouts", "--tokens", "172", "--json")
    assert {entry["layout"] for entry in outcome.json["layouts"]} >= {"quadtree", "rings-172", "sunflower"}
    assert "rings-268 is left out: layout rings-268 has 268 tokens, not 172" in outcome.err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("spiral",), "unknown layout 'spiral'"),
        (("rings-268", "--tokens", "3"), "268 tokens, not 3"),
        (("quadtree", "--size", "big"), "accepted: WIDTHxHEIGHT"),
        (("quadtree", "--size", "0x5"), "each side is 1..16384"),
        (("all", "--size", "0x5"), "each side is 1..16384"),
        (("quadtree", "--fixation", "inf,0"), "finite"),
        (("all", "--out", "x.png"), "one picture for 11 layouts"),
    ],
)
def test_refusals(call, arguments, words):
    assert words in call("layouts", *arguments).complaint


def test_a_folder_that_cannot_be_made(call):
    Path("taken").write_text("mine")
    assert call("layouts", "quadtree", "--out", "taken").complaint == "texvlm: taken: File exists"


def covered_by_hand(table, size):
    """Tokens over each texel centre, one texel and one token at a time."""
    x, y = np.meshgrid(np.arange(size[0]) + 0.5, np.arange(size[1]) + 0.5)
    counts = np.zeros(x.shape, int)
    for row in table:
        half = row["side"] / 2
        counts += (x >= row["x"] - half) & (x < row["x"] + half) & (y >= row["y"] - half) & (y < row["y"] + half)
    return counts


@pytest.mark.parametrize("name", ["quadtree", "rings-20-288", "sunflower", "crops"])
def test_coverage_is_that_of_every_texel(name):
    focus = Focus(np.array([[50.5, 200.25]]))
    table = make_layout(name).plan(SIZE, focus)
    counts = covered_by_hand(table, SIZE)
    assert np.array_equal(cover_counts(table, SIZE), counts)
    facts = layout_facts(table, size=SIZE, patch=16)
    assert facts.once == np.mean(counts == 1)
    assert facts.never == np.mean(counts == 0)
    assert facts.several == np.mean(counts > 1)


def test_facts_of_two_tokens_and_padding():
    table = pad_table(make_table([16, 40], [16, 8], [32, 16], size=(48, 32)), 5)
    facts = layout_facts(table, size=(48, 32), patch=16)
    assert facts.tokens == 2
    assert facts.lods == {0: 1, 1: 1}
    assert facts.sides == (16, 32)
    assert facts.partly_outside == 0
    assert facts.once == pytest.approx((32 * 32 + 16 * 16) / (48 * 32))


def test_the_picture_shows_levels_frame_and_bars():
    layout, focus = make_layout("rings-172"), Focus(np.array([[10.0, 10.0]]))
    image = draw_layout("rings-172", layout, focus, size=SIZE)
    colours = {tuple(colour) for colour in image.reshape(-1, 3)}
    assert {LOD_COLOURS[level] for level in range(4)} <= colours
    inside = draw_layout("uniform", make_layout("uniform"), focus, size=SIZE)
    assert inside.shape[1] == 960  # 320 x 240 in a box of 1280 x 720
    assert image.shape[1] == 880  # with a margin of a quarter of the height on every side


def test_a_picture_of_another_kind_is_refused(call, tmp_path):
    outcome = call("layouts", "rings", "--out", str(tmp_path / "one.jpg"))
    assert outcome.code == 2
    assert "pictures are written as .png" in outcome.err
    assert not list(tmp_path.iterdir())
