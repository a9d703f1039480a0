"""NVTX ranges and stage times: what a profiler sees of one frame, and nothing where there is no profiler."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
from cuda_device import open_host_device

from texvlm import Engine, profiling
from texvlm.backends.cuda.backend import CudaBackend
from texvlm.backends.cuda.gl_backend import CudaGlBackend
from texvlm.backends.cuda.gl_context import open_headless_for


class Listener:
    """Stands for nvtx with a profiler attached: every range that is opened, and how deep it lies."""

    def __init__(self) -> None:
        self.seen: list[dict[str, object]] = []
        self.depth = 0
        self.domains: list[str] = []

    def get_domain(self, name: str) -> Listener:
        self.domains.append(name)
        return self

    def get_event_attributes(self, **given: object) -> dict[str, object]:
        return given

    def push_range(self, attributes: dict[str, object]) -> None:
        self.depth += 1
        self.seen.append(attributes)

    def pop_range(self) -> None:
        self.depth -= 1


@pytest.fixture
def listen(monkeypatch) -> Iterator[Callable[[object], None]]:
    """Put something in the place of the module nvtx."""

    def replace(module: object) -> None:
        monkeypatch.setattr(profiling, "_nvtx", lambda: module)
        profiling._domain.cache_clear()

    yield replace
    monkeypatch.undo()
    profiling._domain.cache_clear()


@pytest.fixture
def ranges(listen) -> Iterator[list[dict[str, object]]]:
    """Every range that is opened while a profiler is attached."""
    listener = Listener()
    listen(listener)
    yield listener.seen
    assert listener.depth == 0
    assert listener.domains == ["texvlm"]


def one_frame(monkeypatch, *, at_once: bool) -> dict[str, float]:
    with Engine(backend="cpu", tokens=10, threshold=0) as engine:
        engine.submit(np.zeros((64, 64, 3), np.uint8))
        if not at_once:
            monkeypatch.setattr(engine._backend, "refresh", lambda *_: None)  # as in a backend without it
        engine.submit(np.ones((64, 64, 3), np.uint8))
        engine.tokens()
        return engine.times_ms


def test_a_profiler_sees_each_stage_in_its_category(ranges, monkeypatch):
    assert profiling.is_available()
    one_frame(monkeypatch, at_once=False)
    found = {(given["message"], given["category"]) for given in ranges}
    assert found == {
        ("refresh", "upload"),
        ("detect", "upload"),
        ("upload", "upload"),
        ("build_mips", "mip"),
        ("plan", "sample"),
        ("sample", "sample"),
    }
    assert ranges[-1]["payload"] == 10  # tokens asked for
    documented = str(profiling.__doc__)
    assert all(f"`{category}`" in documented for _, category in found)


def test_a_profiler_sees_launches_copies_and_replays_of_the_cuda_backend(ranges):
    driver, compiler = open_host_device()
    backend = CudaBackend(driver, compiler)
    with Engine(backend=backend, layout="rings", threshold=0) as engine:
        engine.submit(np.zeros((64, 64, 3), np.uint8))
        gaze = torch.full((1, 1, 2), 0.5)
        batch = engine.tokens(gaze)
        frame = torch.zeros((64, 64, 3), dtype=torch.uint8)
        with engine.capture(frame, gaze) as graph:
            ranges.clear()
            engine.submit(np.ones((64, 64, 3), np.uint8))
            engine.tokens(gaze)
            graph.replay()
    backend.close()
    found = [(given["message"], given["category"], given["payload"]) for given in ranges]
    tokens = batch.pixels.shape[1]
    assert found == [
        ("refresh", "upload", None),
        ("copy to device", "upload", 64 * 64 * 3),
        ("launch refresh", "upload", 4),
        ("launch build_tail", "mip", 1),
        ("plan", "sample", None),
        ("launch place_tokens", "sample", found[5][2]),
        ("sample", "sample", tokens),
        ("launch sample", "sample", tokens),
        ("replay", "sample", 1),
    ]


@pytest.mark.gl
def test_a_profiler_sees_textures_mapped_and_unmapped(ranges, gl_backend):
    driver, compiler = open_host_device()
    backend = CudaGlBackend(driver, compiler, open_headless_for(driver), mapping="epochs")
    ranges.clear()  # those of the probe
    with Engine(backend=backend, tokens=10, threshold=0) as engine:
        for value in (0, 1):
            engine.submit(np.full((64, 64, 3), value, np.uint8))
            engine.tokens()
    backend.close()
    found = [given["message"] for given in ranges if given["category"] == "map"]
    assert found == ["map", "unmap", "map", "unmap"]
    assert all(given["payload"] == 1 for given in ranges if given["category"] == "map")


def test_without_nvtx_times_are_kept_all_the_same(listen, monkeypatch):
    listen(None)
    assert not profiling.is_available()
    times = one_frame(monkeypatch, at_once=True)
    assert {stage for stage, spent in times.items() if spent > 0} == {
        "upload",
        "build_mips",
        "refresh",
        "plan",
        "sample",
    }


def test_a_stage_that_runs_twice_counts_twice_until_the_next_round():
    times = profiling.StageTimes("plan", "sample")
    for _ in range(2):
        with times.stage("plan", "sample"):
            pass
    assert times.last_ms["plan"] == times.total_ms["plan"] > 0
    times.restart()
    assert times.last_ms == {"plan": 0.0, "sample": 0.0}
    assert times.total_ms["plan"] > 0


def test_without_a_profiler_ranges_cost_nothing(listen):
    listener = Listener()
    listener.get_event_attributes = lambda **_: None  # as nvtx's stand-in for a domain that nobody listens to
    listen(listener)
    assert profiling.profile_range("refresh", "upload", 3) is profiling.profile_range("sample", "sample")
    with profiling.profile_range("refresh", "upload"):
        pass
    assert not listener.seen


def test_a_range_ends_when_its_work_fails(ranges):
    with pytest.raises(ZeroDivisionError), profiling.profile_range("refresh", "upload", 5):
        raise ZeroDivisionError
    assert ranges == [{"message": "refresh", "category": "upload", "payload": 5}]


def test_the_stand_in_of_the_real_module_is_recognised():
    nvtx = pytest.importorskip("nvtx", reason="an extra: texvlm[profile]")
    attached = type(nvtx.get_domain("texvlm")).__name__ == "Domain"
    profiling._domain.cache_clear()
    assert (profiling._domain() is not None) == attached
