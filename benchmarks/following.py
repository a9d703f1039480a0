"""What following a moving camera saves: tokens that move along with it, beside tokens that stay in place.

    python benchmarks/following.py --model DIR [--data DIR] [--frames 60] [--out benchmarks/results]

Clips: a window that pans over a photo or a generated picture at 3.3 texels a frame, and every clip of
the kind "moving" that --data holds. Each way is compared with the full forward pass of the very tokens
that it made, frame by frame: share of tokens encoded, operations, cosines, and time of both in turns.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn.functional import cosine_similarity

from texvlm import Engine
from texvlm.bench.machine import load_average, probe_machine, source_commit
from texvlm.encoders import Encoder, load
from texvlm.evaluation.temporal.clips import find_clips
from texvlm.files import write_whole
from texvlm.frames import Frame
from texvlm.layouts.anchored import AnchoredGrid
from texvlm.layouts.base import Layout
from texvlm.layouts.subdivided import Subdivided
from texvlm.layouts.table import Table
from texvlm.temporal import TemporalEncoder, TemporalSettings
from texvlm.temporal.area_tokens import parts_for, tokens_of

TOKENS = 280
SETTINGS = TemporalSettings("following", threshold=0.5, moving_threshold=2.0, gate=0.1, full_share=1.0)


class Fixed:
    """A layout that gives the rows that it was made of."""

    patch, tokens = 16, None

    def __init__(self, rows: Table) -> None:
        self._rows = rows

    def plan(self, size: tuple[int, int], focus: object) -> Table:
        """The rows."""
        return self._rows


def layout_of(way: str, rows: Table, patch: int) -> Layout:
    """What samples the very tokens of a step."""
    parts = parts_for(float(rows["side"][0]), patch) if way == "following" else 1
    return Subdivided(Fixed(rows), parts) if parts > 1 else Fixed(rows)


WAYS: dict[str, Callable[[Encoder], TemporalEncoder]] = {
    "in place": lambda encoder: TemporalEncoder(encoder, SETTINGS),
    "following": lambda encoder: TemporalEncoder(
        encoder, SETTINGS, motion="dis", grid=AnchoredGrid(patch=encoder.patch, tokens=TOKENS)
    ),
}


def measure(encoder: Encoder, frames: Iterator[Frame], way: str) -> dict[str, Any]:
    """One way on one clip; the first frame counts in nothing."""
    temporal = WAYS[way](encoder)
    tokens: list[float] = []
    work: list[float] = []
    classes: list[float] = []
    patches: list[float] = []
    seconds: dict[str, list[float]] = {"ours": [], "full": []}
    with Engine(
        layout="uniform", tokens=TOKENS, backend="cpu", threshold=0, mean=encoder.mean, std=encoder.std
    ) as engine:
        for index, frame in enumerate(frames):
            engine.submit(frame)
            start = time.perf_counter()
            out = temporal.step(engine)
            ours = time.perf_counter() - start
            rows = np.asarray(out.features.rows)[0].copy()
            batch = tokens_of(engine, [(0.5, 0.5)], sources=[0], layout=layout_of(way, rows, encoder.patch))
            start = time.perf_counter()
            with torch.no_grad():
                full = encoder(batch)
            whole = time.perf_counter() - start
            if not index:
                continue
            report, held = out.reports[0], ~out.features.padding[0]
            tokens.append(report.tokens_encoded / report.tokens)
            work.append(report.flops / report.flops_full)
            classes.append(float(cosine_similarity(out.features.prefix[0, 0], full.prefix[0, 0], dim=0)))
            patches.append(float(cosine_similarity(out.features.tokens[0][held], full.tokens[0][held], dim=1).mean()))
            seconds["ours"].append(ours)
            seconds["full"].append(whole)
    return {
        "way": way,
        "frames": len(tokens),
        "tokens_encoded": float(np.mean(tokens)),
        "work_saved": 1 / float(np.mean(work)),
        "time_saved": sum(seconds["full"]) / sum(seconds["ours"]),
        "full_ms": 1e3 * float(np.median(seconds["full"])),
        "ours_ms": 1e3 * float(np.median(seconds["ours"])),
        "class_mean": float(np.mean(classes)),
        "class_p1": float(np.quantile(classes, 0.01)),
        "patch_mean": float(np.mean(patches)),
        "patch_frame_p1": float(np.quantile(patches, 0.01)),
    }


def table(result: dict[str, Any]) -> str:
    """The result as Markdown."""
    machine = result["machine"]
    lines = [
        "# Following a moving camera\n",
        f"ViT-Ti with real weights, {machine['cpu']}, {machine['cores']} cores, commit {result['commit']}, "
        f"{result['date'][:10]}, load average before: {result['load_before']:g}; `{result['command']}`.",
        "Cosines with the full forward of the same tokens, mean / first percentile over frames; patches: mean of a",
        "frame's tokens.",
        "Our time includes finding out how the camera moves and sampling the tokens; the full forward's does not.\n",
        "| clip | tokens | encoded | work saved | time saved | class token | patch tokens |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in result["rows"]:
        lines.append(
            f"| {row['clip']} | {row['way']} | {row['tokens_encoded']:.0%} | {row['work_saved']:.1f}x | "
            f"{row['time_saved']:.1f}x | {row['class_mean']:.4f} / {row['class_p1']:.4f} | "
            f"{row['patch_mean']:.4f} / {row['patch_frame_p1']:.4f} |"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", type=Path, required=True, help="folder of a pretrained ViT")
    parser.add_argument("--data", type=Path, help="folder of clips")
    parser.add_argument("--frames", type=int, default=60)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    given = parser.parse_args()
    encoder = load(given.model).eval()
    clips = [
        clip
        for clip in find_clips(given.data, frames=given.frames, seed=0)
        if clip.kind == "moving" or clip.name == "pan"
    ]
    result: dict[str, Any] = {
        "machine": probe_machine().model_dump(mode="json"),
        "commit": source_commit(),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": "python " + " ".join([Path(sys.argv[0]).name, *(Path(word).name for word in sys.argv[1:])]),
        "load_before": load_average(),
        "rows": [],
    }
    for clip in clips:
        for way in WAYS:
            result["rows"].append({"clip": clip.name} | measure(encoder, clip.open(), way))
            print(result["rows"][-1], flush=True)
    given.out.mkdir(parents=True, exist_ok=True)
    write_whole(given.out / "following.json", (json.dumps(result, indent=1) + "\n").encode())
    write_whole(given.out / "following.md", table(result).encode())


if __name__ == "__main__":
    main()
