"""`texvlm classify`: labels of each frame, of the whole of it and of what is looked at."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from model_folders import LABELS, save_vit

from texvlm import Engine, encoders, open_source

SMALL = ("--tokens", "16", "--backend", "cpu")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return save_vit(tmp_path_factory.mktemp("models") / "small")


def test_frames_get_the_labels_that_the_model_gives(call, clip, model):
    report = call("classify", clip, "--model", model, *SMALL, "--every", "5", "--top", "5", "--json").json
    assert [frame["frame"] for frame in report["frames"]] == [0, 1, 2]
    assert [round(frame["time_s"], 3) for frame in report["frames"]] == [0, 0.167, 0.333]
    assert report["model"]["name"] == "small"
    encoder = encoders.load(model)
    options = {"tokens": 16, "backend": "cpu", "mean": encoder.mean, "std": encoder.std}
    with torch.inference_mode(), open_source(clip, every=5) as source, Engine(**options) as engine:
        for frame, found in zip(source, report["frames"], strict=True):
            engine.submit(frame)
            own = encoder.classify(encoder(engine.tokens((0.5, 0.5))))[0].softmax(-1)
            given = {label["name"]: label["probability"] for label in found["whole"]}
            assert list(given) == [LABELS[k] for k in own.argsort(descending=True)]
            assert list(given.values()) == pytest.approx(own.sort(descending=True).values.tolist(), abs=1e-5)
            assert found["fixations"] == []


def test_the_table_has_a_column_for_each_readout(call, clip, model):
    flags = ("--readout", "fixation:20", "--fixation", "0.3,0.3,0.7,0.7", "--frames", "2")
    outcome = call("classify", clip, "--model", model, *SMALL, *flags)
    assert outcome.code == 0, outcome.err
    for words in ("small", "frame", "time, s", "whole frame", "around fixation 1", "around fixation 2", *LABELS[:1]):
        assert words in outcome.out
    found = call("classify", clip, "--model", model, *SMALL, *flags, "--json").json["frames"]
    assert [len(frame["fixations"]) for frame in found] == [2, 2]
    assert found[0]["fixations"][0] != found[0]["fixations"][1] != found[0]["whole"]


def test_every_image_of_a_folder_and_each_tenth_frame_of_a_clip(call, clip, model, tmp_path):
    from texvlm.drawing.pictures import write_png

    (tmp_path / "in").mkdir()
    for i in range(3):
        write_png(tmp_path / "in" / f"{i}.png", torch.full((96, 96, 3), 60 * i, dtype=torch.uint8).numpy())
    assert len(call("classify", "in", "--model", model, *SMALL, "--json").json["frames"]) == 3
    assert len(call("classify", clip, "--model", model, *SMALL, "--json").json["frames"]) == 2


@pytest.mark.parametrize(
    "content",
    ["\n".join("abcde"), json.dumps(list("abcde")), json.dumps({str(k): name for k, name in enumerate("abcde")})],
    ids=["lines", "list", "object"],
)
def test_classes_can_be_named_by_a_file(call, clip, model, content):
    Path("names").write_text(content)
    own = call("classify", clip, "--model", model, *SMALL, "--frames", "1", "--json").json["frames"][0]["whole"]
    flags = ("--labels", "names", "--frames", "1", "--json")
    found = call("classify", clip, "--model", model, *SMALL, *flags).json["frames"][0]["whole"]
    assert [label["name"] for label in found] == ["abcde"[LABELS.index(label["name"])] for label in own]


def test_a_look_policy_decides_where_to_look(call, clip, model):
    flags = ("--readout", "fixation:10", "--frames", "2", "--json")
    looks = [
        call("classify", clip, "--model", model, *SMALL, *flags, "--look", look).json["frames"]
        for look in ("fixed:u=0.1,v=0.1", "fixed:u=0.9,v=0.9")
    ]
    assert looks[0] != looks[1]


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ("--readout near", "readout is 'near'; accepted: fixation:DEGREES"),
        ("--readout fixation:90", "accepted: fixation:DEGREES, above 0 and below 90"),
        ("--look changes --fixation 0,0", "two ways to look"),
        ("--look saliency:follow=map --readout fixation:4", "gives a score map"),
        ("--labels few", "few names 2 classes, and small has 5"),
        ("--labels gone", "gone: No such file"),
        ("--positions nearest", "positions: Input should be 'bilinear' or 'area'"),
        ("--batch 0", "batch: Input should be greater than or equal to 1"),
    ],
)
def test_flags_that_cannot_be_served(call, clip, model, flags, words):
    Path("few").write_text("a\nb\n")
    assert words in call("classify", clip, "--model", model, *SMALL, *flags.split()).complaint


def test_a_model_without_a_classifier_and_a_folder_without_a_model(call, clip, tmp_path):
    plain = save_vit(tmp_path / "plain", classifier=False)
    assert "plain has no classifier" in call("classify", clip, "--model", plain, *SMALL).complaint
    assert "nowhere: no such folder" in call("classify", clip, "--model", "nowhere", *SMALL).complaint


@pytest.mark.data
def test_the_real_vit_reads_a_stop_sign_where_it_looks(call, data_folder):
    model = data_folder.parent / "models" / "vit-tiny-patch16-224"
    photo = data_folder / "photos" / "street_stop_sign.jpg"
    flags = ("--backend", "cpu", "--fixation", "0.792,0.552", "--readout", "fixation:2", "--json")
    found = call("classify", photo, "--model", model, *flags).json["frames"][0]
    street_sign = "LABEL_919"
    assert found["whole"][0]["name"] == found["fixations"][0][0]["name"] == street_sign
    even = ("--backend", "cpu", "--layout", "uniform", "--tokens", "256", "--json")
    uniform = call("classify", photo, "--model", model, *even).json
    assert uniform["frames"][0]["whole"][0]["probability"] < found["whole"][0]["probability"]
