"""What the engine refuses, and its rules about threads and life."""

from __future__ import annotations

import json
import subprocess
import sys
import threading

import numpy as np
import pytest
import reference
import torch
from compare import anywhere, assert_tokens

from texvlm import BusyError, ClosedError, Engine
from texvlm.backends import open_backend
from texvlm.backends._tiles import tile_kernel
from texvlm.layouts import UniformGrid
from texvlm.pyramid import TextureSpec

SIZE = (320, 200)


def noise(rng: np.random.Generator, size: tuple[int, int] = SIZE, channels: int = 3) -> np.ndarray:
    return rng.integers(0, 256, (size[1], size[0], channels), dtype=np.uint8)


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"sources": 0}, ValueError, "sources is 0; at least 1"),
        ({"threshold": 8}, ValueError, r"threshold is 8; accepted: 0 \(bit-exact\) to 1"),
        ({"threshold": float("nan")}, ValueError, "threshold is nan"),
        ({"dtype": torch.int64}, TypeError, "dtype is torch.int64; accepted: torch.uint8"),
        ({"mean": (0.5,) * 3}, ValueError, "mean and std go together"),
        ({"mean": (0.5,) * 3, "std": (0, 1, 1)}, ValueError, "std is .* each must be above 0"),
        ({"mean": (0.5,) * 3, "std": (1,) * 3, "dtype": torch.uint8}, ValueError, "uint8 tokens cannot be normalised"),
        ({"mean": (np.nan,) * 3, "std": (1,) * 3}, ValueError, "mean is .* each must be a finite number"),
        ({"mean": (0.5,) * 3, "std": (1,)}, ValueError, "mean and std have 3 and 1 values"),
        ({"channels": 2}, ValueError, "channels is 2; accepted: 1"),
        ({"channels": 0}, ValueError, "channels is 0; accepted: 1"),
        ({"pixel_dtype": "int8"}, ValueError, "dtype is 'int8'; accepted: 'uint8', 'float32'"),
        ({"size": TextureSpec((64, 64)), "channels": 1}, ValueError, "a TextureSpec says channels"),
        ({"layout": UniformGrid(), "tokens": 4}, ValueError, "brings its own token count; leave out tokens=4"),
        ({"size": (0, 5)}, ValueError, "frame size 0 x 5"),
        ({"size": (64.5, 48)}, TypeError, r"frame size \(64.5, 48\); accepted: \(width, height\)"),
        ({"size": (64, 48, 3)}, TypeError, r"frame size \(64, 48, 3\); accepted: \(width, height\)"),
        ({"size": "64x48"}, TypeError, "frame size '64x48'; accepted: "),
        ({"size": 64}, TypeError, "frame size 64; accepted: "),
        ({"size": (20000, 5)}, ValueError, "frame size 20000 x 5: each side is 1..16384"),
        ({"backend": None}, TypeError, "backend is None; accepted: a name, such as 'auto', or an open Backend"),
        ({"device": "gpu"}, ValueError, "device 'gpu' cannot be used: .*; accepted: a device of this torch"),
        ({"backend": "metal"}, ValueError, "backend 'metal'; accepted: 'auto', 'cuda', 'gl', 'cpu'"),
        ({"layout": "spiral"}, ValueError, "spiral"),
        ({"tokens": 0}, ValueError, "0"),
        ({"size": TextureSpec((64, 64)), "sources": 2}, ValueError, "spec has 1 layers for 2 sources"),
    ],
    ids=str,
)
def test_arguments_that_are_refused(options, error, words):
    with pytest.raises(error, match=words):
        Engine(**{"backend": "cpu", **options})


def test_calls_that_are_refused(rng):
    with Engine(backend="cpu", sources=2, tokens=10, mean=(0.5,) * 3, std=(0.5,) * 3) as engine:
        with pytest.raises(ValueError, match="source 0 has no frame yet; submit one first"):
            engine.tokens()
        engine.submit(noise(rng), 0)
        with pytest.raises(ValueError, match="source 1 has no frame yet"):
            engine.tokens()
        cases = [
            (lambda: engine.submit(noise(rng), 2), "source 2; this engine has 0..1"),
            (lambda: engine.submit(noise(rng, channels=1)), "frame has 1 channels of uint8; this engine holds 3"),
            (lambda: engine.submit(np.zeros((3, 40, 40), np.uint8)), "looks channel-first; pass channels_first=True"),
            (lambda: engine.submit(np.zeros((0, 40, 3), np.uint8)), "has no pixels"),
            (lambda: engine.tokens((np.nan, 0.5), sources=0), r"fixation \(nan, 0.5\) is not finite"),
            (lambda: engine.tokens((0.5,), sources=0), r"fixations of shape \(1,\)"),
            (lambda: engine.tokens([(0.5, 0.5)] * 3), "3 fixations for 2 sources; say which with sources="),
            (lambda: engine.tokens(sources=5), "source 5; this engine has 0..1"),
            (lambda: engine.tokens(weights=[1, 2], sources=0), r"weights of shape \(2,\)"),
            (lambda: engine.read_level(99), "level 99; this engine has 0.."),
        ]
        for call, words in cases:
            with pytest.raises(ValueError, match=words):
                call()
        for wrong in ("frame.png", np.zeros((4, 4, 3), np.int32)):
            with pytest.raises(TypeError, match="accepted are"):
                engine.submit(wrong)
        assert engine.counters.frames == 1


def test_sources_are_whole_numbers(rng):
    with Engine(backend="cpu", sources=2, tokens=10) as engine:
        for call in (lambda: engine.submit(noise(rng), 0.5), lambda: engine.tokens(sources=[0.5])):
            with pytest.raises(TypeError, match="'float' object cannot be interpreted as an integer"):
                call()


def test_tokens_that_could_not_be_handed_out_are_dirty_again(backend, rng):
    frame = noise(rng)
    with Engine(backend=backend, tokens=10) as engine:
        engine.submit(frame)
        batch = engine.tokens()
        engine.submit(255 - frame)
        with pytest.raises(RuntimeError, match="leaf"):  # torch's own refusal to overwrite it
            engine.tokens(out=torch.empty_like(batch.pixels).requires_grad_())
        assert engine.tokens().dirty.all()
        assert not engine.tokens().dirty.any()


def test_tokens_that_find_no_room(rng):
    with Engine(backend="cpu", tokens=1, patch=1 << 20) as engine:
        engine.submit(noise(rng))
        with pytest.raises(MemoryError, match="no room for tokens of shape"):
            engine.tokens()


@pytest.mark.parametrize("layout", ["quadtree", "uniform", "rings", "crops", "sunflower", "logpolar"])
def test_fixations_as_far_away_as_numbers_go(layout, backend, rng):
    with Engine(backend=backend, layout=layout) as engine:
        engine.submit(noise(rng, (64, 48)))
        far = engine.tokens((1e308, -1e308))  # pytest fails on a warning of overflow
        assert np.isfinite(far.table["x"]).all()
        assert torch.isfinite(far.pixels).all()


def test_looks_may_be_tensors(rng):
    with Engine(backend="cpu", tokens=10) as engine:
        engine.submit(noise(rng))
        plain = engine.tokens((0.25, 0.5), weights=[1.0], score=np.eye(3)).pixels
        tensors = torch.tensor([0.25, 0.5]), torch.ones(1), torch.eye(3)
        assert torch.equal(engine.tokens(tensors[0], weights=tensors[1], score=tensors[2]).pixels, plain)
        with pytest.raises(ValueError, match="a score map holds finite numbers"):
            engine.tokens(score=np.full((2, 2), 1e300))  # beyond float32


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_fixations_may_be_tensors_of_any_floats_and_with_gradients(dtype, rng):
    with Engine(backend="cpu", tokens=10) as engine:
        engine.submit(noise(rng))
        plain = engine.tokens((0.25, 0.5)).pixels
        learnt = torch.tensor([0.25, 0.5], dtype=dtype, requires_grad=True)
        assert torch.equal(engine.tokens(learnt).pixels, plain)
        with pytest.raises(TypeError, match="a tensor on meta holds no values"):
            engine.tokens(torch.zeros(2, device="meta"))


def test_wrong_channel_count_of_mean(rng):
    with Engine(backend="cpu", tokens=10, mean=(0.5,), std=(0.5,)) as engine:
        engine.submit(noise(rng))
        with pytest.raises(ValueError, match="mean and std have 1 values for 3 channels"):
            engine.tokens()


def test_a_closed_engine_refuses_every_call(rng):
    engine = Engine(backend="cpu", tokens=10)
    engine.submit(noise(rng))
    engine.close()
    engine.close()
    for call in (lambda: engine.submit(noise(rng)), engine.tokens, engine.plan, engine.read_level):
        with pytest.raises(ClosedError, match="this engine is closed"):
            call()


def test_a_backend_given_by_the_caller_stays_open(rng):
    backend = open_backend("cpu").backend
    for _ in range(2):
        with Engine(backend=backend, tokens=10) as engine:
            engine.submit(noise(rng))
    backend.close()


# ---------------------------------------------------------------- threads


def test_two_calls_at_once_are_refused_and_one_after_the_other_are_not(rng, monkeypatch):
    engine = Engine(backend="cpu", tokens=10)
    engine.submit(noise(rng))
    inside, go_on = threading.Event(), threading.Event()
    plain = engine._backend.sample

    def slow(*arguments):
        inside.set()
        assert go_on.wait(10)
        plain(*arguments)

    monkeypatch.setattr(engine._backend, "sample", slow)
    results = []
    worker = threading.Thread(target=lambda: results.append(engine.tokens()))
    worker.start()
    assert inside.wait(10)
    with pytest.raises(BusyError, match="submit was called while another call is under way"):
        engine.submit(noise(rng))
    go_on.set()
    worker.join()
    assert len(results) == 1
    engine.submit(noise(rng))  # from this thread again
    engine.close()


def test_engines_on_many_threads_do_not_disturb_each_other(backend, rng):
    frames = [noise(rng) for _ in range(4)]
    failures: list[BaseException] = []

    def work(frame: np.ndarray) -> None:
        try:
            with Engine(backend=backend, tokens=40, threshold=0) as engine:
                for step in range(8):
                    shifted = np.roll(frame, step * 3, axis=1)
                    engine.submit(shifted)
                    batch = engine.tokens((step / 8, 0.5))
                    want = reference.tokens({0: shifted}, batch.table[0], 16, engine.spec.levels)
                    assert_tokens(batch.pixels[0], want, anywhere(backend))
        except BaseException as failure:
            failures.append(failure)

    threads = [threading.Thread(target=work, args=(frame,)) for frame in frames]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures, failures[0]


def test_reports_are_plain_data(backend, rng):
    engine = Engine(backend=backend, tokens=64)
    report = engine.submit(noise(rng))
    assert set(report.times_ms) == {"detect", "upload", "build_mips", "refresh"}
    engine.tokens()
    said = json.loads(json.dumps(engine.describe()))
    assert said["backend"] == engine.backend_name
    assert said["texture"]["size"] == list(SIZE)
    assert said["counters"] == engine.counters.as_dict()
    assert "TokenBatch(pixels=(1, 64, 3, 16, 16)" in repr(engine.tokens())
    engine.close()


def test_a_forked_child_is_refused_and_its_parent_goes_on():
    code = """
import os, warnings
import numpy as np
from texvlm import ClosedError, Engine

warnings.simplefilter("ignore")  # newer Pythons warn about the fork itself
engine = Engine((64, 48), backend="cpu", tokens=4)
child = os.fork()
if child == 0:
    try:
        engine.submit(np.zeros((48, 64, 3), np.uint8))
    except ClosedError as refusal:
        engine.close()
        os._exit(7 if "opened before a fork" in str(refusal) else 8)
    os._exit(9)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
assert engine.submit(np.zeros((48, 64, 3), np.uint8)).tiles.all()
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


def test_a_read_only_frame_needs_no_kernel_of_its_own(rng):
    frame = noise(rng)
    frozen = np.frombuffer((255 - frame).tobytes(), np.uint8).reshape(frame.shape)
    with Engine(backend="cpu", tokens=10) as engine:
        engine.submit(frame)
        kernel = tile_kernel(3, True)
        compiled = len(kernel.signatures)
        assert engine.submit(frozen).tiles.all()
        assert len(kernel.signatures) == compiled


def test_reports_count_what_the_backend_counts(backend, rng):
    frame = noise(rng)
    with Engine(backend=backend, tokens=40, threshold=0) as engine:
        for change in (np.s_[:, :], np.s_[3:5, 40:90], np.s_[-1:, -1:], np.s_[0:0, 0:0]):
            frame = frame.copy()
            frame[change] = 255 - frame[change]
            before = engine.counters.as_dict()
            report = engine.submit(frame)
            after = engine.counters.as_dict()
            for name in ("tiles_dirty", "bytes_uploaded", "texels_rebuilt"):
                assert getattr(report, name) == after[name] - before[name]


def test_stages_are_timed_on_the_device_when_asked(backend, rng):
    frame = noise(rng)
    with Engine(backend=backend, tokens=40, threshold=0) as engine:
        engine.submit(frame)
        engine.tokens()
        assert engine.describe()["device_times_ms"] == {}  # nobody asked
    with Engine(backend=backend, tokens=40, threshold=0, timing=True) as engine:
        engine.submit(frame)
        engine.tokens()
        engine.read_level(0)  # waits for the device
        times = engine.describe()["device_times_ms"]
    if backend.name == "cpu":
        assert times == {}
    else:
        assert "sample" in times
        assert set(times) & {"refresh", "upload"}
        assert all(value >= 0 for value in times.values())


def test_only_what_was_attached_can_be_detached():
    with Engine(backend="cpu") as engine, pytest.raises(TypeError, match="None is no attached texture; give what"):
        engine.detach_gl_texture(None)
