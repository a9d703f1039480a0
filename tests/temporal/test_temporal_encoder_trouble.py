"""TemporalEncoder where things go wrong: an encoder that raises, motion that is late, fails or lies."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from reuse_scenes import View, assert_equal, batch_of, picture, small_vit, uniform

from texvlm import Engine
from texvlm.layouts import UniformGrid
from texvlm.layouts.anchored import AnchoredGrid
from texvlm.motion import MotionField
from texvlm.temporal.encoder import TemporalEncoder
from texvlm.temporal.settings import TemporalSettings
from texvlm.temporal.temporal_reports import EncodeError

SIZE, PATCH = (64, 48), 4
GRID = uniform(SIZE, patch=PATCH)
SETTINGS = TemporalSettings("test", level="L3", threshold=1, gate=0, max_age=None, full_share=1, cut_bar=None)


class Clock:
    """A clock that only moves when told."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Failing:
    """Makes an encoder raise at embedding, where `when` says so of the pixels."""

    def __init__(self, encoder, monkeypatch, when) -> None:
        embed = encoder.embed
        self.calls = 0

        def raising(pixels):
            self.calls += 1
            if when(self.calls, pixels):
                raise RuntimeError("the device had enough")
            return embed(pixels)

        monkeypatch.setattr(encoder, "embed", raising)


def batch(encoder, *views):
    return batch_of(encoder, [View(source, frame, GRID, pts) for source, frame, pts in views])


def test_an_encoder_that_raises_once_costs_a_full_frame_and_is_counted(monkeypatch):
    encoder = small_vit(image_size=64)
    temporal = TemporalEncoder(encoder, SETTINGS)
    views = batch(encoder, (0, picture(SIZE, 1), 0.0), (1, picture(SIZE, 2), 0.0))
    expected = encoder(views)
    Failing(encoder, monkeypatch, lambda call, _: call == 1)
    out = temporal(views)
    assert_equal(out, expected)
    assert temporal.counters.fallbacks == {"encoder": 2}
    assert [report.fell_back for report in out.reports] == ["encoder", "encoder"]
    assert temporal.counters.failures == 0


def test_a_source_that_always_fails_leaves_the_others_their_features_and_states(monkeypatch):
    encoder = small_vit(image_size=64)
    temporal = TemporalEncoder(encoder, SETTINGS)
    good, bad = picture(SIZE, 1), picture(SIZE, 2)
    bad[0, 0] = 7  # beyond white: recognisable
    alone = encoder(batch(encoder, (0, good, 0.0)))
    Failing(encoder, monkeypatch, lambda _, pixels: float(pixels.max()) > 5)
    with pytest.raises(EncodeError, match=r"failed for source 4, also alone: RuntimeError: the device") as caught:
        temporal(batch(encoder, (0, good, 0.0), (4, bad, 0.0)))
    assert set(caught.value.failures) == {4}
    assert caught.value.done is not None
    assert_equal(caught.value.done, alone)
    assert isinstance(caught.value.__cause__, RuntimeError)
    out = temporal(batch(encoder, (0, good, 0.1)))
    assert out.reports[0].tokens_encoded == 0
    assert temporal.counters.failures == 1
    assert temporal(batch(encoder, (4, good, 0.1))).reports[0].tokens_encoded == len(GRID)


def test_raising_at_random_never_gives_wrong_features(monkeypatch, rng):
    encoder = small_vit(image_size=64)
    exact = TemporalSettings("exact", level="L2", threshold=0, gate=0, max_age=None)
    temporal = TemporalEncoder(encoder, exact)
    frames = [picture(SIZE, 1)]
    for seed in range(12):
        frames.append(frames[-1].copy())
        frames[-1][8 * (seed % 6) : 8 * (seed % 6) + 8, 16:32] = picture((16, 8), seed)
    batches = [batch(encoder, (0, frame, at), (1, frames[0], at)) for at, frame in enumerate(frames)]
    expected = [encoder(views) for views in batches]
    Failing(encoder, monkeypatch, lambda call, _: rng.random() < 0.3)
    errors = []
    for views, wanted in zip(batches, expected, strict=True):
        try:
            assert_equal(temporal(views), wanted)
        except EncodeError as error:
            errors.append(error)
    assert len(errors) < len(batches)
    assert all(len(error.failures) + (0 if error.done is None else len(error.done)) == 2 for error in errors)
    assert temporal.counters.fallbacks["encoder"]


class Motion:
    """A motion source that does as it is told."""

    name = "told"

    def __init__(self, answer) -> None:
        self.answer, self.asked = answer, 0

    def __call__(self, moment):
        self.asked += 1
        return self.answer(moment)

    def reset(self, source=None):
        pass


def walk(motion, clock, *, frames=6, shift=0, settings=SETTINGS):
    """Steps over a picture that moves by `shift` texels a frame; reports and the encoder."""
    encoder = small_vit(image_size=64)
    temporal = TemporalEncoder(encoder, settings, motion=motion, grid=AnchoredGrid(patch=PATCH, side=8), clock=clock)
    wide = picture((160 + 8 * frames, 96), 5)
    reports = []
    with Engine(
        layout=UniformGrid(patch=PATCH, side=8), backend="cpu", threshold=0, mean=encoder.mean, std=encoder.std
    ) as engine:
        for at in range(frames):
            engine.submit(np.ascontiguousarray(wide[:, shift * at : shift * at + 160]), pts=at / 25)
            reports.append(temporal.step(engine).reports[0])
    return reports, temporal


def pan(shift):
    """The right answer for `walk`."""

    def answer(moment):
        field = MotionField.zero(moment.size)
        field.flow[..., 0] = shift
        return field

    return answer


def test_motion_that_sleeps_is_used_and_then_left_alone():
    clock = Clock()

    def sleeps(moment):
        clock.now += 10
        return pan(4)(moment)

    motion = Motion(sleeps)
    reports, temporal = walk(motion, clock, shift=4)
    assert motion.asked == 2  # twice late: eight frames without
    assert temporal.counters.fallbacks == {"motion slow": 2}
    assert [report.fell_back for report in reports[:3]] == ["motion slow", "motion slow", ""]


def test_motion_that_raises_is_counted_and_pixels_decide():
    def raises(moment):
        raise RuntimeError("no flow today")

    motion = Motion(raises)
    reports, temporal = walk(motion, Clock(), shift=0)
    assert motion.asked == 1
    assert temporal.counters.fallbacks == {"motion failed": 1}
    assert [report.tokens_encoded for report in reports[1:]] == [0] * 5


def test_motion_that_lies_is_found_out_by_pixels():
    reports, temporal = walk(Motion(pan(3)), Clock(), shift=0)
    first = next(report for report in reports if report.fell_back)
    assert first.fell_back == "warp"
    assert first.warp_error > 0.9
    assert temporal.counters.fallbacks["warp"] >= 1
    assert any(report.reason == "warp error" for report in reports)
    assert all(report.worst_deviation <= report.threshold for report in reports)
    assert reports[-1].tokens_encoded == 0  # and without it all is well again


def test_a_true_pan_is_followed():
    reports, temporal = walk(Motion(pan(4)), Clock(), shift=4)
    columns, rows = 160 // 8, 96 // 8
    assert not temporal.counters.fallbacks
    assert {report.level for report in reports[2:]} == {"L3"}
    # what enters and what leaves: a column and a bit either side, of 20
    assert max(report.tokens_encoded for report in reports[2:]) <= 4 * rows < columns * rows / 4


def test_held_frames_count_towards_ages_after_an_exact_check_that_kept_nothing():
    settings = replace(SETTINGS, cut_bar=0.42, flash="hold", check_every=5)
    encoder = small_vit(image_size=64)
    temporal = TemporalEncoder(encoder, settings, motion=Motion(pan(0)), grid=AnchoredGrid(patch=PATCH, side=8))
    frame = 0.4 * picture((160, 96), 5)
    reports = []
    with Engine(
        layout=UniformGrid(patch=PATCH, side=8), backend="cpu", threshold=0, mean=encoder.mean, std=encoder.std
    ) as engine:
        for at in range(9):
            engine.submit(frame + np.float32(0.6) if at == 4 else frame, pts=at / 25)
            reports.append(temporal.step(engine).reports[0])
    assert [at for at, report in enumerate(reports) if report.reason == "flash"] == [4]
    assert [at for at, report in enumerate(reports) if report.check is not None] == [6]
    assert [report.oldest for report in reports] == [0, 1, 2, 3, 4, 5, 0, 7, 8]


def test_a_grid_without_motion_is_refused():
    with pytest.raises(ValueError, match="a grid that moves along needs"):
        TemporalEncoder(small_vit(), grid=AnchoredGrid())


def test_an_encoder_that_raises_under_a_moving_grid_gives_the_full_frame_at_its_true_places(monkeypatch):
    encoder = small_vit(image_size=64)
    temporal = TemporalEncoder(encoder, SETTINGS, motion=Motion(pan(2)), grid=AnchoredGrid(patch=PATCH, side=8))
    wide = picture((200, 96), 5)
    with Engine(
        backend="cpu", layout=UniformGrid(patch=PATCH, side=8), threshold=0, mean=encoder.mean, std=encoder.std
    ) as engine:
        engine.submit(np.ascontiguousarray(wide[:, :160]), pts=0)
        temporal.step(engine)
        engine.submit(np.ascontiguousarray(wide[:, 2:162]), pts=1 / 25)  # the places that the model is told lag behind
        with monkeypatch.context() as patch:
            Failing(encoder, patch, lambda call, _: call == 1)
            out = temporal.step(engine)
        assert out.reports[0].reason == "encoder failed"
        x, y = out.features.rows[0]["x"][0], out.features.rows[0]["y"][0]
        true = encoder(engine.tokens(layout=AnchoredGrid(patch=PATCH, side=8, origin=(float(x) - 4, float(y) - 4))))
        assert_equal(out, true)
        engine.submit(np.ascontiguousarray(wide[:, 4:164]), pts=2 / 25)
        after = temporal.step(engine).reports[0]  # and what is kept is found again
    assert after.tokens_encoded <= 4 * 96 // 8


@pytest.mark.parametrize("bad", [{"sources": [0, 1]}, {"sources": [0, 0]}, {"sources": [0, 2]}, {"sources": [0, 9]}])
def test_a_step_that_is_refused_leaves_motion_and_grids_as_they_were(bad):
    encoder = small_vit(image_size=64)
    motion = Motion(pan(4))
    temporal = TemporalEncoder(encoder, SETTINGS, motion=motion, grid=AnchoredGrid(patch=PATCH, side=8))
    wide = picture((200, 96), 5)
    with Engine(
        sources=3,
        backend="cpu",
        layout=UniformGrid(patch=PATCH, side=8),
        threshold=0,
        mean=encoder.mean,
        std=encoder.std,
    ) as engine:
        for at in range(3):
            for source in range(2):
                engine.submit(np.ascontiguousarray(wide[:, 4 * at : 4 * at + 160]), source=source, pts=1 + at / 25)
            temporal.step(engine)
        engine.submit(np.ascontiguousarray(wide[:, 12:172]), source=0, pts=2)
        engine.submit(np.ascontiguousarray(wide[:, 12:172]), source=1, pts=0)
        asked = motion.asked
        with pytest.raises(ValueError, match=r"source 1: a frame of 0 s|each once|has no frame"):
            temporal.step(engine, **bad)
        assert motion.asked == asked
        assert temporal.step(engine, sources=[0]).reports[0].tokens_encoded <= 4 * 96 // 8


@pytest.mark.parametrize("fixations", [(0.1, 0.2, 0.3), (float("nan"), 0.5), [(0.5, 0.5)] * 2])
def test_fixations_of_another_shape_are_one_error(fixations):
    encoder = small_vit(image_size=64)
    with Engine(backend="cpu", layout=UniformGrid(patch=PATCH, side=8), mean=encoder.mean, std=encoder.std) as engine:
        engine.submit(picture(SIZE, 1))
        with pytest.raises(ValueError, match=r"fixations of shape .* accepted: \(2,\) or \(sources, 2\), finite"):
            TemporalEncoder(encoder, SETTINGS).step(engine, fixations)


def test_counters_become_json_with_their_reasons():
    _, temporal = walk(Motion(pan(3)), Clock())
    told = json.loads(json.dumps(temporal.counters.as_dict()))
    assert told["whole"] == dict(temporal.counters.whole)
    assert told["whole"]["first frame"] == 1
    assert told["fallbacks"]["warp"] >= 1
