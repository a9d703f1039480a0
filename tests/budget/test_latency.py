"""The latency controller on simulated machines: settles, does not oscillate, holds the target under load."""

from __future__ import annotations

import itertools
import math

import pytest
from budget.machines import Machine, drive
from hypothesis import given, settings
from hypothesis import strategies as st

from texvlm.budget import LatencyController

MACHINES = {
    "linear": Machine(),
    "quadratic": Machine(fixed_ms=1, linear_ms=0.01, quadratic_ms=4e-5),
    "attention": Machine(fixed_ms=0, linear_ms=0, quadratic_ms=6e-5),
    "overhead": Machine(fixed_ms=12, linear_ms=0.01),
    "hiccups": Machine(hiccup_every=7),
    "noisy": Machine(noise=0.1),
}


def machine(name: str, **changes: float) -> Machine:
    base = MACHINES[name]
    kept = {key: getattr(base, key) for key in ("fixed_ms", "linear_ms", "quadratic_ms", "noise", "hiccup_every")}
    return Machine(**(kept | changes))


def turns(used: list[int]) -> int:
    """How often a run of counts changes its direction."""
    steps = [b - a for a, b in itertools.pairwise(used) if a != b]
    return sum(a * b < 0 for a, b in itertools.pairwise(steps))


@pytest.mark.parametrize("name", MACHINES)
@pytest.mark.parametrize("start", [32, 1024])
def test_it_settles_within_the_target_and_rests_there(name, start):
    simulated = machine(name)
    controller = LatencyController(20.0, 32, 1024, start=start)
    used = drive(controller, simulated, 300)
    rest = used[150:]
    assert len(set(rest)) == 1  # no change at all: it does not oscillate
    assert turns(used) <= 2
    assert simulated.mean_ms(rest[0]) <= 20 * 1.05
    # and it does not rest needlessly low: either the top, or three quarters of the time is made use of
    assert rest[0] == 1024 or simulated.mean_ms(rest[0]) >= 0.7 * 20
    assert controller.held


@pytest.mark.parametrize("name", ["linear", "quadratic", "hiccups"])
@pytest.mark.parametrize("delay", [0, 1])
def test_it_holds_the_target_when_the_machine_slows_down_by_two_and_comes_back(name, delay):
    simulated = machine(name, delay=delay)
    controller = LatencyController(20.0, 32, 1024, settle=1 + delay)
    before = drive(controller, simulated, 200)[-1]
    simulated.slowdown = 2.0
    slow = drive(controller, simulated, 200)
    late = [tokens for tokens in slow if simulated.mean_ms(tokens) > 20 * 1.05]
    assert len(late) <= 4 * (controller.window + controller.settle)  # a few windows, then within the target
    assert slow[: len(late)] == late
    assert len(set(slow[100:])) == 1
    assert slow[-1] < before
    simulated.slowdown = 1.0
    again = drive(controller, simulated, 200)
    assert all(simulated.mean_ms(tokens) <= 20 * 1.05 for tokens in again)
    assert len(set(again[100:])) == 1
    assert simulated.mean_ms(again[-1]) >= 0.7 * 20  # it found back to what the machine can do
    assert turns(again) == 0


@given(
    fixed=st.floats(0, 10),
    linear=st.floats(0.005, 0.2),
    quadratic=st.floats(0, 2e-4),
    noise=st.floats(0, 0.05),
    slowdown=st.floats(0.5, 3),
    seed=st.integers(0, 1000),
)
@settings(max_examples=60, deadline=None)
def test_any_machine_comes_to_rest_within_the_target_or_at_the_minimum(fixed, linear, quadratic, noise, slowdown, seed):
    simulated = Machine(fixed, linear, quadratic, noise, slowdown=slowdown, seed=seed)
    controller = LatencyController(20.0, 16, 2048)
    rest = drive(controller, simulated, 500)[350:]
    assert len(set(rest)) <= 2  # noise may still nudge it once near an edge of the band, never to and fro
    assert turns(rest) == 0
    assert rest[-1] == 16 or simulated.mean_ms(rest[-1]) <= 20 * 1.06


def test_a_machine_that_is_too_slow_gets_the_minimum_and_is_reported():
    controller = LatencyController(1.0, 64, 268)
    assert drive(controller, Machine(), 100)[-1] == 64
    assert not controller.held


def test_a_single_hiccup_changes_nothing():
    controller = LatencyController(20.0, 32, 268, start=268)
    for i in range(50):
        controller.observe(500.0 if i % 10 == 3 else 16.0)
    assert controller.tokens == 268


def test_frames_that_used_less_than_they_might_teach_nothing_about_more():
    controller = LatencyController(20.0, 32, 1000, start=500)
    for _ in range(60):
        controller.observe(8.0, used=100)  # at most sqrt(2.25) times what was tried
    assert controller.tokens == 500
    for _ in range(6):
        controller.observe(40.0, used=100)
    assert controller.tokens <= 45


def test_a_frame_that_had_more_than_it_might_is_no_reason_for_more():
    controller = LatencyController(20.0, 32, 1000, start=200)
    for _ in range(controller.settle + controller.window):
        controller.observe(22.0, used=900)  # handed in before the last change
    assert controller.tokens == 200


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((0, 1, 2), "target_ms is 0"),
        ((math.nan, 1, 2), "target_ms is nan"),
        ((5, 0, 2), "minimum is 0"),
        ((5, 9, 2), "minimum 9 is above maximum 2"),
    ],
)
def test_controllers_that_cannot_be(arguments, words):
    with pytest.raises(ValueError, match=words):
        LatencyController(*arguments)


def test_a_time_that_is_none_changes_nothing():
    controller = LatencyController(20.0, 32, 268)
    for spent in (-1.0, math.nan, math.inf):
        with pytest.raises(ValueError, match="accepted: a finite time"):
            controller.observe(spent)
    assert controller.tokens == 268
