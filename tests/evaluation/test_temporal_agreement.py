"""Agreement, time and goals: methods whose numbers are known beforehand, and a bound that cannot be talked away."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from texvlm.encoders.untrained import untrained_vit
from texvlm.evaluation.temporal import pace
from texvlm.evaluation.temporal.agreement import compare
from texvlm.evaluation.temporal.clips import Clip
from texvlm.evaluation.temporal.goals import missed, verdicts
from texvlm.evaluation.temporal.methods import Step, choose
from texvlm.evaluation.temporal.outside import OutsideCheck
from texvlm.evaluation.temporal.peers import PEERS, Full
from texvlm.evaluation.temporal.report import Pace
from texvlm.evaluation.temporal.settings import TemporalSettings, TimedRun
from texvlm.frames import Frame

SETTINGS = TemporalSettings(uniform_tokens=12, quadtree_tokens=16, layouts=("uniform",), sure=0.0)
TOKENS = 12
STEP = 4
"""Levels by which the test's clip brightens a frame."""


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Tiny models gain nothing from more, and lose much on a busy machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def encoder():
    return untrained_vit(32, 2, 2, image=64, labels=5, seed=1)


def brightening(frames=6, *, cuts=(), step=STEP):
    """A still that brightens by a few levels a frame, all over."""
    still = np.random.default_rng(0).integers(0, 200, (48, 64, 3), dtype=np.uint8)

    def play():
        for index in range(frames):
            yield Frame(still + np.uint8(step * index), pts=index / 25)

    return Clip("brightening", "surveillance", frames, 0, cuts, play)


class Frozen:
    """Encodes the first frame, and for ever after says that it has nothing to do; or that tokens moved."""

    name = "frozen"

    def __init__(self, *, moved=False, claims=None):
        self.moved, self.claims = moved, claims

    def begin(self, encoder, sources):
        self.encoder, self.kept = encoder, None

    def step(self, batch, moment):
        first = self.kept is None
        self.kept = self.encoder(batch) if first else self.kept
        shape = batch.pixels.shape[:2]
        return Step(
            self.kept,
            np.full(shape, first),
            float(first),
            1.0,
            "full" if first else "frozen",
            moved=np.full(shape, not first) if self.moved else None,
            deviation=None if self.claims is None else np.full(shape, self.claims, np.float32),
        )

    def state_bytes(self):
        return 100


def test_the_full_forward_agrees_with_itself(encoder):
    row = compare(encoder, SETTINGS, brightening(cuts=(3,)), "uniform", [Full()])[0]
    assert (row.class_mean, row.class_p1, row.patch_mean, row.patch_p1) == pytest.approx([1, 1, 1, 1], abs=1e-5)
    assert (row.top1, row.sure, row.frames, row.tokens) == (1.0, 5, 5, TOKENS)
    assert (row.encoded, row.work_saved, row.worst_age, row.worst_mean, row.after_cut) == (1.0, 1.0, 0, 0.0, 0)
    assert row.levels == {"full": 5}
    assert not missed(row)


def test_what_never_encodes_again_is_found_out(encoder):
    clip = brightening(cuts=(2, 4))
    row = compare(encoder, SETTINGS, clip, "uniform", [Frozen(claims=1 / 255)])[0]
    assert row.worst_mean == pytest.approx(5 * STEP, rel=1e-3)
    assert row.worst_max == pytest.approx(5 * STEP, rel=1e-3)
    assert row.claimed == pytest.approx(1, rel=1e-3)
    assert (row.encoded, row.worst_age, row.after_cut) == (0.0, 5, 2 * TOKENS)
    assert row.levels == {"frozen": 5}
    assert row.class_mean < 1
    assert row.curves.class_cosine == sorted(row.curves.class_cosine, reverse=True)
    assert any("reused at cuts" in word for word in missed(row))


def test_cosines_by_hand(encoder):
    """Of the frozen method: every frame against the first."""
    clip = brightening(step=20)
    row = compare(encoder, SETTINGS, clip, "uniform", [Frozen()])[0]

    class Keep(Full):
        def step(self, batch, moment):
            step = super().step(batch, moment)
            found.append(step.features)
            return step

    found = []
    compare(encoder, SETTINGS, clip, "uniform", [Keep()])

    def cosine(a, b):
        a, b = a.numpy().astype(np.float64), b.numpy().astype(np.float64)
        return (a * b).sum(-1) / np.sqrt((a * a).sum(-1) * (b * b).sum(-1))

    classes = [cosine(f.prefix[0, 0], found[0].prefix[0, 0]) for f in found[1:]]
    patches = np.array([cosine(f.tokens[0], found[0].tokens[0]) for f in found[1:]])
    assert row.class_mean == pytest.approx(np.mean(classes), abs=1e-5)
    assert row.class_p1 == pytest.approx(np.percentile(classes, 1), abs=1e-5)
    assert row.patch_mean == pytest.approx(patches.mean(), abs=1e-5)
    assert row.patch_p1 == pytest.approx(np.percentile(patches, 1), abs=1e-5)
    assert row.patch_frame_p1 == pytest.approx(np.percentile(patches.mean(axis=1), 1), abs=1e-5)
    with torch.inference_mode():
        answers = [int(encoder.classify(f)[0].argmax()) for f in found]
    assert row.top1 == pytest.approx(np.mean([answer == answers[0] for answer in answers[1:]]))


def test_moved_tokens_are_held_against_nothing_until_they_are_encoded(encoder):
    row = compare(encoder, SETTINGS, brightening(), "uniform", [Frozen(moved=True)])[0]
    assert (row.worst_mean, row.worst_age) == (0.0, 5)


def test_a_confident_frame_is_one_above_the_bar(encoder):
    row = compare(encoder, SETTINGS.model_copy(update={"sure": 1.0}), brightening(), "uniform", [Full()])[0]
    assert (row.sure, row.top1) == (0, None)
    assert not missed(row)


def test_the_outside_check_follows_each_token():
    check = OutsideCheck(torch.full((1, 1, 1), 0.5))
    batch = batch_of(torch.zeros(1, 3, 1, 2, 2))
    features = None
    step = Step(features, np.ones((1, 3), np.bool_), 1, 1, "")
    check.add(batch, step)
    pixels = torch.zeros(1, 3, 1, 2, 2)
    pixels[0, 0], pixels[0, 1, 0, 0, 0] = 0.2, 0.4
    check.add(batch_of(pixels), replace(step, encoded=np.array([[True, False, False]])))
    assert (check.worst_mean, check.worst_max) == pytest.approx((0.05, 0.2))  # the first was encoded
    check.add(batch_of(torch.zeros(1, 3, 1, 2, 2)), replace(step, encoded=np.zeros((1, 3), np.bool_)))
    assert (check.worst_mean, check.worst_max) == pytest.approx((0.1, 0.2))
    assert check.worst_age == 2


def test_masks_that_cannot_be(encoder):
    batch = batch_of(torch.zeros(1, 3, 1, 2, 2))
    step = Step(None, np.zeros((1, 3), np.bool_), 1, 1, "")
    with pytest.raises(ValueError, match="the first step reuses tokens"):
        OutsideCheck(torch.ones(1, 1, 1)).add(batch, step)
    with pytest.raises(ValueError, match=r"a mask of \(1, 2\) for \(1, 3\) tokens"):
        OutsideCheck(torch.ones(1, 1, 1)).add(batch, replace(step, encoded=np.ones((1, 2), np.bool_)))


def batch_of(pixels):
    """A batch of which only pixels matter."""

    class Batch:
        is_padding = torch.zeros(pixels.shape[:2], dtype=torch.bool)

    Batch.pixels = pixels
    return Batch()


def test_a_clip_of_one_frame(encoder):
    with pytest.raises(ValueError, match="brightening has one frame or none"):
        compare(encoder, SETTINGS, brightening(1), "uniform", [Full()])
    with pytest.raises(ValueError, match="brightening has one frame or none"):
        pace.race(encoder, SETTINGS, brightening(1), TimedRun(model="x", sources=1, frames=4), [])


# ---------------------------------------------------------------------- time


class Clock:
    """Time that passes only where someone lets it."""

    now = 0.0

    def perf_counter(self):
        return Clock.now


class Slow(Full):
    """The full forward, which takes a stated time each frame."""

    def __init__(self, name, seconds, seen=None):
        self.name, self.seconds, self.seen = name, seconds, seen

    def begin(self, encoder, sources):
        super().begin(encoder, sources)
        self.index = 0

    def step(self, batch, moment):
        Clock.now += self.seconds[self.index]
        self.index += 1
        if self.seen is not None:
            self.seen.append((self.name, moment.index))
        return super().step(batch, moment)

    def state_bytes(self):
        return 1000


def test_time_saved_is_a_ratio_of_totals_without_the_first_frame(encoder, monkeypatch):
    seen = []
    monkeypatch.setattr(pace, "time", Clock())
    monkeypatch.setattr(pace, "Full", lambda: Slow("full", [9.0, 1.0, 1.0, 2.0], seen))
    methods = [Slow("ours", [7.0, 0.1, 0.2, 0.5], seen), Slow("other", [7.0, 1.0, 1.0, 8.0], seen)]
    run = TimedRun(model="x", sources=2, frames=3)
    ours, other = pace.race(encoder, SETTINGS, brightening(), run, methods)
    assert (ours.method, ours.frames, ours.sources, ours.encoded) == ("ours", 3, 2, 1.0)
    assert ours.saved == pytest.approx(4 / 0.8, rel=1e-4)
    assert ours.saved_median == pytest.approx(1 / 0.2)
    assert ours.saved_with_make == ours.saved  # no time passes while tokens are made
    assert (ours.full.total_ms, ours.ours.total_ms, ours.make.total_ms) == (4000, 800, 0)
    assert other.saved == 0.4
    assert ours.state_bytes == 500
    turns = [[name for name, index in seen if index == frame] for frame in range(4)]
    assert len({tuple(turn) for turn in turns[:3]}) == 3  # another order each time
    assert all(sorted(turn) == ["full", "other", "ours"] for turn in turns)


def test_several_sources_play_from_different_places():
    clip = brightening(7)
    firsts = [[frame.pts * 25 for frame in frames] for frames in pace.side_by_side(clip, 3, 3)]
    assert firsts == [[0, 2, 4], [1, 3, 5], [2, 4, 6]]
    assert len(list(pace.side_by_side(clip, 2, 99))) == 7
    assert [len(frames) for frames in pace.side_by_side(clip, 1, 4)] == [1, 1, 1, 1]


# ---------------------------------------------------------------------- goals


@pytest.fixture(scope="module")
def row(encoder):
    """Of the full forward: meets all."""
    return compare(encoder, SETTINGS, brightening(), "uniform", [Full()])[0]


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"class_mean": 0.989}, "class mean 0.989"),
        ({"class_p1": 0.969}, "class p1 0.969"),
        ({"patch_mean": 0.989}, "patch mean 0.989"),
        ({"patch_p1": 0.9}, "patch p1 0.900"),
        ({"top1": 0.96}, "top-1 0.960"),
        ({"after_cut": 2}, "2 tokens reused at cuts"),
    ],
)
def test_every_goal_can_be_missed(row, changes, word):
    assert missed(row) == ()
    assert missed(row.model_copy(update=changes)) == (word,)


def test_a_verdict_needs_closeness_and_time(row):
    seconds = {"total_ms": 1.0, "p50_ms": 1.0, "p95_ms": 1.0}
    base = {name: getattr(row, name) for name in ("clip", "kind", "layout", "tokens", "method")}
    base |= {"frames": 3, "make": seconds, "full": seconds, "ours": seconds, "saved_median": 1, "saved_with_make": 1}
    base |= {"work_saved": 9, "encoded": 0.1, "state_bytes": 1}
    fast = Pace.model_validate(base | {"model": "a", "sources": 1, "saved": 6.0})
    slow = Pace.model_validate(base | {"model": "a", "sources": 8, "saved": 5.9})
    assert verdicts([row], [fast])[0].met
    assert not verdicts([row], [fast, slow])[0].met
    assert verdicts([row], [fast, slow])[0].fast == {("a", 1): True, ("a", 8): False}
    assert not verdicts([row], [])[0].met  # not timed is not met
    assert verdicts([row.model_copy(update={"kind": "fade"})], [])[0].met  # no goal of time
    assert not verdicts([row.model_copy(update={"class_p1": 0.9})], [fast])[0].met


def test_methods_by_name():
    assert [method.name for method in choose(PEERS, ("gated-10", "cached"))] == ["cached", "gated-10"]
    assert len(choose(PEERS, ())) == len(PEERS)
    assert choose(PEERS, ("held",)) == []
