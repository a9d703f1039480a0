"""Every bench runs in quick mode, and its counters say what its name promises. No time is asserted."""

from __future__ import annotations

import json

import pytest

from texvlm.bench import BENCHES, BenchReport, BenchSettings, run_benchmarks, tables
from texvlm.bench.baselines import PYRAMID_TOLERANCE
from texvlm.bench.report import OURS
from texvlm.bench.scenarios import DENSE, DENSE_AREA, INTEGRAL, INTEGRAL_CV, PYRAMID

SYNTHETIC = tuple(name for name in BENCHES if name != "footage")
BASELINES = {DENSE, DENSE_AREA, PYRAMID, INTEGRAL, INTEGRAL_CV}


@pytest.fixture(scope="module")
def report() -> BenchReport:
    return run_benchmarks(BenchSettings(benches=SYNTHETIC, backends=("cpu",), quick=True, command="quick"))


def cases(report, bench):
    return {(case.name, case.dtype, case.size): case for case in report.cases if case.bench == bench}


def test_a_report_says_where_and_what_it_ran(report):
    assert report.command == "quick"
    assert report.commit
    assert report.machine.cores >= 1
    assert {"numpy", "torch", "numba"} <= set(report.machine.packages)
    assert report.bandwidth_gb_s["frame"] > 0
    assert {case.bench for case in report.cases} == {"changes", "sizes", "fixation", "views"}
    assert BenchReport.model_validate_json(report.model_dump_json()) == report
    json.loads(report.model_dump_json())


def test_the_baseline_that_does_the_same_job_agrees(report):
    assert 0 < report.agreement_255["cpu"] <= PYRAMID_TOLERANCE


def test_counters_are_those_of_the_share_changed(report):
    found = cases(report, "changes")
    assert len(found) == 8
    for (name, _, (width, height)), case in found.items():
        tiles = -(-width // 16) * -(-height // 16)
        share = {"5 % scattered": 0.05, "5 % clustered": 0.05, "cold": 1.0, "unchanged": 0.0}[name]
        assert case.counters["tiles_compared"] == tiles
        assert case.counters["tiles_dirty"] == round(share * tiles)
        assert case.counters["frames"] == 1
        if name == "cold":
            assert case.counters["bytes_uploaded"] == width * height * 3
            assert case.tokens - 2 <= case.counters["tokens_sampled"] <= case.tokens  # up to two padding rows
        if name == "unchanged":
            assert case.counters["bytes_uploaded"] == 0
            assert case.counters["texels_rebuilt"] == 0
            assert case.counters["tokens_sampled"] == 0
            assert case.tokens - 2 <= case.counters["tokens_reused"] <= case.tokens


def test_baselines_are_timed_beside_texvlm(report):
    for case in cases(report, "changes").values():
        assert set(case.timings) == BASELINES | {OURS}
        assert set(case.ratios) == BASELINES
        assert set(case.predictions) == BASELINES | {OURS}
        assert set(case.stages_ms) == {"detect", "upload", "build_mips", "refresh", "plan", "sample"}
        for name, ratio in case.ratios.items():
            assert ratio == pytest.approx(case.timings[name].median_ms / case.ours.median_ms, rel=1e-2, abs=1e-3)
        for timing in case.timings.values():
            assert timing.p10_ms <= timing.median_ms <= timing.p90_ms
            assert timing.calls == 3


def test_a_new_fixation_uploads_nothing(report):
    found = [case for case in report.cases if case.bench == "fixation"]
    assert len(found) == 2
    for case in found:
        assert case.counters["bytes_uploaded"] == 0
        assert case.counters["frames"] == 0
        assert 0 < case.counters["tokens_sampled"] <= case.tokens


def test_views_share_the_frames_they_look_at(report):
    found = {case.name: case for case in report.cases if case.bench == "views"}
    for sources in (1, 4, 16):
        case = found[f"{sources} sources"]
        assert case.counters["frames"] == sources
        assert case.tokens == sources * found["1 sources"].tokens
    for views in (4, 16):
        assert found[f"{views} views"].tokens == views * found["1 sources"].tokens
        assert found[f"{views} views"].counters["frames"] == 1
    tiles = {found[f"{k} fixations"].counters["tiles_dirty"] for k in (1, 4, 16)}
    assert len(tiles) == 1


def test_an_unchanged_frame_moves_nothing(report):
    (run,) = report.memory
    assert run.unchanged_counters == {"bytes_uploaded": 0, "texels_rebuilt": 0, "tokens_sampled": 0}
    assert len(run.rss_mib) == run.frames // run.every
    assert min(run.rss_mib) > 0


def test_tables_have_a_row_for_every_result(report):
    found = {table.title: table for table in tables(report)}
    assert set(found) == set(SYNTHETIC)
    for bench in ("changes", "sizes", "fixation", "views"):
        assert len(found[bench].rows) == len([case for case in report.cases if case.bench == bench])
    for table in found.values():
        assert all(len(row) == len(table.columns) for row in table.rows)
        assert table.markdown().count("\n") == len(table.rows) + 1


def test_progress_is_told_to_the_end():
    told = []
    settings = BenchSettings(benches=("fixation",), backends=("cpu",), quick=True)
    run_benchmarks(settings, progress=lambda what, done, total: told.append((what, done, total)))
    assert [(done, total) for _, done, total in told] == [(0, 2), (1, 2), (2, 2)]


def test_a_bench_that_does_not_exist_is_refused():
    with pytest.raises(ValueError, match="bench 'speed'; accepted: changes"):
        run_benchmarks(BenchSettings(benches=("speed",), quick=True))
    with pytest.raises(ValueError, match="needs a folder of clips"):
        run_benchmarks(BenchSettings(benches=("footage",), quick=True))


@pytest.mark.data
def test_real_footage_stays_within_the_threshold(data_folder):
    settings = BenchSettings(benches=("footage",), backends=("cpu",), quick=True, data=data_folder)
    report = run_benchmarks(settings)
    assert len(report.clips) >= 2
    for clip in report.clips:
        assert clip.frames == 4
        assert clip.worst_error <= clip.threshold + 1e-3
        assert 0 <= clip.tiles_changed_share <= 1
        assert clip.tokens_resampled <= clip.tokens
        assert clip.uniform_tokens <= clip.tokens
    (table,) = tables(report)
    assert len(table.rows) == len(report.clips)


@pytest.mark.gl
def test_the_gl_backend_is_measured_too(gl_backend):
    report = run_benchmarks(BenchSettings(benches=("fixation",), backends=("gl",), quick=True))
    assert {case.backend for case in report.cases} == {"gl"}
    assert report.machine.gl == gl_backend.describe()["renderer"]
    assert report.agreement_255["gl"] <= PYRAMID_TOLERANCE
