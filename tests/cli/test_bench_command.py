"""`texvlm bench`: flags become settings, and the report goes where it was asked for."""

from __future__ import annotations

import json
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
