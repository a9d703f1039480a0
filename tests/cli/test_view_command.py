"""`texvlm view`: pictures without a window, and one line where there can be none."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace

import av
import numpy as np
import pytest
from required import unavailable

SCENE = ("view", "scene:160x90", "--offscreen", "--size", "160x90", "--tokens", "40")
pytestmark = pytest.mark.gl


def picture_of(path):
    with av.open(str(path)) as container:
        return next(container.decode(video=0)).to_ndarray(format="rgb24")


def test_pictures_a_recording_and_a_trace_without_a_window(call, gl_backend):
    outcome = call(*SCENE, "--frames", "5", "--screenshot", "a.png", "--record", "a.mp4", "--trace", "a.json", "--json")
    assert outcome.code == 0, outcome.err
    report = outcome.json
    assert (report["backend"], report["frames"], report["tokens"]) == ("gl", 5, 40)
    assert report["dropped"] == 0
    assert {"draw", "show", "sample"} <= set(report["stages_ms"])
    written = {path.rsplit("/", 1)[-1] for path in report["written"]}
    assert written == {"a.png", "a.mp4", "a.json"}
    assert picture_of("a.png").shape == (90, 160, 3)
    with av.open("a.mp4") as container:
        assert sum(1 for _ in container.decode(video=0)) == 5
    with open("a.json") as file:
        names = {event.get("name") for event in json.load(file)}
    assert {"decode", "sample", "draw", "show"} <= names


@pytest.mark.parametrize("backend", ["gl", "cpu"])
def test_every_mode_gives_another_picture_and_the_same_one_again(call, gl_backend, backend):
    seen = set()
    for mode in ("frame", "reconstruction", "tokens", "changed", "reencoded", "both"):
        arguments = (*SCENE, "--backend", backend, "--frames", "3", "--mode", mode, "--no-report")
        outcome = call(*arguments, "--screenshot", f"{mode}.png")
        assert outcome.code == 0, outcome.err
        assert outcome.out.strip().splitlines() == [f"wrote {mode}.png"]
        seen.add(picture_of(f"{mode}.png").tobytes())
    assert len(seen) == 6
    call(*arguments, "--screenshot", "again.png")
    np.testing.assert_array_equal(picture_of("again.png"), picture_of(f"{mode}.png"))


def test_a_policy_looks_around(call, gl_backend):
    outcome = call(*SCENE, "--frames", "3", "--look", "saliency", "--json")
    assert outcome.code == 0, outcome.err
    assert outcome.json["latency_ms"] is None


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--mode", "sideways"), "mode is 'sideways'; accepted: frame"),
        (("--size", "big"), "size is 'big'"),
        (("--size", "0x9"), "each side is 1"),
        (("--fixation", "0.1,0.2,0.3,0.4"), "a viewer has one pointer"),
        (("--frames", "0"), "frames is 0"),
        (("--layout", "spiral"), "unknown layout"),
        (("--look", "nowhere"), "unknown look"),
        (("--threshold", "7"), "threshold is '7'"),
        (("--backend", "vulkan"), "backend"),
        (("--screenshot", "nowhere/a.png", "--frames", "1"), "cannot write picture nowhere/a.png"),
        (("--record", "nowhere/a.mp4", "--frames", "1"), "cannot write preview nowhere/a.mp4"),
        (("--trace", "nowhere/a.json", "--frames", "1"), "cannot write trace nowhere/a.json"),
    ],
)
def test_what_cannot_be_had_is_one_line(call, gl_backend, arguments, words):
    assert words in call(*SCENE, *arguments).complaint


def test_a_picture_that_there_is_not_is_told(call, gl_backend, monkeypatch):
    monkeypatch.setattr("texvlm.viewer.native.viewer.NativeViewer.run", lambda self: None)  # closed at once
    outcome = call(*SCENE, "--screenshot", "a.png", "--record", "a.mp4", "--json")
    assert outcome.code == 0
    assert outcome.json["written"] == []
    for name in ("a.png", "a.mp4"):
        assert f"texvlm: no picture was shown, so there is no {name}" in outcome.err
        assert not Path(name).exists()


def test_an_input_that_is_not_there_is_one_line(call, gl_backend):
    assert "missing.mp4" in call("view", "missing.mp4", "--offscreen").complaint
    assert "camera" in call("view", "camera:97", "--offscreen").complaint


def test_without_a_display_it_says_the_way_out(call, monkeypatch):
    monkeypatch.setenv("DISPLAY", ":7654")
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    complaint = call("view", "scene").complaint
    assert "no window can be opened" in complaint
    assert "--offscreen" in complaint


def test_without_glfw_it_names_the_extra(call, monkeypatch):
    monkeypatch.setitem(sys.modules, "glfw", None)
    assert 'pip install "texvlm[viewer]"' in call("view", "scene").complaint


class FakeRerun:
    """As much of rerun as a log needs; keeps what it was given."""

    def __init__(self):
        self.logged, self.times, self.closed = [], [], False

    def install(self, monkeypatch):
        fake = SimpleNamespace(
            RecordingStream=lambda name: self,
            Image=lambda pixels: SimpleNamespace(compress=lambda jpeg_quality: ("image", pixels.shape)),
            Boxes2D=lambda **boxes: ("boxes", boxes),
            Points2D=lambda points, **_: ("points", points),
            Scalars=lambda value: ("scalar", value),
        )
        monkeypatch.setitem(sys.modules, "rerun", fake)

    def save(self, path):
        self.path = path

    def set_time(self, timeline, **when):
        self.times.append((timeline, when))

    def log(self, entity, what):
        self.logged.append((entity, what))

    def flush(self):
        pass

    def disconnect(self):
        self.closed = True


def test_a_log_holds_frames_boxes_fixation_and_numbers_of_every_picture(call, gl_backend, monkeypatch):
    fake = FakeRerun()
    fake.install(monkeypatch)
    assert call(*SCENE, "--frames", "3", "--rerun", "a.rrd", "--fixation", "0.25,0.5", "--json").code == 0
    assert fake.closed
    entities = [entity for entity, _ in fake.logged]
    for entity in ("frame", "frame/tokens", "frame/fixation", "numbers/tokens", "numbers/bytes_uploaded"):
        assert entities.count(entity) == 3, entity
    assert any(entity.startswith("numbers/ms/") for entity in entities)
    assert [when["sequence"] for timeline, when in fake.times if timeline == "picture"] == [1, 2, 3]
    assert all(isinstance(when["duration"], float) for timeline, when in fake.times if timeline == "time")
    found = dict(fake.logged)
    assert found["frame"] == ("image", (90, 160, 3))
    np.testing.assert_allclose(found["frame/fixation"][1], [[40, 45]])
    boxes = found["frame/tokens"][1]
    area = (2 * boxes["half_sizes"]).prod(axis=1).sum()
    assert area >= 160 * 90
    assert len(boxes["centers"]) == len(boxes["colors"]) <= 40


def test_the_real_rerun_takes_what_it_is_given(call, gl_backend):
    try:
        import rerun
    except ImportError as reason:
        unavailable("rerun", f"rerun-sdk cannot be used: {reason}")
    assert rerun.__version__
    outcome = call(*SCENE, "--frames", "2", "--rerun", "a.rrd", "--json")
    assert outcome.code == 0, outcome.err
    with open("a.rrd", "rb") as file:
        log = file.read()
    assert log.startswith(b"RRF")
    assert len(log) > 10_000
    assert "cannot write log nowhere/a.rrd" in call(*SCENE, "--rerun", "nowhere/a.rrd").complaint


def test_a_log_without_rerun_names_the_extra(call, gl_backend, monkeypatch):
    monkeypatch.setitem(sys.modules, "rerun", None)
    assert 'pip install "texvlm[rerun]"' in call(*SCENE, "--rerun", "a.rrd").complaint


def test_encode_writes_traces_too(call):
    outcome = call("encode", "scene:96x64", "--out", "t", "--frames", "3", "--backend", "cpu", "--trace", "e.json")
    assert outcome.code == 0, outcome.err
    with open("e.json") as file:
        names = [event.get("name") for event in json.load(file)]
    assert names.count("sample") == 3
