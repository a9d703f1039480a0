"""The engine's promises: the change guarantee, no work for no change, tokens equal to a fresh upload."""

from __future__ import annotations

import numpy as np
import pytest
import reference
import torch
from compare import anywhere, assert_tokens
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import texvlm
from texvlm import Engine
from texvlm.backends.base import TOKEN_DTYPES
from texvlm.layouts import make_layout

SIZE = (320, 200)


def noise(rng: np.random.Generator, size: tuple[int, int] = SIZE, channels: int = 3) -> np.ndarray:
    return rng.integers(0, 256, (size[1], size[0], channels), dtype=np.uint8)


def expected(batch: texvlm.TokenBatch, frames: dict[int, np.ndarray], levels: int, view: int = 0) -> np.ndarray:
    return reference.tokens(frames, batch.table[view], batch.patch, levels)


@pytest.fixture
def engine(backend):
    with Engine(backend=backend, tokens=64, threshold=0) as engine:
        yield engine


# ---------------------------------------------------------------- the change guarantee


@given(st.data())
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_is_stored_stays_within_the_threshold_for_any_sequence_of_frames(backend, data):
    """Slow drift is where frame-to-frame comparison fails: each step is below the threshold, the sum is not."""
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1), label="seed"))
    limit = data.draw(st.sampled_from([0, 1, 8, 30]), label="threshold")
    size = data.draw(st.tuples(st.integers(1, 60), st.integers(1, 60)), label="size")
    frame = noise(rng, size).astype(np.int64)
    with Engine(backend=backend, tokens=4, patch=4, threshold=limit / 255) as engine:
        for _ in range(data.draw(st.integers(1, 8), label="frames")):
            step = data.draw(st.sampled_from([0, 1, limit, limit + 1, 255]), label="step")
            frame = np.clip(frame + rng.integers(-step, step + 1, frame.shape), 0, 255)
            engine.submit(frame.astype(np.uint8))
            assert np.abs(engine.read_level(0).astype(np.int64) - frame).max() <= limit


def test_a_float_source_keeps_the_threshold_too(backend, rng):
    frame = rng.random((40, 50, 3), dtype=np.float32)
    with Engine(backend=backend, tokens=4, threshold=0.1) as engine:
        for _ in range(5):
            engine.submit(frame)
            assert np.abs(engine.read_level(0) - frame).max() <= 0.1
            frame = frame + rng.normal(0, 0.06, frame.shape).astype(np.float32)


def test_an_unchanged_frame_costs_nothing(engine, rng):
    frame = noise(rng)
    engine.submit(frame)
    first = engine.tokens((0.3, 0.6))
    before = engine.counters.as_dict()
    report = engine.submit(frame.copy())
    second = engine.tokens((0.3, 0.6))
    after = engine.counters.as_dict()
    spent = {name: after[name] - before[name] for name in after if after[name] != before[name]}
    assert spent == {"frames": 1, "tiles_compared": report.tiles_total, "tokens_reused": 64}
    assert report.tiles_dirty == report.bytes_uploaded == report.texels_rebuilt == 0
    assert not second.dirty.any()
    assert torch.equal(first.pixels, second.pixels)


def test_noise_below_the_threshold_costs_nothing(backend, rng):
    frame = noise(rng).astype(np.int64)
    with Engine(backend=backend, tokens=64) as engine:
        engine.submit(np.clip(frame, 0, 255).astype(np.uint8))
        for _ in range(3):
            jitter = np.clip(frame + rng.integers(-8, 9, frame.shape), 0, 255).astype(np.uint8)
            assert engine.submit(jitter).tiles_dirty == 0


# ---------------------------------------------------------------- tokens


def test_partial_resampling_equals_a_fresh_engine(backend, rng):
    """Whatever changed in between, tokens are those of an engine that saw only the last frame."""
    frame = noise(rng)
    with Engine(backend=backend, tokens=64, threshold=0) as engine:
        for step in range(12):
            x, y = rng.integers(0, SIZE[0]), rng.integers(0, SIZE[1])
            frame = frame.copy()
            frame[y : y + 20, x : x + 20] = rng.integers(0, 256)
            engine.submit(frame)
            fixation = (0.2, 0.3) if step % 3 else rng.random(2)
            batch = engine.tokens(fixation)
            with Engine(backend=backend, tokens=64, threshold=0) as fresh:
                fresh.submit(frame)
                whole = fresh.tokens(fixation)
            assert torch.equal(batch.pixels, whole.pixels)
            np.testing.assert_array_equal(batch.table, whole.table)
    assert engine.counters.tokens_reused > 0


@pytest.mark.parametrize("layout", ["uniform", "rings-20-288", "sunflower", "quadtree"])
def test_dirty_marks_exactly_the_tokens_that_read_a_changed_tile(backend, rng, layout):
    frame = noise(rng)
    made = make_layout(layout) if "-" in layout else make_layout(layout, tokens=40)
    with Engine(backend=backend, layout=made, threshold=0) as engine:
        engine.submit(frame)
        before = engine.tokens((0.45, 0.55))
        for _ in range(10):
            x, y = int(rng.integers(0, SIZE[0])), int(rng.integers(0, SIZE[1]))
            frame = frame.copy()
            frame[y, x] ^= 0x55
            engine.submit(frame)
            after = engine.tokens((0.45, 0.55))
            different = (before.pixels != after.pixels).flatten(2).any(-1)
            assert not (different & ~after.dirty).any()
            tile = np.array([x // 16, y // 16])
            near = np.abs(after.centres[0].numpy() - (tile * 16 + 8)).max(axis=1)
            reach = 8 + after.sides[0].numpy() / 2 + 2 ** np.ceil(after.lods[0].numpy())
            assert not (after.dirty[0].numpy() & (near > reach)).any(), "a token far from the change is dirty"
            before = after


def test_every_token_is_dirty_at_first_and_after_a_move(engine, rng):
    engine.submit(noise(rng))
    assert engine.tokens((0.1, 0.1)).dirty.all()
    assert not engine.tokens((0.1, 0.1)).dirty.any()
    moved = engine.tokens((0.9, 0.8))
    rows = engine.plan((0.9, 0.8))[0] != engine.plan((0.1, 0.1))[0]
    np.testing.assert_array_equal(moved.dirty[0].numpy(), rows)


def test_many_sources_and_fixations_in_one_call(backend, rng):
    sizes = [(200, 120), (64, 64), (31, 150)]
    frames = {i: noise(rng, size) for i, size in enumerate(sizes)}
    with Engine((200, 150), sources=3, backend=backend, tokens=10, threshold=0) as engine:
        for source, frame in frames.items():
            engine.submit(frame, source, pts=source / 10)
        batch = engine.tokens([(0.5, 0.5), (0.1, 0.9), (0.7, 0.2)])
        assert batch.pixels.shape == (3, 10, 3, 16, 16)
        assert batch.sources.tolist() == [0, 1, 2]
        assert batch.sizes.tolist() == [list(s) for s in sizes]
        assert batch.pts.tolist() == [0, 0.1, 0.2]
        levels = engine.spec.levels
        for view in range(3):
            assert_tokens(batch.pixels[view], expected(batch, frames, levels, view), anywhere(backend))
        again = engine.tokens([[(0.5, 0.5), (0.9, 0.9)]] * 2, sources=[1, 1], weights=[1, 3])
        assert again.pixels.shape[:2] == (2, 10)
        assert set(again.table["region"].ravel().tolist()) == {0, 1}
        for view in range(2):
            assert_tokens(again.pixels[view], expected(again, frames, levels, view), anywhere(backend))


def test_one_fixation_serves_every_source(backend, rng):
    with Engine(sources=2, backend=backend, tokens=10) as engine:
        engine.submit(noise(rng), 0)
        engine.submit(noise(rng), 1)
        assert engine.tokens((0.5, 0.5)).sources.tolist() == [0, 1]


def test_a_score_map_draws_tokens_to_itself(engine, rng):
    engine.submit(noise(rng))
    score = np.zeros((10, 10), np.float32)
    score[2, 7] = 1
    batch = engine.tokens(score=score)
    finest = batch.centres[0][batch.sides[0] == batch.sides[0].min()]
    centre = torch.tensor([0.75 * SIZE[0], 0.25 * SIZE[1]])
    assert (finest - centre).abs().max() < 60


@pytest.mark.parametrize("changed", ["fixations", "weights", "score"])
def test_callers_may_write_the_next_look_into_the_same_array(engine, rng, changed):
    """Looks are compared with those of the last call; an array kept by reference would always be equal."""
    engine.submit(noise(rng))
    look = {"fixations": np.array([[[0.1, 0.3], [0.9, 0.7]]]), "weights": np.array([1.0, 100.0])}
    if changed == "score":
        look["score"] = np.linspace(0, 1, 16, dtype=np.float32).reshape(4, 4) ** 8
    before = engine.tokens(**look).table
    look[changed][:] = look[changed][..., ::-1].copy()
    after = engine.tokens(**look).table
    assert (before != after).any()
    np.testing.assert_array_equal(after, engine.plan(**look))  # a plan is always made anew


@pytest.mark.parametrize("fixation", [(1e4, 1e4), (-1e7, 1e7), (1e15, -1e15), (1e39, -1e39), (-1e300, 1e300)], ids=str)
def test_tokens_far_outside_show_the_nearest_corner(backend, rng, fixation):
    frame = noise(rng)
    with Engine(backend=backend, layout="rings-20-288") as engine:
        engine.submit(frame)
        batch = engine.tokens(fixation)
    corner = frame[0 if fixation[1] < 0 else -1, 0 if fixation[0] < 0 else -1] / 255
    finest = batch.pixels[0, :4]  # the ring that reads level 0
    np.testing.assert_allclose(finest, np.broadcast_to(corner[:, None, None], finest.shape), atol=1e-6)


def test_out_and_copy(engine, rng):
    engine.submit(noise(rng))
    batch = engine.tokens()
    out = torch.empty_like(batch.pixels)
    assert engine.tokens(out=out).pixels is out
    assert torch.equal(out, batch.pixels)
    rows = torch.empty(1, 64, 3 * 16 * 16)  # patch-major: the same memory, seen as one row a token
    assert torch.equal(engine.tokens(out=rows).pixels, batch.pixels)
    assert torch.equal(rows, batch.flat())
    resident = engine.tokens(copy=False).pixels
    assert resident.data_ptr() == engine.tokens(copy=False).pixels.data_ptr()
    batch.pixels.zero_()  # a copy is the caller's own
    assert torch.equal(engine.tokens().pixels, out)
    with pytest.raises(ValueError, match=r"out is \(1, 2\) torch.float32; this call gives \(1, 64, 3, 16, 16\)"):
        engine.tokens(out=torch.empty(1, 2))


def test_a_refused_call_forgets_no_change(engine, rng):
    frame = noise(rng)
    engine.submit(frame)
    engine.tokens()
    engine.submit(255 - frame)
    with pytest.raises(ValueError, match="this call gives"):
        engine.tokens(out=torch.empty(1, 2))
    with pytest.raises(ValueError, match="is not finite"):
        engine.tokens((np.nan, 0))
    assert engine.tokens().dirty.all()
    with pytest.raises(ValueError, match="this call gives"):
        engine.tokens(out=torch.empty(1, 2))
    assert not engine.tokens().dirty.any()


@pytest.mark.parametrize("dtype", TOKEN_DTYPES, ids=str)
def test_element_types(backend, rng, dtype):
    frame = noise(rng)
    with Engine(backend=backend, tokens=40, dtype=dtype) as engine:
        engine.submit(frame)
        batch = engine.tokens((0.7, 0.1))
        assert batch.pixels.dtype == dtype
        assert_tokens(batch.pixels[0], expected(batch, {0: frame}, engine.spec.levels), anywhere(backend))


# ---------------------------------------------------------------- what goes in


def test_arrays_of_every_kind(backend, rng):
    frame = noise(rng)
    kinds = {
        "numpy": (frame, {}),
        "torch": (torch.from_numpy(frame), {}),
        "torch float with gradients": (torch.from_numpy(frame / 255).requires_grad_(), {}),
        "channels first": (torch.from_numpy(frame).permute(2, 0, 1), {"channels_first": True}),
        "bottom-left": (frame[::-1], {"origin": "bottom-left"}),
        "strided": (np.repeat(frame, 2, axis=1)[:, ::2], {}),
        "Frame": (texvlm.Frame(frame), {}),
    }

    class OnlyDlpack:
        def __init__(self, tensor):
            self.tensor = tensor

        def __dlpack__(self, **kwargs):
            return self.tensor.__dlpack__(**kwargs)

        def __dlpack_device__(self):
            return self.tensor.__dlpack_device__()

    kinds["dlpack"] = (OnlyDlpack(torch.from_numpy(frame)), {})
    for name, (data, options) in kinds.items():
        with Engine(backend=backend, tokens=4) as engine:
            engine.submit(data, **options)
            stored = engine.read_level(0)
            expected = frame if stored.dtype == np.uint8 else (frame / 255).astype(np.float32)
            np.testing.assert_array_equal(stored, expected, err_msg=name)


def test_gray_and_rgba_and_floats(backend, rng):
    for channels in (1, 4):
        frame = noise(rng, channels=channels)
        with Engine(backend=backend, tokens=4) as engine:
            engine.submit(frame[..., 0] if channels == 1 else frame)
            assert engine.tokens().pixels.shape[2] == channels
    halves = rng.random((30, 40, 3)).astype(np.float16)
    with Engine(backend=backend, tokens=4) as engine:
        engine.submit(halves)
        np.testing.assert_array_equal(engine.read_level(0), halves.astype(np.float32))


def test_a_frame_of_another_size_is_taken_whole(backend, rng, caplog):
    with Engine(backend=backend, sources=2, tokens=10, threshold=0) as engine:
        other = noise(rng, (100, 60))
        engine.submit(other, 1)
        engine.submit(noise(rng, (100, 60)), 0)
        smaller = noise(rng, (50, 60))
        report = engine.submit(smaller, 0)
        assert (report.resized, report.reallocated) == (True, False)
        assert report.tiles.all()
        larger = noise(rng, (400, 90))
        with caplog.at_level("INFO", logger="texvlm"):
            report = engine.submit(larger, 0)
        assert (report.resized, report.reallocated) == (True, True)
        assert "allocated anew: (100, 60) -> (400, 90)" in caplog.text
        assert engine.counters.reallocations == 1
        np.testing.assert_array_equal(engine.read_level(0, source=1), other)
        batch = engine.tokens((0.5, 0.5))
        for view, frame in enumerate((larger, other)):
            want = expected(batch, {0: larger, 1: other}, engine.spec.levels, view)
            assert_tokens(batch.pixels[view], want, anywhere(backend))
            assert frame.shape[1::-1] == tuple(batch.sizes[view])


@pytest.mark.parametrize("verb", ["create_texture", "upload"])
def test_a_larger_frame_that_finds_no_room_changes_nothing(backend, rng, monkeypatch, verb):
    frame, larger = noise(rng), noise(rng, (500, 300))
    with Engine(backend=backend, tokens=10, threshold=0) as engine:
        engine.submit(frame)
        before = engine.tokens()
        with monkeypatch.context() as patch:
            patch.setattr(engine._backend, verb, lambda *_: (_ for _ in ()).throw(MemoryError("no room")))
            with pytest.raises(MemoryError, match="no room"):
                engine.submit(larger)
        assert engine.spec.size == SIZE
        np.testing.assert_array_equal(engine.read_level(0), frame)
        after = engine.tokens()
        assert not after.dirty.any()
        assert torch.equal(before.pixels, after.pixels)
        assert engine.submit(larger).reallocated
        np.testing.assert_array_equal(engine.read_level(0), larger)


def test_all_tokens_are_sampled_again_from_a_new_texture_array(backend, rng):
    """A larger array has more levels, so a token of an untouched source may be filtered from other ones."""
    with Engine(
        backend=backend, sources=2, layout=make_layout("uniform", side=320, tokens=None), threshold=0
    ) as engine:
        engine.submit(noise(rng), 0)
        engine.submit(noise(rng, (40, 30)), 1)
        engine.tokens(sources=0)
        engine.submit(noise(rng, (2000, 30)), 1)
        batch = engine.tokens(sources=0)
    assert batch.dirty.all()


@pytest.mark.parametrize("verb", ["refresh", "upload", "build_mips"])
def test_an_upload_that_fails_is_forgotten(rng, monkeypatch, verb):
    frame, other = noise(rng), noise(rng)
    with Engine(backend="cpu", tokens=10, threshold=0) as engine:
        engine.submit(frame)

        def broken(*_):
            raise OSError("device lost")

        with monkeypatch.context() as patch:
            patch.setattr(engine._backend, "refresh", lambda *_: None)  # as in a backend without it
            patch.setattr(engine._backend, verb, broken)
            with pytest.raises(OSError, match="device lost"):
                engine.submit(other)
        with pytest.raises(ValueError, match="source 0 has no frame yet"):
            engine.tokens()
        assert engine.submit(other).tiles.all()
        batch = engine.tokens()
        assert_tokens(batch.pixels[0], expected(batch, {0: other}, engine.spec.levels), 1e-5)


def test_one_pass_gives_the_bits_and_counts_of_three(rng, monkeypatch):
    frames = [noise(rng) for _ in range(3)]
    for new, old in ((frames[1], frames[0]), (frames[2], frames[1])):
        new[: len(new) // 2] = old[: len(new) // 2]
    with Engine(backend="cpu", tokens=10) as at_once, Engine(backend="cpu", tokens=10) as in_steps:
        monkeypatch.setattr(in_steps._backend, "refresh", lambda *_: None)
        for frame in frames:
            np.testing.assert_array_equal(at_once.submit(frame).tiles, in_steps.submit(frame).tiles)
            assert at_once.counters == in_steps.counters
            for level in range(at_once.spec.levels):
                np.testing.assert_array_equal(at_once.read_level(level), in_steps.read_level(level))


def test_sampling_that_fails_leaves_no_half_written_tokens(rng, monkeypatch):
    frame = noise(rng)
    with Engine(backend="cpu", tokens=10) as engine:
        engine.submit(frame)
        engine.tokens((0.1, 0.1))
        with monkeypatch.context() as patch:
            patch.setattr(engine._backend, "sample", lambda *_: (_ for _ in ()).throw(OSError("device lost")))
            with pytest.raises(OSError, match="device lost"):
                engine.tokens((0.9, 0.9))
        batch = engine.tokens((0.9, 0.9))
        assert batch.dirty.all()
        assert_tokens(batch.pixels[0], expected(batch, {0: frame}, engine.spec.levels), 1e-5)
