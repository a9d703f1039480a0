"""Deadlines on a simulated clock, exact checks, gates that follow them, and plain frames with hysteresis."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from reuse_scenes import View, assert_equal, batch_of, painted, picture, small_vit, uniform

from texvlm.temporal.deadline import GATE_STEP, STEPS, Deadline
from texvlm.temporal.encoder import TemporalEncoder
from texvlm.temporal.exact_check import Agreement, CheckTurns, GateLoop, agreement
from texvlm.temporal.mode import PlainOrReuse
from texvlm.temporal.settings import TemporalSettings

SIZE, PATCH = (64, 48), 4
GRID = uniform(SIZE, patch=PATCH)


def run(deadline, *, rows, ms_a_row, calls):
    """Relief of each call on a machine of so many milliseconds a row; wider gates save as they widen."""
    grades = []
    for _ in range(calls):
        deadline.plan(rows)
        grades.append(deadline.relief)
        deadline.observe(rows * ms_a_row / deadline.gate_factor, rows, tokens=rows)
    return grades


def test_relief_grows_until_calls_are_in_time_and_goes_when_there_is_time():
    deadline = Deadline(10.0)
    slow = run(deadline, rows=100, ms_a_row=0.15, calls=30)
    assert slow[0] == 0
    assert max(slow) <= STEPS
    assert deadline.gate_factor >= GATE_STEP
    assert deadline.missed < 12
    assert run(deadline, rows=100, ms_a_row=0.01, calls=80)[-1] == 0


def test_one_hiccup_is_no_reason():
    deadline = Deadline(10.0)
    run(deadline, rows=100, ms_a_row=0.05, calls=20)
    deadline.observe(500.0, 100, tokens=100)
    assert deadline.plan(100) == 0


def test_relief_does_not_swing():
    deadline = Deadline(10.0)
    grades = run(deadline, rows=100, ms_a_row=0.12, calls=200)
    assert np.count_nonzero(np.diff(grades[40:])) <= 20


def test_fewer_tokens_come_last_and_come_back():
    deadline = Deadline(10.0, full_tokens=400)
    assert deadline.tokens == 400
    for _ in range(60):
        deadline.plan(deadline.tokens)
        deadline.observe(deadline.tokens * 0.1, deadline.tokens, tokens=deadline.tokens)
    assert deadline.tokens < 120
    for _ in range(200):
        deadline.plan(deadline.tokens)
        deadline.observe(deadline.tokens * 0.01, deadline.tokens, tokens=deadline.tokens)
    assert deadline.tokens > 300


@pytest.mark.parametrize("target_ms", [None, 5.0])
def test_a_view_of_no_tokens_cannot_be_asked_for(target_ms):
    with pytest.raises(ValueError, match="full_tokens is 0; accepted: tokens of a view, 1 or more"):
        Deadline(target_ms, 0)


def test_no_deadline_is_no_relief():
    deadline = Deadline(None)
    assert set(run(deadline, rows=100, ms_a_row=9.0, calls=5)) == {0}
    assert deadline.missed == 0
    with pytest.raises(ValueError, match="took -1"):
        deadline.observe(-1, 3, tokens=3)
    with pytest.raises(ValueError, match="deadline of 0 ms"):
        Deadline(0)


def test_a_late_machine_widens_gates_and_puts_off_refresh_but_keeps_the_bound():
    encoder = small_vit(image_size=64)
    now = [0.0]
    embed = encoder.embed
    encoder.embed = lambda pixels: (now.__setitem__(0, now[0] + len(pixels) * 1e-3), embed(pixels))[1]
    settings = TemporalSettings(
        "t", level="L2", threshold=2, refresh=4, gate=0.05, deadline_ms=5, full_share=1, cut_bar=None
    )
    temporal = TemporalEncoder(encoder, settings, full_tokens=len(GRID), clock=lambda: now[0])
    frame, reports = picture(SIZE, 1), []
    for at in range(24):
        frame = painted(frame, (4 * (at % 8), 0), 32, at)
        reports += temporal(batch_of(encoder, [View(0, frame, GRID, at / 25)])).reports
    assert reports[-1].relief >= 2
    assert reports[-1].gate > settings.gate
    assert temporal.counters.deadlines_missed > 3
    assert temporal.deadline.tokens < len(GRID)
    assert all(report.worst_deviation <= 2 for report in reports)


def test_a_check_tells_how_far_off_it_was_and_goes_on_with_what_is_exact():
    encoder = small_vit(image_size=64)
    settings = TemporalSettings("t", level="L2", threshold=20, gate=0.5, full_share=1, cut_bar=None, check_every=4)
    temporal = TemporalEncoder(encoder, settings)
    frame, checks = picture(SIZE, 1), []
    for at in range(12):
        frame = painted(frame, (4 * (at % 8), 8), 16, at)
        views = batch_of(encoder, [View(0, frame, GRID, at / 25), View(1, frame, GRID, at / 25)])
        out = temporal(views)
        checked = [report for report in out.reports if report.check is not None]
        assert len(checked) <= 1  # one view a call
        for report in checked:
            assert report.reason == "exact check"
            assert 0.3 < report.check.tokens < 1
            assert report.flops > report.flops_full
            view = out.reports.index(report)
            torch.testing.assert_close(out.features.tokens[view], encoder(views).tokens[view], rtol=0, atol=1e-5)
        checks += checked
    assert {report.source for report in checks} == {0, 1}
    assert temporal.counters.checks == len(checks) >= 4


def test_gates_follow_what_checks_find():
    encoder = small_vit(image_size=64)
    settings = TemporalSettings(
        "t", level="L2", threshold=0.5, gate=0.9, full_share=1, cut_bar=None, check_every=2, target_cosine=0.99999
    )
    temporal = TemporalEncoder(encoder, settings)
    frame, reports = picture(SIZE, 1), []
    for at in range(24):
        frame = painted(frame, (4 * (at % 8), 8), 16, at)
        reports += temporal(batch_of(encoder, [View(0, frame, GRID, at / 25)])).reports
    assert reports[-1].gate < settings.gate
    assert reports[-1].gate >= 0.25 * settings.gate


def test_the_loop_tightens_loosens_and_rests():
    loop = GateLoop(0.1, 0.99)
    assert loop.observe(Agreement(1, 0.97, 0.9)) == pytest.approx(0.05)
    assert loop.observe(Agreement(1, 0.993, 0.9)) == pytest.approx(0.05)
    assert loop.observe(Agreement(1, 0.9999, 0.9)) == pytest.approx(0.055)
    for _ in range(50):
        loop.observe(Agreement(1, 1, 1))
    assert loop.share == pytest.approx(0.2)
    assert GateLoop(0.1).observe(Agreement(0, 0, 0)) == 0.1


def test_checks_take_turns_and_wait_while_time_is_short():
    turns = CheckTurns(3)
    chosen = [turns.choose([4, 9], short=False) for _ in range(8)]
    assert chosen == [None, None, 4, 9, None, 4, 9, None]
    assert [CheckTurns(2).choose([1], short=True) for _ in range(3)] == [None] * 3
    waiting = CheckTurns(2)
    assert [waiting.choose([1], short=True) for _ in range(4)] == [None, None, None, 1]
    assert CheckTurns(None).choose([1], short=False) is None


def test_agreement_of_a_thing_with_itself():
    encoder = small_vit()
    views = batch_of(encoder, [View(0, picture((24, 24), 1), uniform((24, 24), patch=PATCH, rows=40))])
    features = encoder(views)
    found = agreement(features, features)
    assert (found.class_token, found.tokens, found.worst_tokens) == pytest.approx((1, 1, 1))
    assert_equal(features, features)


def test_plain_frames_need_two_and_go_back_clearly():
    switch = PlainOrReuse(0.8)
    assert [switch.observe(share) for share in (0.9, 0.5, 0.9, 0.9, 0.7, 0.61, 0.59)] == [
        False, False, False, True, True, True, False
    ]  # fmt: skip
