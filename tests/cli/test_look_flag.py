"""`texvlm encode --look`: one more way to look, from the line or the configuration file, said when it cannot be."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from texvlm.store import open_tokens

SMALL = ("--tokens", "16", "--backend", "cpu", "--frames", "6")


@pytest.mark.parametrize(
    "look", ["saliency", "saccades:of=changes,rate_hz=4", "pursuit", "colour:rgb=#ffffff,follow=map", "moving"]
)
def test_a_look_is_followed_and_remembered(call, look):
    outcome = call("encode", "scene:96x64", "--out", "t", *SMALL, "--look", look, "--json")
    assert outcome.code == 0
    assert outcome.json["ms_per_frame"]["look"] > 0
    assert json.loads(Path("t/meta.json").read_text())["settings"]["look"] == look


@pytest.mark.parametrize("layout", ["rings", "crops"])
def test_layouts_with_a_place_for_each_fixation_get_as_many(call, layout):
    flags = ("--layout", layout, "--backend", "cpu", "--frames", "3")
    assert call("encode", "scene:640x384", "--out", "t", *flags, "--look", "changes:count=2").code == 0
    with open_tokens("t") as store:
        assert set(store[0].table["region"].ravel()) >= {0, 1}


def test_a_look_on_the_line_replaces_a_fixation_of_the_file(call):
    Path("texvlm.toml").write_text('fixation = "0.1,0.1"\n')
    assert call("encode", "scene:96x64", "--out", "t", *SMALL, "--look", "saliency").code == 0
    assert json.loads(Path("t/meta.json").read_text())["settings"]["look"] == "saliency"


def test_a_fixation_on_the_line_replaces_a_look_of_the_file(call):
    Path("texvlm.toml").write_text('look = "saliency"\n')
    assert call("encode", "scene:96x64", "--out", "t", *SMALL, "--fixation", "0.1,0.1").code == 0
    settings = json.loads(Path("t/meta.json").read_text())["settings"]
    assert (settings["look"], settings["fixations"]) == (None, [[0.1, 0.1]])


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ("--look saliency --fixation 0.1,0.1", "--look and --fixation are two ways to look"),
        ("--look saliency --moving", "--look and --moving are two ways to look"),
        ("--look saliency --gaze g.csv", "--look and --gaze are two ways to look"),
        ("--look wander", "unknown look 'wander'; accepted: fixed, moving"),
        ("--look saliency:wings=2", "look saliency has no option 'wings'"),
        ("--look saliency:count=none", "look option count='none'"),
        ("--look template:file=gone.png", "gone.png"),
        ("--look saliency:follow=map --layout rings", "rings layout cannot follow a score map"),
        ("--look json.decoder.JSONDecoder", "which is no LookPolicy"),
    ],
)
def test_looks_that_are_not_accepted(call, flags, words):
    assert words in call("encode", "scene:640x480", "--out", "t", "--frames", "2", *flags.split()).complaint
    assert not Path("t").exists()
