"""The codec policy: what kinds and vectors lead to, and that pixels decide in the end."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from texvlm import Engine, open_source
from texvlm.motion.codec import CodecMotion
from texvlm.motion.field import MotionField
from texvlm.motion.source import moment_of
from texvlm.temporal.codec_policy import CodecPolicy, judged_seed

SIZE = (160, 96)
STILL, MOVED = np.zeros((6, 10), bool), np.zeros((6, 10), bool)
MOVED[2:4, 3:6] = True


def field(*, valid=True, error=0.01, flow=(3.0, -1.0), cell=(16, 16)):
    plain = MotionField.zero(SIZE, cell=cell, origin="codec")
    flow = np.broadcast_to(np.float32(flow), plain.flow.shape).copy()
    errors = None if error is None else np.full(plain.valid.shape, error, np.float32)
    return replace(plain, flow=flow, valid=np.full(plain.valid.shape, valid), error=errors)


def run(kinds, tiles, *, policy=None, tokens=100, **more):
    policy = policy or CodecPolicy(share=0.1, least_gap=1)
    return [policy.decide(kind, mask, tokens=tokens, **more) for kind, mask in zip(kinds, tiles, strict=True)]


def test_an_i_picture_refreshes_all_tokens_a_few_at_a_time():
    found = run("IPPPI" + "P" * 14, [MOVED] * 19)
    assert [d.refresh for d in found] == [0] * 4 + [10] * 10 + [0] * 5
    assert [d.pending for d in found[4:8]] == [90, 80, 70, 60]
    assert found[0].reasons == ("first frame",)
    assert found[4].reasons == ("I picture: refresh",)
    assert found[5].reasons == ("refresh goes on",)


def test_i_pictures_of_a_still_scene_cost_nothing_unless_asked():
    kinds = "IPPIPPIPP"
    still = run(kinds, [MOVED] + [STILL] * 8)
    assert not any(d.refresh or d.pending for d in still)
    assert still[3].reasons == ("I picture, nothing changed since the last refresh",)
    assert all(d.still for d in still[1:])
    asked = run(kinds, [MOVED] + [STILL] * 8, policy=CodecPolicy(share=1, least_gap=1, refresh_still=True))
    assert [d.refresh for d in asked] == [0, 0, 0, 100, 0, 0, 100, 0, 0]
    once = run(kinds, [MOVED, MOVED] + [STILL] * 7, policy=CodecPolicy(share=1, least_gap=1))
    assert [d.refresh for d in once] == [0, 0, 0, 100, 0, 0, 0, 0, 0]


def test_a_camera_that_sends_i_pictures_all_the_time_is_refreshed_now_and_then():
    found = run("IPP" * 20, [MOVED] * 60, policy=CodecPolicy(share=1, least_gap=20))
    assert [k for k, d in enumerate(found) if d.refresh] == [21, 42]
    assert found[24].reasons == ("I picture, refreshed 3 frames ago",)
    policy = CodecPolicy(share=1, least_gap=4)
    run("IPPI", [MOVED] * 4, policy=policy)
    policy.refreshed()
    assert not any(d.refresh for d in run("PIP", [MOVED] * 3, policy=policy)), "a full frame is a refresh, too"


def test_streams_without_kinds_or_of_i_pictures_only_go_by_pixels():
    for kinds in ([None] * 9, ["I"] * 9):
        found = run(kinds, [MOVED] * 9, policy=CodecPolicy(share=1, least_gap=1))
        assert not any(d.refresh for d in found[2:])
        assert found[-1].reasons[0].endswith("pixels alone")
    back = run(["I"] * 6 + ["P", "I"], [MOVED] * 8, policy=CodecPolicy(share=1, least_gap=1))
    assert back[-1].refresh == 100, "kinds count again when others come"


@given(
    st.lists(st.tuples(st.sampled_from(["I", "P", "B", None, "S"]), st.booleans()), min_size=1, max_size=60),
    st.floats(0.01, 1),
    st.integers(1, 300),
)
def test_a_refresh_never_takes_more_than_its_share_nor_more_than_all(frames, share, tokens):
    found = run([k for k, _ in frames], [MOVED if m else STILL for _, m in frames],
                policy=CodecPolicy(share=share, least_gap=1), tokens=tokens)  # fmt: skip
    begun = sum("I picture: refresh" in d.reasons for d in found)
    assert sum(d.refresh for d in found) <= begun * tokens
    assert all(d.refresh <= max(np.ceil(share * tokens), 1) for d in found)
    assert all(0 <= d.pending <= tokens for d in found)


def test_a_full_frame_ends_a_refresh():
    policy = CodecPolicy(share=0.1, least_gap=1)
    run("IPI", [MOVED] * 3, policy=policy)
    policy.refreshed()
    later = run("PPI", [STILL] * 3, policy=policy)
    assert not any(d.refresh for d in later)
    policy.refreshed(7)  # a source that was never seen


def test_sources_are_apart_and_start_anew():
    policy = CodecPolicy(share=1, least_gap=1)
    run("IP", [MOVED] * 2, policy=policy)
    assert run("I", [MOVED], policy=policy, source=1)[0].reasons == ("first frame",)
    assert run("I", [MOVED], policy=policy)[0].refresh == 100
    assert run("I", [np.ones((3, 3), bool)], policy=policy)[0].reasons == ("first frame",)
    assert run("I", [np.ones((3, 3), bool)], policy=policy, tokens=50)[0].reasons == ("first frame",)
    policy.reset(1)
    assert run("I", [MOVED], policy=policy, source=1)[0].reasons == ("first frame",)
    policy.reset()
    assert run("P", [MOVED], policy=policy)[0].reasons == ("first frame",)


# ---- vectors


@pytest.mark.parametrize("cell", [(16, 16), (24.0, 40.0), (5, 7)])
def test_vectors_seed_motion_only_where_something_changed(cell):
    seed, why = judged_seed(field(cell=cell), MOVED, least_valid=0.3)
    assert why == "vectors fit 100% of what changed: seed"
    assert seed.valid.all()
    rows, columns = seed.valid.shape
    for row, column in itertools.product(range(rows), range(columns)):
        x0, y0 = column * cell[0], row * cell[1]
        x1, y1 = min(x0 + cell[0], SIZE[0]), min(y0 + cell[1], SIZE[1])
        touched = MOVED[int(y0 // 16) : int(np.ceil(y1 / 16)), int(x0 // 16) : int(np.ceil(x1 / 16))].any()
        assert seed.flow[row, column].any() == touched, (row, column)


def test_pixels_overrule_vectors():
    assert judged_seed(field(), STILL, least_valid=0) == (None, "nothing changed: no motion")
    assert judged_seed(field(error=None), MOVED, least_valid=0) == (None, "vectors that no pixels judged: no seed")
    assert judged_seed(field(error=None, valid=False), MOVED, least_valid=0) == (None, "no vectors: no seed")
    seed, why = judged_seed(field(valid=False), MOVED, least_valid=0.3)
    assert seed is None
    assert why == "vectors fit 0% of what changed: no seed"
    half = field()
    half.valid[:, :5] = False
    assert judged_seed(half, MOVED, least_valid=0.3)[0] is not None
    assert judged_seed(half, MOVED, least_valid=0.7)[0] is None


def test_a_decision_carries_its_seed():
    policy = CodecPolicy()
    first, second, third = run("IPP", [MOVED, MOVED, STILL], policy=policy, motion=field())
    assert first.seed is None
    assert second.seed is not None
    assert third.seed is None
    assert policy.decide("P", MOVED, tokens=100).seed is None


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"tiles": MOVED.astype(int)}, "accepted: bool"),
        ({"tokens": 0}, "tokens is 0"),
        ({"tiles": np.ones((3, 3), bool), "motion": field()}, r"with \(3, 3\) tiles; it has \(6, 10\)"),
    ],
)
def test_what_is_refused_leaves_nothing_behind(arguments, words):
    policy = CodecPolicy(least_gap=1)
    run("IP", [MOVED, MOVED], policy=policy)
    with pytest.raises(ValueError, match=words):
        policy.decide("I", **{"tiles": MOVED, "tokens": 100} | arguments)
    assert policy.decide("I", MOVED, tokens=100).reasons == ("I picture: refresh",)


@pytest.mark.parametrize("options", [{"share": 0}, {"share": 1.5}, {"least_valid": -1}, {"least_gap": 0}])
def test_options_that_are_refused(options):
    with pytest.raises(ValueError, match=r"accepted|at least 1"):
        CodecPolicy(**options)


@pytest.mark.data
@pytest.mark.parametrize(
    ("clip", "seeds"), [("moving_highway_dashcam.mp4", True), ("screen_console_typing.webm", False)]
)
def test_on_real_footage(data_folder, clip, seeds):
    """A moving camera's vectors seed motion; a codec without vectors leaves pixels alone, without an error."""
    policy, motion = CodecPolicy(), CodecMotion()
    decisions = []
    with open_source(data_folder / clip, motion_vectors=True) as video, Engine(backend="cpu") as engine:
        for frame in itertools.islice(video, 12):
            report = engine.submit(frame)
            known = motion(moment_of(engine, frame=frame))
            decisions.append(policy.decide(frame.kind, report.tiles, tokens=268, motion=known))
    assert decisions[0].reasons == ("first frame",)
    assert any(d.seed is not None for d in decisions) == seeds
    for d in decisions:
        assert d.seed is None or d.seed.valid_share > 0.3
