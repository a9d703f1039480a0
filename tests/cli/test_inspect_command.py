"""`texvlm inspect` and `texvlm auto-tune`: what they write can be read, and one line for what cannot be."""

from __future__ import annotations

import pytest
from model_folders import save_vit
from PIL import Image

from texvlm.temporal.presets import settings_of


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return save_vit(tmp_path_factory.mktemp("models") / "small")


def test_pixels_alone_need_no_model(call, clip, tmp_path):
    report = call("inspect", clip, "--tokens", 60, "--backend", "cpu", "--json").json
    assert (report["model"], report["frames"], report["flops_share"]) == (None, 12, None)
    assert 0 < report["tokens_encoded"] <= report["tokens"] == 12 * 60
    with Image.open(tmp_path / "timeline.png") as picture:
        assert picture.width == 1920


def test_with_a_model_it_says_what_was_spent(call, clip, model, tmp_path):
    done = call(
        "inspect",
        clip,
        "--model",
        model,
        "--preset",
        "surveillance",
        "--frames",
        6,
        "--tokens",
        40,
        "--backend",
        "cpu",
        "--out",
        "s.png",
    )
    assert done.code == 0, done.err
    assert "surveillance" in done.out
    assert "operations, of all" in done.out
    assert (tmp_path / "s.png").stat().st_size > 1000


def test_auto_tune_proposes_what_inspect_and_the_encoder_read(call, clip, model, tmp_path):
    given = (
        "--model",
        model,
        "--tokens",
        40,
        "--frames",
        8,
        "--thresholds",
        "0,1",
        "--gates",
        "0,0.2",
        "--backend",
        "cpu",
    )
    report = call("auto-tune", clip, *given, "--target", 0.9999, "--out", "own.toml", "--json").json
    assert report["frames"] == 8
    assert len(report["trials"]) == 4
    shares = [trial["flops_share"] for trial in report["trials"]]
    assert shares == sorted(shares)
    exact = next(trial for trial in report["trials"] if trial["threshold"] == trial["gate"] == 0)
    assert exact["token_cosine"] == pytest.approx(1, abs=1e-5)
    assert report["reached"]
    assert report["chosen"]["token_cosine"] >= 0.9999
    settings = settings_of(tmp_path / "own.toml")
    assert (settings.threshold, settings.gate) == (report["chosen"]["threshold"], report["chosen"]["gate"])
    again = call(
        "inspect",
        clip,
        "--model",
        model,
        "--tokens",
        40,
        "--frames",
        4,
        "--preset",
        "own.toml",
        "--backend",
        "cpu",
        "--json",
    ).json
    assert again["preset"] == "tuned"


def test_auto_tune_prints_the_curve_and_says_where_nothing_reaches_the_target(call, clip, model):
    done = call(
        "auto-tune",
        clip,
        "--model",
        model,
        "--tokens",
        40,
        "--frames",
        8,
        "--thresholds",
        "200",
        "--gates",
        "5",
        "--target",
        0.999999,
        "--backend",
        "cpu",
    )
    assert done.code == 0, done.err
    assert "token cosine" in done.out
    assert "proposed" in done.out
    assert "no pair reaches 0.999999" in done.err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("inspect", "gone.mp4"), "gone.mp4"),
        (("inspect", "CLIP", "--preset", "tv"), "preset 'tv'; accepted: auto"),
        (("inspect", "CLIP", "--motion", "thought"), "motion is 'thought'"),
        (("inspect", "CLIP", "--out", "strip.gif"), "written as .png"),
        (("inspect", "CLIP", "--model", "gone"), "gone: no such folder"),
        (("auto-tune", "CLIP", "--model", "MODEL", "--gates", "wide"), "--gates wide"),
        (("auto-tune", "CLIP", "--model", "MODEL", "--gates", "-1"), "gate is -1"),
        (("auto-tune", "CLIP", "--model", "MODEL", "--target", "2"), "target is 2"),
        (("auto-tune", "CLIP", "--model", "MODEL", "--out", "own.json"), "written as .toml"),
    ],
)
def test_what_cannot_be_is_one_line(call, clip, model, tmp_path, arguments, says):
    given = [{"CLIP": clip, "MODEL": model}.get(word, word) for word in arguments]
    assert says in call(*given).complaint
    assert not list(tmp_path.iterdir())
