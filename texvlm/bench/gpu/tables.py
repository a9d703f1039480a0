"""A GPU report as rows of text."""

from __future__ import annotations

from texvlm.bench.gpu.report import GpuReport, GpuRow
from texvlm.bench.report import Table, Timing


def gpu_tables(report: GpuReport) -> list[Table]:
    """Targets, everything that was timed, why targets were missed, and what mapping costs."""
    found = [_targets(report), _times("texvlm", [row for row in report.rows if row.texvlm])]
    found.append(_times("baselines", [row for row in report.rows if not row.texvlm]))
    missed = [(row.name, row.why) for row in report.rows if row.missed]
    if missed:
        found.append(Table("missed", ("step", "why"), missed))
    if report.maps:
        found.append(_maps(report))
    return found


def where(report: GpuReport) -> str:
    """The line that says where the numbers come from."""
    gpu, machine = report.gpu, report.machine
    clocks = ", ".join(f"{name} {value}" for name, value in gpu.clocks.items())
    rates = report.bandwidth_gb_s
    return (
        f"{gpu.name} ({gpu.architecture}, {gpu.memory_gib:g} GiB), driver {gpu.driver or 'unknown'}, "
        f"CUDA {gpu.cuda_driver}, torch {machine.packages.get('torch', 'unknown')}"
        f"{f'; {clocks}' if clocks else ''}; {machine.cpu}, {machine.cores} cores; commit {report.commit}, "
        f"{report.date[:10]}; `{report.command}`. Frames: {report.pictures}, {report.size[0]} x {report.size[1]}. "
        f"A copy inside the device moves {rates['device']:g} GB/s, one from page-locked memory "
        f"{rates['host_to_device']:g} GB/s; a launch adds {report.launch_us:g} us to a graph."
    )


def _targets(report: GpuReport) -> Table:
    columns = ("step", "target us", "reached us", "ratio", "floor us", "published claim")
    rows = [
        (
            row.name,
            f"{row.target_us:g}",
            f"{row.reached_us:.2f} ({row.metric})",
            f"{row.ratio:.2f}" + (" missed" if row.missed else ""),
            f"{row.floor_us:.2f}",
            row.published or "",
        )
        for row in report.rows
        if row.target_us is not None
    ]
    return Table("targets", columns, rows)


def _times(title: str, rows: list[GpuRow]) -> Table:
    columns = ("step", "gpu us", "stream us", "wall us", "host us", "floor us", "MB", "launches", "work", "note")
    return Table(
        title,
        columns,
        [
            (
                row.name,
                _us(row.gpu),
                _us(row.stream),
                _us(row.wall),
                _us(row.queue),
                f"{row.floor_us:.2f}",
                f"{row.bytes_moved / 1e6:.2f}",
                str(len(row.launches)) if row.texvlm else "",
                ", ".join(f"{name} {count:g}" for name, count in row.counters.items()) if row.texvlm else "",
                row.note,
            )
            for row in rows
        ],
    )


def _maps(report: GpuReport) -> Table:
    columns = ("textures", "one call, us", "a call each, us", "one call after drawing, us")
    rows = [(str(row.textures), _us(row.one_call), _us(row.call_each), _us(row.drawn_between)) for row in report.maps]
    return Table("map and unmap", columns, rows)


def _us(timing: Timing | None) -> str:
    return "" if timing is None else f"{timing.median_ms * 1e3:.2f}"
