"""Clips of the evaluation over time: generated cases are what they claim, footage is found by kind."""

from __future__ import annotations

import json
from itertools import pairwise

import numpy as np
import pytest

from texvlm.evaluation.temporal.clips import (
    FADE_LONG,
    FADE_STEP,
    FLASH_EVERY,
    FLASH_LONG,
    NOISE_SIGMA,
    PAN_STEP,
    busiest,
    find_clips,
    generated,
)

SIZE = (48, 32)


@pytest.fixture(scope="module")
def still():
    return np.random.default_rng(0).integers(0, 256, (48, 72, 3), dtype=np.uint8)


def play(still, name, frames):
    clip = next(clip for clip in generated(still, size=SIZE, frames=frames, seed=4) if clip.name == name)
    assert (clip.kind, clip.frames) == (name, frames)
    found = [frame.pixels for frame in clip.open()]
    again = [frame.pixels for frame in clip.open()]
    assert len(found) == frames
    assert all(np.array_equal(a, b) for a, b in zip(found, again, strict=True))
    assert all(frame.shape == (SIZE[1], SIZE[0], 3) for frame in found)
    return [frame.astype(np.int64) for frame in found]


def test_a_fade_moves_every_pixel_by_less_than_any_threshold_and_never_clips(still):
    frames = play(still, "fade", FADE_LONG + 20)
    steps = [np.abs(b - a) for a, b in pairwise(frames)]
    assert max(int(step.max()) for step in steps) <= 1
    assert np.mean([step.mean() for step in steps]) == pytest.approx(FADE_STEP, abs=0.02)
    gain = frames[FADE_LONG] - frames[0]
    assert np.abs(gain - FADE_STEP * FADE_LONG).max() <= 1
    assert frames[FADE_LONG].max() <= 255
    assert np.array_equal(frames[FADE_LONG + 5], frames[FADE_LONG - 5])


def test_a_pan_moves_and_changes_nothing_else(still):
    frames = play(still, "pan", 6)
    dx, dy = PAN_STEP
    for before, after in pairwise(frames):
        assert np.array_equal(before[dy:, dx:], after[:-dy, :-dx])
        assert not np.array_equal(before, after)


def test_noise_is_new_in_every_frame(still):
    frames = play(still, "noise", 4)
    change = (frames[1] - frames[2])[(still[:32, :48] > 20) & (still[:32, :48] < 235)]
    assert change.std() == pytest.approx(NOISE_SIGMA * 2**0.5, rel=0.1)
    assert abs(change.mean()) < 0.3


def test_a_flash_is_short_and_what_was_there_comes_back(still):
    frames = play(still, "flash", 2 * FLASH_EVERY)
    bright = [index for index, frame in enumerate(frames) if frame.mean() > frames[0].mean() + 20]
    assert bright == [index for index in range(2 * FLASH_EVERY) if index % FLASH_EVERY >= FLASH_EVERY - FLASH_LONG]
    assert all(np.array_equal(frame, frames[0]) for index, frame in enumerate(frames) if index not in bright)


def test_the_window_with_most_cuts():
    assert busiest((), 150) == 0
    assert busiest((30, 76, 137), 150) == 0
    assert busiest((210, 324), 150) == 200
    assert busiest((400,), 150) == 390


def test_without_a_folder_there_are_scenes():
    clips = find_clips(None, frames=2, seed=0, size=SIZE)
    assert [clip.kind for clip in clips] == ["scene"] * 5 + ["fade", "pan", "noise", "flash"]
    for clip in clips:
        assert len(list(clip.open())) == 2


def test_footage_by_kind(tmp_path, still):
    av = pytest.importorskip("av")
    for name in ("cuts_a.mp4", "surveillance_b.mp4", "holiday.mp4"):
        with av.open(str(tmp_path / name), "w") as container:
            stream = container.add_stream("mpeg4", rate=25)
            stream.width, stream.height, stream.pix_fmt = *SIZE, "yuv420p"
            for index in range(8):
                picture = np.full((SIZE[1], SIZE[0], 3), 20 * index, np.uint8)
                container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
            container.mux(stream.encode())
    facts = {"files": [{"file": "cuts_a.mp4", "cuts_measured": [5], "stream_index": 0}, {"file": "holiday.mp4"}]}
    (tmp_path / "manifest.json").write_text(json.dumps(facts))
    clips = find_clips(tmp_path, frames=4, seed=0, size=SIZE)
    assert [clip.name for clip in clips[:2]] == ["surveillance_b.mp4", "cuts_a.mp4"]
    assert [clip.kind for clip in clips[2:]] == ["fade", "pan", "noise", "flash"]
    assert clips[0].cuts == ()
    cut = find_clips(tmp_path, frames=6, seed=0, size=SIZE)[1]
    assert (cut.start, cut.cuts) == (0, (5,))
    assert len(list(cut.open())) == 6


@pytest.mark.data
def test_the_labelled_cuts_are_played(data_folder):
    clips = {clip.name: clip for clip in find_clips(data_folder, frames=150, seed=0)}
    assert {clip.kind for clip in clips.values()} >= {"surveillance", "screen", "conversation", "moving", "action"}
    with_cuts = [clip for clip in clips.values() if clip.kind == "cuts"]
    assert with_cuts
    assert all(clip.cuts and max(clip.cuts) < 150 for clip in with_cuts)
    clip = min(with_cuts, key=lambda clip: clip.start + clip.cuts[0])
    frames = []
    for index, frame in enumerate(clip.open()):
        frames.append(frame.pixels.astype(np.int16))
        if index == clip.cuts[0]:
            break
    jumps = [float(np.abs(b - a).mean()) for a, b in pairwise(frames)]
    assert int(np.argmax(jumps)) + 1 == clip.cuts[0]
