"""`texvlm bench`: measure this machine; texvlm and what one would write without it, in turns."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from texvlm.cli.console import note, print_json, print_line, print_table, steps
from texvlm.cli.options import INPUT, OUTPUT, SAMPLING, ConfigOption, JsonOption
from texvlm.errors import DeviceCallError

if TYPE_CHECKING:
    from texvlm.bench import BenchReport
    from texvlm.bench.gpu import GpuReport


def bench(
    only: Annotated[
        str | None,
        typer.Option(
            "--only",
            metavar="NAME,...",
            help="changes, sizes, fixation, views, memory, footage; without it all that can run.",
            rich_help_panel=INPUT,
        ),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option("--data", metavar="DIR", help="Clips for the footage bench.", rich_help_panel=INPUT),
    ] = None,
    frames: Annotated[
        int | None,
        typer.Option("--frames", metavar="N", min=1, help="Stop after N frames of a clip.", rich_help_panel=INPUT),
    ] = None,
    backend: Annotated[
        str, typer.Option("--backend", metavar="NAME,...", help="Backends to measure.", rich_help_panel=SAMPLING)
    ] = "cpu,gl",
    tokens: Annotated[
        int, typer.Option("--tokens", metavar="N", min=4, help="Budget of the quadtree.", rich_help_panel=SAMPLING)
    ] = 268,
    quick: Annotated[
        bool,
        typer.Option("--quick", help="Tiny frames, few rounds: only to see that all runs.", rich_help_panel=SAMPLING),
    ] = False,
    gpu: Annotated[
        bool,
        typer.Option(
            "--gpu",
            help="Measure the cuda backend on torch's GPU: targets, floors, baselines in torch.",
            rich_help_panel=SAMPLING,
        ),
    ] = False,
    nsys_hint: Annotated[
        bool,
        typer.Option(
            "--nsys-hint",
            help="Print the commands that show this run to NVIDIA's profilers, and run nothing.",
            rich_help_panel=OUTPUT,
        ),
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="FILE|DIR",
            help="Write the report as JSON; in a folder it is named by commit and date.",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    config: ConfigOption = None,
    json: JsonOption = False,
) -> None:
    """Measure texvlm against dense patches, a torch pyramid and an integral image, on the same frames.

    Takes minutes; --quick takes seconds and its times mean nothing.
    """
    if nsys_hint:
        from texvlm.cli.profilers import profiler_commands

        for line in profiler_commands([word for word in sys.argv[1:] if word != "--nsys-hint"]):
            print_line(line)
        return
    try:
        from texvlm.bench import BenchSettings, run_benchmarks, tables
    except ModuleNotFoundError as missing:
        raise ValueError(
            f'the baselines need {missing.name}, which is not installed: pip install "texvlm[bench]"'
        ) from None
    if gpu:
        if only is not None or frames is not None:
            raise ValueError("--gpu measures rows of its own; leave out --only and --frames")
        _bench_gpu(data, tokens, out, quick=quick, json=json)
        return

    settings = BenchSettings(
        benches=_names(only),
        backends=_names(backend),
        tokens=tokens,
        quick=quick,
        data=data,
        frames=frames,
        command=" ".join(["texvlm", *sys.argv[1:]]),
    )
    if out is not None:
        _check_writable(out)
    with steps() as tell:
        report = run_benchmarks(settings, progress=tell)
    if out is not None:
        note(f"written: {_write(report, out)}")
    if json:
        print_json(report.model_dump(mode="json"))
        return
    for table in tables(report):
        print_table(table.title, table.rows, header=table.columns)
    for name, reason in report.skipped.items():
        print_line(f"{name} is left out: {reason}")
    if quick:
        print_line("--quick: the times above mean nothing")


def _bench_gpu(data: Path | None, tokens: int, out: Path | None, *, quick: bool, json: bool) -> None:
    """The rows of one GPU."""
    from dataclasses import replace

    from texvlm.bench.gpu import QUICK, GpuSettings, gpu_tables, run_gpu_bench, where

    settings = QUICK if quick else replace(GpuSettings(), tokens=tokens)
    words = ["DATA" if word == str(data) else word for word in sys.argv[1:]]  # results are published, folders are not
    command = " ".join(["texvlm", *words])
    if out is not None:
        _check_writable(out)
    with steps() as tell:
        report = run_gpu_bench(replace(settings, data=data, command=command), progress=tell)
    if out is not None:
        note(f"written: {_write(report, out)}")
    if json:
        print_json(report.model_dump(mode="json"))
    else:
        print_line(where(report))
        for table in gpu_tables(report):
            print_table(table.title, table.rows, header=table.columns)
        for name, reason in report.skipped.items():
            print_line(f"{name} is left out: {reason}")
        if quick:
            print_line("--quick: the times above mean nothing")
    if report.failed:
        raise DeviceCallError("; ".join(f"{name} broke: {reason}" for name, reason in report.failed.items()))


def _names(text: str | None) -> tuple[str, ...]:
    return tuple(part.strip() for part in (text or "").split(",") if part.strip())


def _check_writable(out: Path) -> None:
    """Fail before minutes are spent: make the folder, and open the file where one is named."""
    folder = out.parent if out.suffix == ".json" else out
    folder.mkdir(parents=True, exist_ok=True)
    probe = folder / ".texvlm-probe"
    probe.touch()
    probe.unlink()


def _write(report: BenchReport | GpuReport, out: Path) -> Path:
    from texvlm.files import write_whole

    if out.suffix != ".json":
        words = [report.commit, "quick"] if report.command.endswith("--quick") else [report.commit]
        words.append(report.date.replace(":", "").replace("+0000", "Z"))
        out = out / (re.sub(r"[^\w.-]+", "-", "_".join(words)) + ".json")
    write_whole(out, (report.model_dump_json(indent=1) + "\n").encode())
    return out
