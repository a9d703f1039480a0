"""`texvlm bench`: flags become settings, and the report goes where it was asked for."""

from __future__ import annotations

import json
import re
import sys
from dataclasses import replace
from pathlib import Path

import pytest

bench = pytest.importorskip("texvlm.bench", reason="the baselines need OpenCV, an extra: texvlm[bench]")


@pytest.fixture
def asked(monkeypatch) -> list[object]:
    """Settings of each run; the runs themselves are those of the benchmarks' own tests."""
    seen: list[object] = []

    def run(settings, *, progress=None):
        seen.append(settings)
        assert progress is not None
        progress("changes, cpu", 1, 2)
        machine = bench.run.probe_machine()
        return bench.BenchReport(
            machine=machine,
            commit="abc",
            command=settings.command,
            date="2026-11-21T10:00:00+00:00",
            threads=2,
            skipped={"gl": "no EGL"},
        )

    monkeypatch.setattr(bench, "run_benchmarks", run)
    return seen


def test_flags_become_settings(call, asked):
    outcome = call(
        "bench",
        "--quick",
        "--only",
        "changes, memory",
        "--backend",
        "cpu",
        "--tokens",
        "100",
        "--frames",
        "5",
        "--data",
        "clips",
        "--json",
    )
    assert outcome.json["skipped"] == {"gl": "no EGL"}
    (settings,) = asked
    assert settings.benches == ("changes", "memory")
    assert settings.backends == ("cpu",)
    assert (settings.tokens, settings.frames, settings.quick, settings.data) == (100, 5, True, Path("clips"))


def test_the_report_is_written_to_a_file_or_named_in_a_folder(call, asked):
    assert call("bench", "--out", "new/one.json").code == 0
    assert json.loads(Path("new/one.json").read_text())["commit"] == "abc"
    outcome = call("bench", "--out", "results")
    assert "gl is left out: no EGL" in outcome.out
    (path,) = Path("results").iterdir()
    assert path.name == "abc_2026-11-21T100000Z.json"
    assert str(path) in outcome.err


def test_a_place_that_cannot_be_written_is_told_before_the_run(call, asked):
    Path("taken").write_text("mine")
    assert call("bench", "--out", "taken/x.json").complaint.startswith("texvlm: taken")
    assert not asked


def test_unknown_names(call):
    assert "bench 'speed'; accepted: changes" in call("bench", "--only", "speed").complaint
    assert "needs a folder of clips" in call("bench", "--only", "footage").complaint


def test_one_bench_really_runs(call):
    outcome = call("bench", "--quick", "--only", "memory", "--backend", "cpu")
    assert outcome.code == 0
    assert "growth MiB" in outcome.out
    assert "the times above mean nothing" in outcome.out


# ---------------------------------------------------------------- on a GPU


@pytest.fixture
def on_the_host(monkeypatch):
    """The GPU benchmark on the emulated device."""
    from cuda_device import open_host_device

    from texvlm.bench import gpu
    from texvlm.bench.gpu.timers import HostTimer

    settings: list[gpu.GpuSettings] = []
    measure = gpu.run_gpu_bench

    def run(asked, *, progress=None):
        settings.append(asked)
        return measure(replace(gpu.QUICK, command=asked.command), opener=open_host_device, timer=HostTimer(1))

    monkeypatch.setattr(gpu, "run_gpu_bench", run)
    return settings


def test_the_gpu_benchmark_prints_and_writes_its_report(call, on_the_host):
    outcome = call("bench", "--gpu", "--tokens", "100", "--out", "one.json")
    assert outcome.code == 0
    assert on_the_host[0].tokens == 100
    assert on_the_host[0].size == (1920, 1080)
    for words in ("emulation on the host", "ingest, all tiles changed", "torch pyramid + grid_sample", "not explained"):
        assert words in outcome.out
    report = json.loads(Path("one.json").read_text())
    assert report["kind"] == "gpu"
    assert report["failed"] == {}


def test_a_gpu_benchmark_that_broke_is_written_and_fails(call, on_the_host, monkeypatch):
    def broken(device):
        raise RuntimeError("illegal address")

    for rows in ("ingest_rows", "frame_rows", "sample_rows", "rival_rows"):
        monkeypatch.setattr(f"texvlm.bench.gpu.run.{rows}", lambda *_, **__: iter(()))
    monkeypatch.setattr("texvlm.bench.gpu.run.ingest_rows", broken)
    outcome = call("bench", "--gpu", "--quick", "--out", "one.json")
    assert outcome.code == 2
    assert outcome.err.endswith("texvlm: ingest broke: RuntimeError: illegal address\n")
    assert json.loads(Path("one.json").read_text())["failed"] == {"ingest": "RuntimeError: illegal address"}


def test_gpu_rows_are_its_own(call):
    assert "--gpu measures rows of its own" in call("bench", "--gpu", "--only", "changes").complaint


def test_the_hint_is_a_command_of_this_interpreter_and_runs_nothing(call, asked, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["texvlm", "bench", "--gpu", "--nsys-hint", "--quick"])
    outcome = call("bench", "--gpu", "--nsys-hint", "--quick")
    assert outcome.code == 0
    assert not asked
    program = f"{sys.executable} -m texvlm bench --gpu --quick"
    timeline, kernels = [line for line in outcome.out.splitlines() if line.endswith(program)]
    assert timeline.startswith("nsys profile --trace=cuda,nvtx")
    assert kernels.startswith("ncu ")


def test_the_hint_names_every_kernel():
    from texvlm.cli.profilers import KERNELS

    folder = Path(__file__).parents[2] / "cuda"
    pattern = re.compile(KERNELS.removeprefix("regex:"))
    assert {path.stem for path in folder.glob("*.cu") if not pattern.search(path.stem)} == {"probe_interop"}


def test_the_hint_says_when_there_will_be_no_ranges(monkeypatch):
    from texvlm.cli import profilers

    monkeypatch.setattr(profilers, "is_available", lambda: False)
    assert "texvlm[profile]" in profilers.profiler_commands(["bench"])[0]
