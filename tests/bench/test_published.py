"""What the READMEs show is what the result files hold."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

import pytest

from texvlm.bench import BenchReport
from texvlm.bench.baselines import PYRAMID_TOLERANCE
from texvlm.bench.gpu.report import Gpu, GpuReport, GpuRow
from texvlm.bench.machine import Machine
from texvlm.bench.report import Timing

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


def gpu_report(name, date, reached_us):
    timing = Timing(median_ms=reached_us / 1e3, p10_ms=1, p90_ms=1, calls=1)
    row = GpuRow(
        name="a step",
        wall=timing,
        bytes_moved=1,
        floor_us=1.5,
        target_us=8,
        reached_us=reached_us,
        ratio=reached_us / 8,
        metric="wall",
        why="counts",
    )
    return GpuReport(
        machine=Machine(cpu="a cpu", cores=1, ram_gib=1, os="os", python="3", packages={"torch": "2"}),
        gpu=Gpu(name=name, architecture="sm_90", memory_gib=80, multiprocessors=132, l2_mib=50, cuda_driver="13.0"),
        commit="abc",
        command="texvlm bench --gpu",
        date=date,
        bandwidth_gb_s={"device": 1, "host_to_device": 1},
        rows=[row],
    )


def test_the_newest_result_of_each_gpu_is_shown(tables, monkeypatch, tmp_path):
    monkeypatch.setattr(tables, "RESULTS", tmp_path)
    assert tables.load_gpus() == {}
    assert "Not measured yet on a GPU" in tables.gpu_section({})
    assert "not measured yet on a GPU" in tables.gpu_line({})
    for name, day, reached in (("h100", 1, 30.0), ("h100", 2, 10.0), ("h200", 1, 7.0)):
        report = gpu_report(name, f"2026-12-0{day}T10:00:00+00:00", reached)
        (tmp_path / f"{name}-2026-12-0{day}.json").write_text(report.model_dump_json())
    found = tables.load_gpus()
    assert sorted(found) == ["h100-2026-12-02.json", "h200-2026-12-01.json"]
    text = tables.gpu_section(found)
    assert "| a step | 8 | 10.00 (wall) | 1.25 missed | 1.50 |" in text
    assert "| a step | 8 | 7.00 (wall) | 0.88 | 1.50 |" in text
    assert "30.00" not in text
    assert "- `cuda` on h200: a step 7.0 us (target 8, floor 1.5)." in tables.gpu_line(found)


def test_a_committed_gpu_result_is_whole_and_comes_from_a_gpu(tables):
    for name, report in tables.load_gpus().items():
        assert not report.failed, name
        assert not report.gpu.emulated, name
        assert not report.quick, name
        assert max(report.agreement_255.values()) <= PYRAMID_TOLERANCE, name
        assert (FOLDER / "results" / name).with_suffix(".log").exists()
