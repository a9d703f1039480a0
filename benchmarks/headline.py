"""The "Numbers" section of the project's README, from benchmarks/results/*.json. Called by tables.py."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import median

from texvlm.bench import BenchReport
from texvlm.bench.gpu import GpuReport

COLUMNS = ("dense, area", "dense, linear", "pyramid + grid_sample", "integral image")
HEADINGS = (
    "dense grid, antialiased",
    "dense grid, bilinear",
    "torch pyramid, same tokens",
    "integral image, 172 tokens",
)


def headline(synthetic: BenchReport, memory: BenchReport, footage: BenchReport, gpus: str) -> str:
    """The section's text; `gpus` is the line about them."""
    machine = synthetic.machine
    where = f"{machine.cpu}, {machine.cores} cores, no GPU; `gl` is {machine.gl}; commit {synthetic.commit}."
    return "\n".join(
        [
            f"{where} One frame is `submit` of a 1920 x 1080 host frame and `tokens`: 268 tokens as a float32 torch",
            "tensor. How many times as fast as each baseline, on the same frames, in the same run:",
            "",
            *_speed(synthetic),
            "",
            *_facts(synthetic, memory, footage),
            gpus,
            "",
            "The baselines, every case, how it is measured, and which targets are missed:",
            "[benchmarks/](benchmarks/README.md).",
        ]
    )


def _speed(report: BenchReport) -> list[str]:
    """How many times as fast as each baseline."""
    lines = [
        "| 1080p | backend | ms | " + " | ".join(HEADINGS) + " |",
        "|" + "---|" * (3 + len(HEADINGS)),
    ]
    for case in report.cases:
        if case.bench == "changes" and case.dtype == "float32":
            name = case.name if "%" not in case.name else f"{case.name.replace('% ', '% of tiles changed, ')}"
            ratios = [f"{case.ratios[column]:.1f}x" if column in case.ratios else "" for column in COLUMNS]
            lines.append(f"| {name} | `{case.backend}` | {case.ours.median_ms:.2f} | " + " | ".join(ratios) + " |")
    return lines


def _facts(synthetic: BenchReport, memory: BenchReport, footage: BenchReport) -> list[str]:
    """What no table is needed for."""
    moves = {
        backend: [c.ours.median_ms for c in synthetic.cases if c.bench == "fixation" and c.backend == backend]
        for backend in dict.fromkeys(case.backend for case in synthetic.cases)
    }
    spans = ", ".join(f"{min(ms):.2f} to {max(ms):.2f} ms on `{backend}`" for backend, ms in moves.items() if ms)
    run = memory.memory[0]
    still = [clip for clip in footage.clips if clip.fixation == "centre" and clip.backend == "cpu"]
    frames = sum(clip.frames for clip in still)
    worst = max(clip.worst_error for clip in footage.clips)
    sampled = median(clip.tokens_resampled for clip in still)
    near = median(clip.psnr_near - clip.psnr_near_uniform for clip in still)
    away = median(clip.psnr_away_uniform - clip.psnr_away for clip in still)
    return [
        f"- A new fixation on a resident frame costs the same from 720p to 8K: {spans}.",
        f"- Memory over {run.frames:,} frames: {run.growth_mib:+.2f} MiB.",
        "- An unchanged frame uploads 0 bytes and samples 0 tokens.",
        f"- On {len(still)} real clips ({frames:,} frames), no token was ever further than {worst:.2f}/255 from a",
        f"  fresh upload (threshold 8); a centred gaze re-sampled {sampled:.0f} of 268 tokens a frame (median clip).",
        f"- Painted back from tokens alone, the frame is {near:.1f} dB closer to the original within 5 degrees of the",
        f"  fixation than from as many uniform tokens, and {away:.1f} dB further from it elsewhere (median clip).",
    ]


def gpu_line(reports: Mapping[str, GpuReport]) -> str:
    """What was reached on GPUs, against the targets; or that nothing was measured yet."""
    if not reports:
        return "- The `cuda` backend is not measured yet on a GPU; `make gpu` does it on a machine that has one."
    lines = []
    for report in reports.values():
        steps = [
            f"{row.name} {row.reached_us:.1f} us (target {row.target_us:g}, floor {row.floor_us:.1f})"
            for row in report.rows
            if row.target_us is not None
        ]
        lines.append(f"- `cuda` on {report.gpu.name}: {'; '.join(steps)}.")
    return "\n".join(lines)
