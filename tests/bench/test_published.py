"""What the READMEs show is what the result files hold."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

import pytest

from texvlm.bench import BenchReport
from texvlm.bench.baselines import PYRAMID_TOLERANCE

FOLDER = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def tables():
    sys.path.insert(0, str(FOLDER))  # the script's own folder, as when it is run
    spec = importlib.util.spec_from_file_location("benchmark_tables", FOLDER / "tables.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    sys.path.remove(str(FOLDER))
    return module


def test_the_readmes_hold_the_committed_results(tables):
    for readme in tables.READMES:
        text = readme.read_text(encoding="utf-8")
        assert tables.SECTION.search(text)
        assert tables.filled(text) == text, f"{readme}: run python benchmarks/tables.py"


@pytest.mark.parametrize("part", ["synthetic", "memory", "footage"])
def test_a_result_file_says_where_it_comes_from(tables, part):
    report = tables.load(part)
    assert isinstance(report, BenchReport)
    assert report.machine.cpu
    assert report.commit
    assert report.command.startswith("python benchmarks/measure.py")
    assert not report.skipped
    assert report.agreement_255
    assert max(report.agreement_255.values()) <= PYRAMID_TOLERANCE


def test_every_clip_stayed_within_the_threshold(tables):
    report = tables.load("footage")
    assert report.clips
    for clip in report.clips:
        assert clip.worst_error <= clip.threshold + 1e-3, clip.clip


def test_memory_stayed_flat_and_unchanged_frames_moved_nothing(tables):
    for run in tables.load("memory").memory:
        assert run.frames >= 10_000
        assert abs(run.growth_mib) < 1
        assert not any(run.unchanged_counters.values())


def test_tokens_at_model_size_equal_the_processors():
    parity = json.loads((FOLDER / "results" / "parity.json").read_text(encoding="utf-8"))
    assert parity["at_model_size"]
    for row in parity["at_model_size"]:
        assert row["same_byte"] == 1
        assert row["largest_difference"] <= 1e-6
