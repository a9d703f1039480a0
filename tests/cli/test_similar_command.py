"""`texvlm similar`: the nearest frames across clips, encoded now or read from folders of features."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from model_folders import save_vit
from sources.clips import write_clip

from texvlm.drawing.pictures import write_png

SMALL = ("--tokens", "16", "--backend", "cpu")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return save_vit(tmp_path_factory.mktemp("models") / "small")


@pytest.fixture
def pictures(tmp_path):
    """A folder with a picture, one that is nearly the same, and two others; and the query, a copy of the first."""
    rng = np.random.default_rng(5)
    folder = tmp_path / "photos"
    folder.mkdir()
    first = rng.integers(0, 200, (96, 96, 3), np.uint8)
    write_png(tmp_path / "query.png", first)
    write_png(folder / "a-same.png", first)
    write_png(folder / "b-near.png", first + rng.integers(0, 30, first.shape, np.uint8))
    write_png(folder / "c-dark.png", first // 8)
    write_png(folder / "d-flat.png", np.full_like(first, 240))
    return folder


def test_pictures_are_ordered_by_what_the_model_says_of_them(call, model, pictures):
    report = call("similar", "query.png", pictures, "--model", model, *SMALL, "--json").json
    matches = report["matches"]
    assert [Path(match["clip"]).name for match in matches[:2]] == ["a-same.png", "b-near.png"]
    assert matches[0]["similarity"] == pytest.approx(1, abs=1e-6)
    cosines = [match["similarity"] for match in matches]
    assert cosines == sorted(cosines, reverse=True)
    assert (report["clips"], report["frames"], report["skipped"]) == (4, 4, {})
    assert len(call("similar", "query.png", pictures, "--model", model, *SMALL, "--top", "1", "--json").json["matches"])


def test_the_table_names_clips_and_times(call, model, pictures, clip):
    outcome = call("similar", "query.png", pictures, clip, "--model", model, *SMALL, "--every", "6")
    assert outcome.code == 0, outcome.err
    for words in ("frames like query.png at 0.00 s", "cosine", "a-same.png", "clip.mp4", "6 frames of 5 inputs"):
        assert words in outcome.out


def test_the_query_is_not_its_own_neighbour_and_neighbours_count_once(call, model, clip):
    flags = ("--model", model, *SMALL, "--every", "1", "--json")
    near = call("similar", clip, clip, *flags, "--at", "0.1", "--apart", "0.12").json["matches"]
    times = sorted(match["time_s"] for match in near)
    assert all(later - earlier >= 0.12 for earlier, later in pairwise(times))
    assert all(abs(time - 0.1) >= 0.12 for time in times)
    assert len(call("similar", clip, clip, *flags, "--apart", "0").json["matches"]) == 10
    everything = call("similar", clip, clip, *flags, "--apart", "0", "--top", "99").json["matches"]
    assert len(everything) == 11  # 12 frames, and one is the query


def test_stored_features_give_the_answers_of_the_clip_itself(call, model, clip):
    assert call("encode", clip, "--model", model, "--out", "f", *SMALL, "--feature-dtype", "float32").code == 0
    flags = ("--model", model, *SMALL, "--every", "1", "--apart", "0.1", "--at", "0.2", "--json")
    stored = call("similar", "f", "f", *flags).json
    fresh = call("similar", clip, clip, *flags).json
    assert stored["query"]["clip"] == str(clip)
    assert stored["query"]["time_s"] == pytest.approx(0.2)
    assert [match["frame"] for match in stored["matches"]] == [match["frame"] for match in fresh["matches"]]
    for one, other in zip(stored["matches"], fresh["matches"], strict=True):
        assert one["similarity"] == pytest.approx(other["similarity"], abs=2e-3)


def test_folders_of_clips_and_of_features_are_looked_into(call, model, tmp_path):
    (tmp_path / "lib").mkdir()
    for name in ("one.mp4", "two.mp4"):
        write_clip(tmp_path / "lib" / name, frames=4)
    Path("lib/notes.txt").write_text("no clip")
    assert call("encode", "lib/one.mp4", "--model", model, "--out", "lib/kept", *SMALL).code == 0
    report = call("similar", "lib/one.mp4", "lib", "--model", model, *SMALL, "--json").json
    assert (report["clips"], report["frames"]) == (3, 4 + 1 + 1)
    places = [(match["clip"], match["time_s"]) for match in report["matches"]]
    assert len(places) == len(set(places))  # one.mp4 came twice


def test_what_is_broken_in_a_folder_is_left_out_and_told(call, model, pictures):
    (pictures / "e-broken.png").write_bytes(b"no picture")
    outcome = call("similar", "query.png", pictures, "--model", model, *SMALL)
    assert outcome.code == 0
    assert "texvlm: left out" in outcome.err
    assert "e-broken.png: not an image" in outcome.err
    assert "e-broken.png" in str(
        call("similar", "query.png", pictures, "--model", model, *SMALL, "--json").json["skipped"]
    )
    assert "not an image" in call("similar", "query.png", pictures / "e-broken.png", "--model", model, *SMALL).complaint


def test_inputs_that_cannot_be_compared(call, model, clip, tmp_path):
    other = save_vit(tmp_path / "other", seed=9)
    assert call("encode", clip, "--model", other, "--out", "f", *SMALL, "--frames", "1").code == 0
    assert call("encode", clip, "--out", "t", *SMALL, "--frames", "1").code == 0
    Path("empty").mkdir()
    for where, words in (
        ("f", "f holds features of other (weights "),
        ("t", "t holds tokens without features"),
        ("empty", "empty holds no video, picture or folder of features"),
        ("gone.mp4", "gone.mp4: no such file"),
    ):
        assert words in call("similar", clip, where, "--model", model, *SMALL).complaint
    late = call("similar", clip, clip, "--model", model, *SMALL, "--at", "99").complaint
    assert "has no frame at 99 s or later" in late
