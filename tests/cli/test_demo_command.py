"""`texvlm demo`: numbers beside the dense grid, a picture, a preview, and tokens to read."""

from __future__ import annotations

import builtins
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from sources.clips import write_clip

import texvlm
from texvlm.demo import DENSE_SIDE, MARK, _dense_by_torch, open_dense
from texvlm.sources import open_source

SCENE = ("demo", "scene:320x256", "--backend", "cpu", "--frames", "6")


def test_it_measures_draws_and_stores(call):
    outcome = call(*SCENE)
    assert outcome.code == 0
    assert "compiling kernels, once" in outcome.err
    for words in (
        "tiles changed",
        "sampled anew",
        "as fast as the dense grid",
        "268 tokens for 4096",
        "demo/demo.png",
    ):
        assert words in outcome.out
    with open_source("demo/demo.png") as source:
        assert next(iter(source)).channels == 3
    with av.open("demo/preview.mp4") as preview:
        assert sum(1 for _ in preview.decode(video=0)) == 6
    with texvlm.open_tokens("demo/tokens") as tokens:
        assert len(tokens) == 6
        assert tokens[0].pixels.dtype == torch.float32


def test_the_report_as_json_and_a_second_run_in_the_same_place(call):
    first, second = (call(*SCENE, "--out", "d", "--json") for _ in range(2))
    for outcome in (first, second):
        report = outcome.json
        assert (report["frames"], report["tokens"], report["dense_tokens"]) == (6, 268, 4096)
        assert set(report["stages_ms"]) >= {"plan", "sample"}
        assert report["worst_difference"] <= report["threshold"] == pytest.approx(8)
        assert 0 < report["tiles_share"] <= 1
        assert report["resting_ratio"] == pytest.approx(report["dense_ms"] / report["resting_ms"])
        assert report["ratio"] == pytest.approx(report["dense_ms"] / report["ms"])


def test_a_file_and_a_still(call):
    write_clip(Path("clip.mp4"), frames=4, size=(320, 256))
    assert call("demo", "clip.mp4", "--out", "a", "--json").json["frames"] == 4
    assert call("demo", "a/demo.png", "--out", "b", "--frames", "3", "--json").json["frames"] == 1


def test_tokens_of_somebody_else_are_left_alone(call):
    assert call("encode", "scene:96x64", "--tokens", "16", "--frames", "2", "--out", "d/tokens").code == 0
    before = {path: path.read_bytes() for path in Path("d/tokens").iterdir()}
    assert "d/tokens holds tokens that no demo made" in call(*SCENE, "--out", "d").complaint
    assert {path: path.read_bytes() for path in Path("d/tokens").iterdir()} == before
    assert not (Path("d/tokens") / MARK).exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("gone.mp4",), "gone.mp4: no such file"),
        (("scene", "--frames", "0"), "frames"),
        (("scene", "--out", "/proc/self/d"), "cannot write to folder /proc/self/d"),
        (("scene", "--backend", "vulkan"), "accepted: 'auto'"),
    ],
)
def test_refusals(call, arguments, words):
    outcome = call("demo", *arguments)
    assert outcome.code == 2
    last = outcome.err.strip().splitlines()[-1]
    assert last.startswith("texvlm: ")
    assert words in last


def test_without_opencv_torch_resizes_and_says_so(call, monkeypatch):
    real = builtins.__import__

    def no_opencv(name, *rest, **more):
        if name == "texvlm.bench.baselines":
            raise ModuleNotFoundError("No module named 'cv2'", name="cv2")
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", no_opencv)
    assert open_dense()[1] == "torch"
    outcome = call(*SCENE, "--frames", "2")
    assert "with torch, normalise" in outcome.out
    assert "slower than OpenCV" in outcome.err


def test_both_dense_baselines_agree():
    pixels = np.random.default_rng(3).integers(0, 256, (DENSE_SIDE // 2, DENSE_SIDE // 2, 3), np.uint8)
    by_opencv, name = open_dense()
    if name != "OpenCV":
        pytest.skip("OpenCV is not installed; its baseline is an extra")
    a, b = by_opencv(pixels), _dense_by_torch(pixels)
    assert a.shape == b.shape == (4096, 3, 16, 16)
    assert float((a - b).abs().max()) < 0.6 / 255 / 0.224 + 0.01  # OpenCV rounds to bytes before it normalises


def test_a_frame_with_fewer_squares_than_tokens_is_padded(call, tmp_path):
    outcome = call("demo", "scene:64x64", "--frames", "3", "--out", str(tmp_path / "demo"), "--backend", "cpu")
    assert outcome.code == 0, outcome.err


def test_a_demo_does_not_write_over_its_input(call):
    Path("demo").mkdir()
    clip = write_clip(Path("demo/preview.mp4"), frames=3)
    before = clip.read_bytes()
    assert "it would replace the input" in call("demo", "demo/preview.mp4").complaint
    assert clip.read_bytes() == before
