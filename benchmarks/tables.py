"""Write the tables of both READMEs and the chart of fixation times from benchmarks/results/*.json.

    python benchmarks/tables.py [--check]

What lies between `<!-- NAME -->` and `<!-- end -->` in benchmarks/README.md and in the project's README
is replaced; nothing in it is typed by hand. `--check` writes nothing and fails where one of them does
not match the results.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from pathlib import Path
from typing import Any

from headline import gpu_line, headline  # beside this script
from over_time import over_time  # likewise

from texvlm.bench import BenchReport, tables
from texvlm.bench.gpu import GpuReport, gpu_tables
from texvlm.bench.gpu import where as gpu_where
from texvlm.bench.report import OURS

HERE = Path(__file__).parent
READMES = (HERE / "README.md", HERE.parent / "README.md")
RESULTS = HERE / "results"
SECTION = re.compile(r"(<!-- (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)

TARGETS = {"5 % scattered": (10, 20, 40), "5 % clustered": (10, 20, 40), "cold": (3, 8, 15)}
"""Least ratio to the dense, pyramid and integral-image baselines on the cpu backend; a third of it on gl."""
BASELINES = (("dense, linear", 0), ("dense, area", 0), ("pyramid + grid_sample", 1), ("integral image", 2))


def load(part: str) -> BenchReport:
    """One result file."""
    return BenchReport.model_validate_json((RESULTS / f"{part}.json").read_text(encoding="utf-8"))


def load_gpus() -> dict[str, GpuReport]:
    """The newest result of each GPU, by file name; files of `make gpu` end in a date."""
    newest: dict[str, tuple[str, GpuReport]] = {}
    for path in sorted(RESULTS.glob("*-20??-??-??.json")):
        report = GpuReport.model_validate_json(path.read_text(encoding="utf-8"))
        newest[report.gpu.name] = (path.name, report)
    return dict(newest.values())


def gpu_section(reports: dict[str, GpuReport]) -> str:
    """Every table of every GPU, or that there is none yet."""
    if not reports:
        return "Not measured yet on a GPU: there is no result file of `make gpu` in results/."
    parts = []
    for name, report in reports.items():
        parts.append(f"From [results/{name}](results/{name}): {gpu_where(report)}")
        parts += [f"**{table.title}**\n\n{table.markdown()}" for table in gpu_tables(report)]
        parts += [f"{what} is left out: {reason}" for what, reason in report.skipped.items()]
    return "\n\n".join(parts)


def where(report: BenchReport, part: str) -> str:
    """The line that says where numbers come from."""
    machine = report.machine
    packages = ", ".join(f"{name} {version}" for name, version in machine.packages.items())
    gl = f"; gl: {machine.gl}" if machine.gl else ""
    return (
        f"From [results/{part}.json](results/{part}.json): {machine.cpu}, {machine.cores} cores, "
        f"{machine.ram_gib:g} GiB, {report.threads} threads; {machine.os}; Python {machine.python}, {packages}{gl}; "
        f"commit {report.commit}, {report.date[:10]}; `{report.command}`; load average before: {report.load_before:g}. "
        f"A copy moves {report.bandwidth_gb_s['frame']:g} GB/s for a 1080p frame, "
        f"{report.bandwidth_gb_s['large']:g} GB/s for 256 MiB."
    )


def ratio_rows(report: BenchReport) -> str:
    """Ratio to each baseline at 1080p, next to the target."""
    head = ["case", "backend", "ms", *(name for name, _ in BASELINES)]
    lines = ["| " + " | ".join(head) + " |", "|" + " --- |" * len(head)]
    for case in report.cases:
        if case.bench != "changes" or case.dtype != "float32" or case.name not in TARGETS:
            continue
        cells = [case.name, case.backend, f"{case.ours.median_ms:.3f}"]
        for name, place in BASELINES:
            target = TARGETS[case.name][place] / (1 if case.backend == "cpu" else 3)
            cells.append(f"{case.ratios[name]:.1f}x (target {target:.3g}x)")
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def stage_rows(report: BenchReport) -> str:
    """Where the time of a call goes, and what was predicted."""
    stages = ("refresh", "detect", "upload", "build_mips", "plan", "sample")
    head = ["case", "backend", "dtype", "predicted ms", "measured ms", *stages, "rest"]
    lines = ["| " + " | ".join(head) + " |", "|" + " --- |" * len(head)]
    for case in report.cases:
        if case.bench != "changes":
            continue
        spent = [case.stages_ms.get(stage, 0.0) for stage in stages]
        rest = max(0.0, case.ours.median_ms - sum(spent))
        cells = [case.name, case.backend, case.dtype, f"{case.predictions[OURS].ms:.3f}", f"{case.ours.median_ms:.3f}"]
        lines.append("| " + " | ".join(cells + [f"{ms:.3f}" for ms in (*spent, rest)]) + " |")
    return "\n".join(lines)


def rows_of(records: list[dict[str, Any]]) -> str:
    """A markdown table of flat records."""
    head = list(records[0])
    lines = ["| " + " | ".join(head) + " |", "|" + " --- |" * len(head)]
    lines += ["| " + " | ".join(f"{value:.3g}" if isinstance(value, float) else str(value) for value in record.values())
              + " |" for record in records]  # fmt: skip
    return "\n".join(lines)


def sections() -> dict[str, str]:
    """The sections of both READMEs by name."""
    synthetic, memory, footage = (load(part) for part in ("synthetic", "memory", "footage"))
    parity = json.loads((RESULTS / "parity.json").read_text(encoding="utf-8"))
    found = {table.title: table.markdown() for report in (synthetic, memory, footage) for table in tables(report)}
    found["ratios"] = f"{where(synthetic, 'synthetic')}\n\n{ratio_rows(synthetic)}"
    found["stages"] = stage_rows(synthetic)
    gpus = load_gpus()
    found["gpu"] = gpu_section(gpus)
    found["numbers"] = headline(synthetic, memory, footage, gpu_line(gpus))
    found["memory"] = f"{where(memory, 'memory')}\n\n{found['memory']}"
    found["footage"] = f"{where(footage, 'footage')}\n\n{found['footage']}"
    packages = parity["machine"]["packages"]
    source = f"From [results/parity.json](results/parity.json): transformers {packages['transformers']}, "
    source += f"commit {parity['commit']}, {parity['date'][:10]}; `{parity['command']}`."
    found["parity"] = f"{source}\n\n{rows_of(parity['at_model_size'])}"
    found["temporal"] = over_time()
    found["resize"] = rows_of(parity["against_resize"])
    return found


def filled(readme: str) -> str:
    """A README with its sections written anew."""
    found = sections()
    return SECTION.sub(lambda match: f"{match[1]}{found[match[2]]}\n{match[3]}", readme)


def draw_fixations(report: BenchReport, path: Path) -> None:
    """Time of a new fixation against the frame size: flat, or not."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(6, 3.5))
    for backend in dict.fromkeys(case.backend for case in report.cases):
        cases = [case for case in report.cases if case.bench == "fixation" and case.backend == backend]
        megapixels = [case.size[0] * case.size[1] / 1e6 for case in cases]
        axes.plot(megapixels, [case.ours.median_ms for case in cases], "o-", label=f"{backend}, median")
        low, high = [case.ours.p10_ms for case in cases], [case.ours.p90_ms for case in cases]
        axes.fill_between(megapixels, low, high, alpha=0.2)
    axes.set(xscale="log", xlabel="frame, megapixels (720p to 8K)", ylabel="ms", ylim=(0, None))
    axes.axhline(1, color="gray", linestyle=":", label="target")
    axes.set_title("a new fixation on a resident frame: 268 tokens")
    axes.legend()
    figure.tight_layout()
    figure.savefig(path, dpi=120, metadata={"Software": None})
    plt.close(figure)


def main() -> None:
    """Write, or check."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    arguments = parser.parse_args()
    for readme in READMES:
        old = readme.read_text(encoding="utf-8")
        new = filled(old)
        if arguments.check and new != old:
            sys.exit(f"{readme} does not match the results; run benchmarks/tables.py")
        if not arguments.check:
            readme.write_text(new, encoding="utf-8")
    if arguments.check:
        return
    draw_fixations(load("synthetic"), RESULTS / "fixation.png")


if __name__ == "__main__":
    main()
