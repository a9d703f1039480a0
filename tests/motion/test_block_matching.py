"""Motion fields from block matching: known motion, flat walls, what is kept for whom, what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from block_reference import textured
from hypothesis import given, settings
from hypothesis import strategies as st

from texvlm import Engine
from texvlm.errors import ClosedError
from texvlm.motion.block_matching import BlockMatcher
from texvlm.motion.source import Moment, MotionSource, moment_of

SIZE = (320, 192)


@pytest.fixture(scope="module")
def scenery() -> np.ndarray:
    """A picture with texture of every size, larger than the frames cut from it."""
    return smooth(textured(np.random.default_rng(5), (480, 340)))


def smooth(picture: np.ndarray) -> np.ndarray:
    """As a lens does: no texel is independent of its neighbours."""
    values = np.pad(picture.astype(np.float64), ((1, 1), (1, 1), (0, 0)), mode="edge")
    for axis in (0, 1):
        values = (np.roll(values, 1, axis) + 2 * values + np.roll(values, -1, axis)) / 4
    return np.rint(values[1:-1, 1:-1]).astype(np.uint8)


def cut(picture: np.ndarray, x: int, y: int, size: tuple[int, int] = SIZE) -> np.ndarray:
    return np.ascontiguousarray(picture[y : y + size[1], x : x + size[0]])


def inner(field, margin: int = 2) -> tuple[np.ndarray, np.ndarray]:
    return field.flow[margin:-margin, margin:-margin], field.valid[margin:-margin, margin:-margin]


@pytest.mark.parametrize("patch", [8, 16, 32])
@pytest.mark.parametrize("shift", [(0, 0), (1, 0), (-3, 2), (11, -7), (-19, 14), (20, -20)], ids=str)
def test_a_translation_is_recovered_to_a_quarter_of_a_texel(scenery, patch, shift):
    x, y = shift
    field = BlockMatcher(patch=patch).between(cut(scenery, 80, 80), cut(scenery, 80 - x, 80 - y))
    assert (field.origin, field.size, field.cell) == ("blocks", SIZE, (patch, patch))
    flow, valid = inner(field, -(-40 // patch))  # content of the outermost cells is not in both
    assert valid.mean() > 0.95
    error = np.hypot(*np.moveaxis(flow[valid] - shift, -1, 0))
    assert np.median(error) < 0.25
    assert np.quantile(error, 0.95) < 0.6
    assert np.abs(np.median(flow[valid], axis=0) - shift).max() < 0.15


@pytest.mark.parametrize("shift", [(64, -64), (-61, 30)], ids=str)
def test_long_ways_in_a_full_hd_frame(shift):
    rng = np.random.default_rng(6)
    width, height = 2048, 1208
    total = np.zeros((height, width))
    for side in (5, 11, 23, 60):
        coarse = rng.normal(0, 1, (height // side + 2, width // side + 2))
        total += np.kron(coarse, np.ones((side, side)))[:height, :width]
    whole = smooth(np.clip(128 + 30 * total, 0, 255).astype(np.uint8)[..., None])
    x, y = shift
    field = BlockMatcher().between(*(cut(whole, 64 - dx, 64 - dy, (1920, 1080)) for dx, dy in ((0, 0), shift)))
    assert (field.columns, field.rows) == (60, 34)
    flow, valid = inner(field, 3)
    assert valid.mean() > 0.95
    error = np.hypot(*np.moveaxis(flow[valid] - (x, y), -1, 0))
    assert np.median(error) < 0.25
    assert np.abs(np.median(flow[valid], axis=0) - shift).max() < 0.1


@pytest.mark.parametrize("quarter", [1, 2, 3, 5, -6])
def test_motion_between_texels(quarter):
    """Of four times the size, a shift by one texel is a quarter of one."""
    fine = textured(np.random.default_rng(8), (900, 620)).astype(np.float64)
    for _ in range(3):
        fine = smooth(np.rint(fine).astype(np.uint8)).astype(np.float64)

    def shrunk(x: int) -> np.ndarray:
        part = fine[40 : 40 + 576, 40 + x : 40 + x + 832]
        return np.rint(part.reshape(144, 4, 208, 4, 3).mean(axis=(1, 3))).astype(np.uint8)

    field = BlockMatcher(patch=16, finest=0).between(shrunk(0), shrunk(-quarter))
    flow, valid = inner(field)
    assert valid.mean() > 0.9
    assert np.abs(np.median(flow[valid], axis=0) - (quarter / 4, 0)).max() < 0.05


def test_an_object_over_a_standing_background(scenery):
    background, thing = cut(scenery, 0, 0), cut(scenery, 200, 140, (96, 96))
    old, new = background.copy(), background.copy()
    old[32:128, 64:160] = thing
    new[32:128, 84:180] = thing
    field = BlockMatcher(patch=16, check=True).between(new, old)
    inside, outside = field.flow[4:6, 7:9], field.flow[10:, :]
    assert np.abs(inside - (-20, 0)).max() < 0.5
    assert field.valid[4:6, 7:9].all()
    assert not outside.any()
    assert field.valid[10:].all()  # nothing changed there
    assert not field.valid[4:6, 4].any()  # what the thing has just uncovered was nowhere


@pytest.mark.parametrize("size", [(640, 384), (1280, 720)], ids=str)
def test_noise_on_a_flat_wall_is_no_motion(size):
    rng = np.random.default_rng(3)
    wall = np.linspace(90, 140, size[0])[None, :, None] + np.zeros((size[1], 1, 3))
    frames = [np.clip(wall + rng.normal(0, 4, wall.shape), 0, 255).astype(np.uint8) for _ in range(2)]
    field = BlockMatcher().between(*frames)
    assert field.speed.max() < 2.0
    assert np.median(field.speed) < 0.3
    flat = np.full((size[1], size[0], 3), 77, np.uint8)
    still = BlockMatcher().between(flat, flat)
    assert not still.flow.any()
    assert still.valid.all()


def test_another_picture_is_not_believed(scenery):
    other = smooth(textured(np.random.default_rng(77), SIZE))[: SIZE[1], : SIZE[0]]
    field = BlockMatcher(patch=16, check=True).between(cut(scenery, 50, 50), np.ascontiguousarray(other))
    assert field.valid_share < 0.2


@given(st.integers(1, 90), st.integers(1, 90), st.sampled_from([4, 8, 16, 32, 64]), st.integers(0, 2**32 - 1))
@settings(max_examples=25, deadline=None)
def test_fields_of_any_size_span_the_frame(width, height, patch, seed):
    rng = np.random.default_rng(seed)
    pictures = rng.integers(0, 256, (2, height, width, 1), dtype=np.uint8)
    field = BlockMatcher(patch=patch).between(*pictures)
    assert (field.columns, field.rows) == (-(-width // patch), -(-height // patch))
    same = BlockMatcher(patch=patch).between(pictures[0], pictures[0])
    assert not same.flow.any()
    assert same.valid.all()


# ---------------------------------------------------------------- in an engine


@pytest.fixture
def engine():
    with Engine(backend="cpu", sources=2, threshold=0) as engine:
        yield engine


def test_an_engine_finds_what_two_pictures_give(engine, scenery):
    matcher = BlockMatcher(patch=16, check=True)
    assert isinstance(matcher, MotionSource)
    old, new = cut(scenery, 60, 60), cut(scenery, 51, 63)
    engine.submit(old)
    assert matcher(moment_of(engine)) is None
    before = engine.counters
    before = before - type(before)()
    engine.submit(new)
    field, direct = matcher(moment_of(engine)), matcher.between(new, old)
    np.testing.assert_array_equal(field.flow, direct.flow)
    np.testing.assert_array_equal(field.valid, direct.valid)
    assert (engine.counters - before).blocks_matched == 2 * field.rows * field.columns


def test_a_frame_that_is_not_held_by_an_engine(engine, scenery):
    """Moments without an engine that matches, and engines of floats, are served on the host, with the same result."""
    old, new = cut(scenery, 60, 60), cut(scenery, 64, 58)
    resident, host, floats = BlockMatcher(), BlockMatcher(), BlockMatcher()
    with Engine(backend="cpu", threshold=0) as of_floats:
        fields = []
        for frame in (old, new):
            engine.submit(frame)
            of_floats.submit(frame.astype(np.float32) / 255)
            moment = moment_of(engine)
            alone = Moment(0, moment.size, moment.mips)
            fields = [resident(moment), host(alone), floats(moment_of(of_floats))]
    for field in fields[1:]:
        np.testing.assert_allclose(field.flow, fields[0].flow, atol=0.2)
    np.testing.assert_array_equal(fields[1].flow, fields[0].flow)


def test_sources_are_apart_and_can_be_reset(engine, scenery):
    matcher = BlockMatcher(patch=16)
    for source in (0, 1):
        engine.submit(cut(scenery, 60, 60), source)
        assert matcher(moment_of(engine, source)) is None
    engine.submit(cut(scenery, 64, 60), 0)
    engine.submit(cut(scenery, 60, 68), 1)
    matcher.reset(0)
    assert matcher(moment_of(engine, 0)) is None
    field = matcher(moment_of(engine, 1))
    assert np.abs(np.median(inner(field)[0], axis=(0, 1)) - (0, 8)).max() < 0.2
    matcher.reset()
    assert matcher(moment_of(engine, 1)) is None
    matcher.reset(5)  # unknown: nothing to forget


def test_another_size_starts_anew_and_harms_no_other_source(engine, scenery):
    matcher = BlockMatcher(patch=16)
    small = (160, 96)
    engine.submit(cut(scenery, 0, 0), 0)
    engine.submit(cut(scenery, 0, 0), 1)
    matcher(moment_of(engine, 0))
    matcher(moment_of(engine, 1))
    engine.submit(cut(scenery, 0, 0, small), 0)
    assert matcher(moment_of(engine, 0)) is None
    engine.submit(cut(scenery, 4, 0, small), 0)
    assert matcher(moment_of(engine, 0)).size == small
    engine.submit(cut(scenery, 4, 0), 1)
    assert matcher(moment_of(engine, 1)).size == SIZE
    larger = (400, 240)  # the engine allocates anew: every source starts again, once
    engine.submit(cut(scenery, 0, 0, larger), 0)
    assert matcher(moment_of(engine, 0)) is None
    assert matcher(moment_of(engine, 1)) is None
    engine.submit(cut(scenery, 8, 0), 1)
    assert matcher(moment_of(engine, 1)) is not None


def test_two_matchers_and_two_engines_do_not_share(engine, scenery):
    one, two = BlockMatcher(patch=16), BlockMatcher(patch=16)
    with Engine(backend="cpu", threshold=0) as other:
        for which, frame in ((engine, cut(scenery, 0, 0)), (other, cut(scenery, 90, 90))):
            which.submit(frame)
            assert one(moment_of(which)) is None
        engine.submit(cut(scenery, 6, 0))
        assert two(moment_of(engine)) is None
        other.submit(cut(scenery, 90, 96))
        moves = [np.median(inner(one(moment_of(which)))[0], axis=(0, 1)) for which in (engine, other)]
    np.testing.assert_allclose(moves, [(6, 0), (0, 6)], atol=0.2)


def test_frames_that_do_not_change_cost_nothing(engine, scenery):
    matcher = BlockMatcher()
    engine.submit(cut(scenery, 0, 0))
    matcher(moment_of(engine))
    for _ in range(3):
        engine.submit(cut(scenery, 0, 0))
        field = matcher(moment_of(engine))
        assert not field.flow.any()
        assert field.valid.all()
    assert engine.counters.blocks_matched == 0


def test_what_is_closed_stays_closed(scenery):
    engine = Engine(backend="cpu")
    engine.submit(cut(scenery, 0, 0))
    blocks, closed = engine.block_memory(), engine.block_memory()
    assert blocks.match() is None
    closed.close()
    closed.close()
    with pytest.raises(ClosedError, match="these blocks were closed"):
        closed.match()
    matcher = BlockMatcher()
    matcher(moment_of(engine))
    engine.close()
    with pytest.raises(ClosedError, match="match: this engine is closed"):
        blocks.match()
    for part in (blocks, matcher):  # after the engine's end there is nothing left to do
        part.reset()
        part.close()


def test_pictures_and_options_that_do_not_fit(scenery):
    one = cut(scenery, 0, 0)
    with pytest.raises(ValueError, match=r"pictures of .* and .*; accepted: two of the same shape"):
        BlockMatcher().between(one, one[:-1])
    with pytest.raises(TypeError, match="a picture of float32; accepted: uint8"):
        BlockMatcher().between(one.astype(np.float32), one)
    with pytest.raises(ValueError, match=r"a picture of \(192, 320, 2\); accepted"):
        BlockMatcher().between(one[..., :2], one[..., :2])
    with pytest.raises(ValueError, match="patch is 20"):
        BlockMatcher(patch=20)
    with Engine(backend="cpu") as engine, pytest.raises(ValueError, match="source 0 has no frame yet"):
        engine.block_memory().match()
