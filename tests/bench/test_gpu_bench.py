"""The GPU benchmark runs on the emulated device: what it counts is right, whatever its times are.

With a GPU the same program runs on it, tiny, and its times come from events.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("cv2", reason="the baselines need OpenCV, an extra: texvlm[bench]")

from cuda_device import open_host_device
from required import unavailable

from texvlm.bench.baselines import PYRAMID_TOLERANCE
from texvlm.bench.gpu import QUICK, GpuReport, gpu_tables, run_gpu_bench, steps, where
from texvlm.bench.gpu.launches import LaunchLog, resident_warps
from texvlm.bench.gpu.pictures import all_changed, real_pictures, some_changed
from texvlm.bench.gpu.report import GpuRow, Launched
from texvlm.bench.gpu.timers import HostTimer
from texvlm.bench.gpu.why import explain
from texvlm.bench.report import Timing
from texvlm.errors import BackendUnavailable, DeviceCallError
from texvlm.regions import TILE

WIDTH, HEIGHT = QUICK.size
TILES = (WIDTH // TILE) * (HEIGHT // TILE)


def host_devices():
    """An opener of emulated devices, and those that it opened."""
    opened = []

    def opener():
        try:
            driver, compiler = open_host_device()
        except BackendUnavailable as refusal:
            unavailable("cuda-host", str(refusal))
        opened.append(driver)
        return driver, compiler

    return opener, opened


@pytest.fixture(scope="module")
def report():
    opener, opened = host_devices()
    told = []
    report = run_gpu_bench(
        replace(QUICK, command="quick"),
        opener=opener,
        timer=HostTimer(rounds=1),
        progress=lambda what, done, total: told.append((what, done)),
    )
    for driver in opened:
        assert not driver.leaks()
        assert not driver.violations
    assert told == [(row.name, index + 1) for index, row in enumerate(report.rows)]
    return report


def row_of(report, start):
    return next(row for row in report.rows if row.name.startswith(start))


def test_nothing_broke_and_every_target_has_its_row(report):
    assert report.failed == {}
    assert report.gpu.emulated
    assert report.quick
    targets = {row.name: row.target_us for row in report.rows if row.target_us is not None}
    assert targets == {
        "ingest, all tiles changed": 12,
        "ingest, 5 % changed": 8,
        "sample 64 tokens of 1 source": 6,
        "sample 64 tokens of 3 sources": 25,
        "device frame to tokens, graph replay": 25,
        "host frame to tokens, page-locked memory": 200,
    }
    assert all(row.published for row in report.rows if row.target_us is not None)
    assert GpuReport.model_validate_json(report.model_dump_json()) == report


def test_counters_prove_what_the_names_of_rows_say(report):
    assert row_of(report, "ingest, all").counters["tiles_dirty"] == TILES
    assert row_of(report, "ingest, all").counters["bytes_uploaded"] == WIDTH * HEIGHT * 3
    assert row_of(report, "ingest, 5 %").counters["tiles_dirty"] == 2 * round(0.05 * TILES / 2)
    assert row_of(report, "ingest, nothing").counters == {"tiles_compared": TILES}
    assert row_of(report, "ingest NV12").counters["tiles_dirty"] == TILES
    assert 0 < row_of(report, "consecutive").counters["tiles_dirty"] < TILES
    assert row_of(report, "sample 64 tokens of 1").counters == {"tokens_sampled": 63}  # one row is padding
    assert row_of(report, "sample 64 tokens of 3").counters == {"tokens_sampled": 3 * 63}
    frame = {"frames": 1, "tiles_dirty": TILES, "tokens_sampled": 63}
    for row in report.rows:
        if "frame to tokens" in row.name and "caller" not in row.name:  # whose replays the host does not count
            assert {name: row.counters[name] for name in frame} == frame, row.name


def test_launches_are_those_of_one_call(report):
    kernels = {row.name: [one.kernel for one in row.launches] for row in report.rows}
    assert kernels["ingest, all tiles changed"] == ["refresh", "build_tail"]
    assert kernels["sample 64 tokens of 3 sources"] == ["sample"]
    assert kernels["device frame to tokens, graph replay"] == ["refresh", "build_tail", "plan_quadtree", "sample"]
    assert kernels["torch pyramid + grid_sample"] == []


def test_a_floor_is_bytes_over_the_bandwidth_of_the_run(report):
    for row in report.rows:
        host = row.name.startswith("host frame")
        rate = report.bandwidth_gb_s["host_to_device" if host else "device"]
        assert row.floor_us == pytest.approx(row.bytes_moved / rate / 1e3, rel=0.01, abs=1e-3)
    texels = row_of(report, "ingest, all").counters["texels_rebuilt"]
    assert row_of(report, "ingest, all").bytes_moved == WIDTH * HEIGHT * (3 + 4 + 4) + 4 * round(texels)
    assert row_of(report, "host frame").bytes_moved == WIDTH * HEIGHT * 3


def test_the_baseline_with_the_same_tokens_agrees(report):
    assert 0 < report.agreement_255["torch pyramid"] <= PYRAMID_TOLERANCE


@pytest.mark.gl
def test_mapping_is_measured_for_one_eight_and_sixty_four_textures(report, gl_backend):
    assert [row.textures for row in report.maps] == [1, 8, 64]


def test_tables_show_every_row_and_its_place(report):
    tables = {table.title: table for table in gpu_tables(report)}
    assert len(tables["targets"].rows) == 6
    assert len(tables["texvlm"].rows) + len(tables["baselines"].rows) == len(report.rows)
    for table in tables.values():
        assert all(len(row) == len(table.columns) for row in table.rows)
        assert table.markdown()
    assert "emulation" in where(report)
    missed = [row for row in report.rows if row.missed]
    assert [name for name, _ in tables["missed"].rows] == [row.name for row in missed]  # far too slow on the host
    assert all("not explained" in row.why for row in missed)


def test_what_breaks_is_reported_and_the_rest_measured(monkeypatch):
    def broken(device):
        yield device.row("fine", [lambda: None], lambda _: 1.0)
        raise DeviceCallError("cuLaunchKernel: 700")

    monkeypatch.setattr("texvlm.bench.gpu.run.frame_rows", broken)
    monkeypatch.setattr("texvlm.bench.gpu.run.map_rows", lambda *_, **__: [])
    opener, opened = host_devices()
    report = run_gpu_bench(replace(QUICK, sources=1), opener=opener, timer=HostTimer(rounds=1))
    assert report.failed == {"frame to tokens": "DeviceCallError: cuLaunchKernel: 700"}
    assert row_of(report, "fine")
    assert row_of(report, "torch pyramid")
    assert not any(driver.leaks() for driver in opened)


# ---------------------------------------------------------------- parts


def differing(before, after):
    changed = (before != after).any(axis=2)
    return int(changed.reshape(HEIGHT // TILE, TILE, WIDTH // TILE, TILE).any(axis=(1, 3)).sum())


def test_rings_change_by_what_they_say_all_the_way_round():
    pictures, name = real_pictures(QUICK.size, 4, None)
    assert name == "the procedural scene"
    ring = all_changed(pictures)
    assert [differing(ring[k - 1], ring[k]) for k in range(4)] == [TILES] * 4
    ring, tiles = some_changed(pictures[0], 4, 0.05)
    assert tiles == 12
    assert [differing(ring[k - 1], ring[k]) for k in range(4)] == [tiles] * 4
    with pytest.raises(ValueError, match="ask for fewer frames"):
        some_changed(pictures[0], 100, 0.5)


@pytest.mark.data
def test_a_clip_of_the_size_takes_the_scenes_place(data_folder):
    pictures, name = real_pictures((640, 360), 4, data_folder)
    assert name.endswith((".mp4", ".webm", ".mov", ".mkv"))
    assert [picture.shape for picture in pictures] == [(360, 640, 3)] * 4


def test_resident_warps_are_those_of_the_occupancy_tables():
    assert resident_warps(32, 256, 64) == 64
    assert resident_warps(64, 256, 64) == 32
    assert resident_warps(40, 128, 64) == 48
    assert resident_warps(255, 1024, 64) == 0  # cannot be launched
    assert resident_warps(37, 96, 48) == 48


def test_a_miss_is_explained_by_counts_alone():
    timing = Timing(median_ms=0.02, p10_ms=0.02, p90_ms=0.02, calls=1)
    launched = Launched(
        kernel="refresh",
        grid=(8, 1, 1),
        block=(128, 1, 1),
        registers=40,
        spill_bytes=0,
        warps=48,
        most_warps=64,
        waves=0.5,
    )
    row = GpuRow(
        name="x",
        wall=timing,
        bytes_moved=8_000_000,
        floor_us=2.0,
        launches=[launched, launched],
        reached_us=20.0,
        target_us=10.0,
        ratio=2.0,
    )
    assert explain(row, 4e12, 1.5) == (
        "2.00 times the target; 8.00 MB at 4000 GB/s are 2.00 us; 2 launches of 1.50 us each are 3.00 us; "
        "refresh: 40 registers, 48 of 64 warps a multiprocessor, 0.5 waves; 15.00 us are not explained by these"
    )
    assert explain(row.model_copy(update={"ratio": 0.9}), 4e12, 1.5) == ""


def test_registers_come_from_the_compilers_report():
    pytest.importorskip("cuda.bindings", reason="an extra: texvlm[cuda]")
    from texvlm.backends.cuda.compiler import NvrtcCompiler
    from texvlm.backends.cuda.ingest_kernels import variants

    opener, _ = host_devices()
    driver, _ = opener()
    driver.info = replace(driver.info, architecture="sm_90", multiprocessors=132)
    log = LaunchLog(driver, NvrtcCompiler("sm_90"))
    file, definitions, record = next(variant for variant in variants() if variant[0] == "build_tail.cu")
    log.kernels[5] = (file, (*definitions, ("TEXVLM_ARGUMENT_BYTES", record.itemsize)))
    log.seen.append((5, (264, 1, 1), (256, 1, 1)))
    launched = log._describe(*log.seen[0])
    assert launched.kernel == "build_tail"
    assert 8 <= launched.registers <= 255
    assert launched.most_warps == 64
    assert 8 <= launched.warps <= 64
    assert launched.waves == pytest.approx(264 / (132 * launched.warps // 8), abs=0.01)


@pytest.mark.cuda
def test_on_a_gpu_times_come_from_its_events():
    from texvlm.bench.gpu.run import open_gpu

    try:
        driver, _ = open_gpu()
    except BackendUnavailable as refusal:
        unavailable("cuda", str(refusal))
    driver.close()
    report = run_gpu_bench(QUICK)
    assert report.failed == {}
    assert not report.gpu.emulated
    assert not [row.note for row in report.rows if "not captured" in row.note]
    assert report.launch_us > 0
    for row in report.rows:
        assert row.stream is not None
        assert row.stream.median_ms > 0
        if row.name.startswith(("ingest", "sample")):
            assert row.gpu is not None
            assert row.launches
            assert row.launches[0].registers
    assert report.agreement_255["torch pyramid"] <= PYRAMID_TOLERANCE


def test_the_rings_of_a_full_run_are_larger_than_caches():
    from texvlm.bench.gpu import GpuSettings

    settings = GpuSettings()
    assert settings.ring % 2 == 0
    assert settings.ring * np.prod(settings.size) * 3 > 80e6  # the largest second-level caches hold 60 MB
    assert steps.SHARE / 2 * settings.ring < 1
