"""NVTX ranges and stage times: what a profiler sees of one frame, and nothing where there is no profiler."""

from __future__ import annotations

from contextlib import nullcontext
from types import SimpleNamespace

import numpy as np
import pytest

from texvlm import Engine, profiling


@pytest.fixture
def ranges(monkeypatch) -> list[dict[str, object]]:
    """Every range that is opened, as nvtx.annotate gets it."""
    seen: list[dict[str, object]] = []

    def annotate(**given: object) -> nullcontext[None]:
        seen.append(given)
        return nullcontext()

    monkeypatch.setattr(profiling, "_nvtx", lambda: SimpleNamespace(annotate=annotate))
    return seen


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
    assert {given["domain"] for given in ranges} == {"texvlm"}
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


def test_without_nvtx_times_are_kept_all_the_same(monkeypatch):
    monkeypatch.setattr(profiling, "_nvtx", lambda: None)
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
