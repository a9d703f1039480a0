"""One engine, several layouts: each call may bring its own, of the engine's patch."""

from __future__ import annotations

import numpy as np
import pytest

from texvlm import Engine, make_layout

SIZE = (320, 200)
FEW, MANY = (make_layout("quadtree", tokens=count) for count in (32, 64))


@pytest.fixture
def engine(backend, rng):
    with Engine(backend=backend, layout=MANY, threshold=0) as engine:
        engine.submit(rng.integers(0, 256, (SIZE[1], SIZE[0], 3), dtype=np.uint8))
        yield engine


@pytest.mark.parametrize(
    "layout", [FEW, make_layout("uniform"), make_layout("quadtree", tokens=64, e2_deg=20)], ids=str
)
def test_a_call_with_a_layout_gives_what_an_engine_of_that_layout_gives(engine, backend, layout):
    engine.tokens((0.3, 0.4))  # so that there is something older to confuse it with
    with Engine(backend=backend, layout=layout, threshold=0) as other:
        other.submit(engine.read_level(0))
        expected = other.tokens((0.3, 0.4))
    found = engine.tokens((0.3, 0.4), layout=layout)
    assert (found.table == expected.table).all()
    assert (found.table == engine.plan((0.3, 0.4), layout=layout)).all()
    assert found.pixels.equal(expected.pixels)


def test_the_engine_goes_back_to_its_own_layout(engine):
    before = engine.tokens((0.3, 0.4))
    engine.tokens((0.3, 0.4), layout=FEW)
    after = engine.tokens((0.3, 0.4))
    assert (after.table == before.table).all()
    assert after.pixels.equal(before.pixels)
    assert after.dirty.all()  # 32 tokens lay between them


def test_the_same_layout_again_costs_nothing(engine):
    engine.tokens((0.3, 0.4), layout=FEW)
    sampled = engine.counters.tokens_sampled
    assert not engine.tokens((0.3, 0.4), layout=make_layout("quadtree", tokens=32)).dirty.any()
    assert engine.counters.tokens_sampled == sampled


def test_a_layout_of_as_many_tokens_samples_only_those_that_moved(engine):
    other = make_layout("quadtree", tokens=64, e2_deg=20)
    first, second = engine.tokens((0.3, 0.4)), engine.tokens((0.3, 0.4), layout=other)
    moved = first.table != second.table
    assert 0 < moved.sum() < 64
    assert (second.dirty.numpy() == moved).all()


def test_a_layout_of_another_patch_is_refused_and_forgets_nothing(engine):
    engine.tokens()
    for call in (engine.tokens, engine.plan):
        with pytest.raises(ValueError, match="layout of patch 8 for an engine whose layout has 16"):
            call(layout=make_layout("quadtree", tokens=64, patch=8))
    assert not engine.tokens().dirty.any()
