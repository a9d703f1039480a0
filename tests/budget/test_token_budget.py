"""The budget of a call: counts by what is to be seen, shared by sources, within what the machine can do."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from budget.machines import Machine
from fixation.scenes import plain, scenes_of

from texvlm import Engine, make_layout
from texvlm.budget import Ladder, LatencyController, TokenBudget, by_layout, make_ladder
from texvlm.fixation import Scene, scene_of

LADDER = make_ladder(minimum=16, maximum=256, steps=5)


@pytest.fixture(scope="module")
def scene() -> Scene:
    return next(scenes_of([plain()]))


class Stated:
    """A complexity that each source is told."""

    def __init__(self, *values: float) -> None:
        self.values = list(values)

    def __call__(self, scene: Scene) -> float:
        return self.values[scene.source]


def counts(budget: TokenBudget, scene: Scene, sources: int, **more: object) -> list[int]:
    return [grant.tokens for grant in budget.plan([replace(scene, source=s) for s in range(sources)], **more)]


# ---- the ladder


def test_a_ladder_grows_by_about_the_same_factor():
    assert LADDER.counts == (16, 32, 64, 128, 256)
    assert make_ladder("rings", counts=(172, 208, 268)).counts == (172, 208, 268)
    assert make_ladder(minimum=10, maximum=12, steps=9).counts == (10, 11, 12)
    assert make_ladder(minimum=64, maximum=64).counts == (64,)
    assert LADDER.at_most(127).tokens == 64
    assert LADDER.at_most(1e9).tokens == 256


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: LADDER.at_most(15), "budget of 15 tokens is under the minimum of 16"),
        (lambda: Ladder(()), "one or more layouts"),
        (lambda: Ladder((make_layout("uniform"),)), "of a fixed token count"),
        (lambda: Ladder((make_layout("quadtree", tokens=64), make_layout("quadtree", tokens=32))), "must grow"),
        (
            lambda: Ladder((make_layout("quadtree", tokens=9), make_layout("quadtree", tokens=64, patch=8))),
            "one patch",
        ),
        (lambda: make_ladder(minimum=9, maximum=8), "minimum 9 is above maximum 8"),
        (lambda: TokenBudget(LADDER, total=15), "budget of 15 tokens is under the minimum of 16"),
        (lambda: TokenBudget(LADDER, controller=LatencyController(5, 4, 64)), "budget of 4 tokens is under"),
        (lambda: TokenBudget(LADDER, smoothing=1.0), "smoothing is 1.0"),
    ],
)
def test_what_cannot_be(make, words):
    with pytest.raises(ValueError, match=words):
        make()


# ---- one call


def test_each_gets_what_it_deserves_while_there_is_room(scene):
    budget = TokenBudget(LADDER, complexity=Stated(0, 0.5, 1))
    assert counts(budget, scene, 3) == [16, 128, 256]
    assert counts(TokenBudget(LADDER, complexity=Stated(1, 1)), scene, 2, importance=[4, 1]) == [256, 64]
    assert counts(TokenBudget(LADDER, complexity=Stated(1, 1)), scene, 2, importance=[0, 1]) == [16, 256]


@pytest.mark.parametrize("total", [48, 100, 150, 300, 500, 10_000])
def test_a_shared_budget_is_never_exceeded_and_the_order_is_kept(scene, total):
    found = counts(TokenBudget(LADDER, total=total, complexity=Stated(0.1, 0.9, 0.5)), scene, 3)
    assert sum(found) <= total
    assert found[0] <= found[2] <= found[1]


@pytest.mark.parametrize("total", [float("nan"), 100.5, "100"])
def test_a_total_that_is_no_whole_number_is_refused(total):
    with pytest.raises(TypeError, match=r"total is .*; it is a whole number, 1 or more"):
        TokenBudget(LADDER, total=total)


def test_a_budget_under_the_minimum_of_its_sources_is_refused(scene):
    budget = TokenBudget(LADDER, total=40, complexity=Stated(0, 0, 0))
    assert counts(budget, scene, 2) == [16, 16]
    with pytest.raises(ValueError, match="budget of 40 tokens is under the minimum of 3 sources, 48"):
        counts(budget, scene, 3)


def test_small_wavering_keeps_the_count(scene):
    complexity = Stated(0.48)
    budget = TokenBudget(LADDER, complexity=complexity, smoothing=0)
    found = []
    for wave in (0.48, 0.45, 0.42, 0.48, 0.42, 0.47, 0.44, 0.42):  # 128 tokens are deserved at 0.467
        complexity.values[0] = wave
        found += counts(budget, scene, 1)
    assert found[0] == 128
    assert set(found) == {128}
    complexity.values[0] = 0.3
    assert counts(budget, scene, 1) == [64]


def test_a_jump_is_smoothed(scene):
    complexity = Stated(0.0)
    budget = TokenBudget(LADDER, complexity=complexity, smoothing=0.8)
    counts(budget, scene, 1)
    complexity.values[0] = 1.0
    found = [counts(budget, scene, 1)[0] for _ in range(20)]
    assert found == sorted(found)
    assert (found[0], found[-1]) == (32, 128)  # the maximum itself is only reached in the limit
    budget.reset(0)
    assert counts(budget, scene, 1) == [256]


@pytest.mark.parametrize(
    ("sources", "importance", "words"),
    [
        ([], None, "give one scene each"),
        ([0, 0], None, "give one scene each"),
        ([0, 1], [1], "1 importances for 2 sources"),
        ([0, 1], [0, 0], "not all 0"),
        ([0, 1], [1, float("nan")], "finite numbers"),
    ],
)
def test_calls_that_are_refused(scene, sources, importance, words):
    budget = TokenBudget(LADDER, complexity=Stated(0, 1))
    with pytest.raises(ValueError, match=words):
        budget.plan([replace(scene, source=source) for source in sources], importance=importance)


def test_a_complexity_that_fails_leaves_every_source_as_it_was(scene):
    complexity = Stated(0.2, 0.2)
    budget = TokenBudget(LADDER, complexity=complexity, smoothing=0.5)
    before = counts(budget, scene, 2)
    complexity.values[:] = [1.0, 7.0]
    with pytest.raises(ValueError, match=r"complexity of source 1 is 7\.0"):
        counts(budget, scene, 2)
    complexity.values[:] = [0.2, 0.2]
    assert counts(budget, scene, 2) == before


# ---- with a machine, and with an engine


def test_many_sources_hold_the_target_through_a_slowdown(scene):
    machine, complexity = Machine(fixed_ms=1, linear_ms=0.02), Stated(0.9, 0.3, 0.6, 1.0)
    budget = TokenBudget(LADDER, controller=LatencyController(10, 64, 1024), complexity=complexity)
    history: list[list[int]] = []
    for slowdown in (1.0, 2.0, 1.0):
        machine.slowdown = slowdown
        run = []
        for _ in range(200):
            run.append(counts(budget, scene, 4))
            budget.observe(machine.run(sum(run[-1])))
        assert machine.mean_ms(sum(run[-1])) <= 10 * 1.05
        assert len({tuple(found) for found in run[100:]}) == 1
        history.append(run[-1])
    assert sum(history[1]) < sum(history[0])
    assert sum(history[2]) > sum(history[1])
    assert machine.mean_ms(sum(history[2])) >= 0.7 * 10  # it found back to what the machine can do


def test_counts_may_differ_from_call_to_call_of_one_engine(rng):
    frames = [plain(), rng.integers(0, 256, (192, 320, 3), dtype=np.uint8)]
    budget = TokenBudget(make_ladder(minimum=16, maximum=64, steps=3))
    with Engine(backend="cpu", sources=2, layout=LADDER.rungs[0]) as engine:
        for source, frame in enumerate(frames):
            engine.submit(frame, source)
        grants = budget.plan([scene_of(engine, source) for source in range(2)])
        batches = [engine.tokens(sources=sources, layout=layout) for layout, sources in by_layout(grants)]
    assert [grant.tokens for grant in grants] == [16, 32]
    assert [(batch.sources.tolist(), batch.table.shape[1]) for batch in batches] == [([0], 16), ([1], 32)]
