"""Measure block matching on the resident mips: time of a 1080p frame, and how exactly shifts are found.

    python benchmarks/block_matching.py --data FOLDER     # results/block_matching.json

Time is that of one call of BlockMatcher on the frame just submitted, from resident mips to motion field, on one
thread: of the wall (median and least), and of the processor, which a busy machine changes less. Shifts are
between two 1080p parts of a photograph; errors are over cells that the field calls valid, two of them away from
every edge and from what only one part shows.
"""

from __future__ import annotations

import argparse
import json
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

import numba
import numpy as np

from texvlm import Engine, open_source
from texvlm.bench.machine import load_average, probe_machine, source_commit
from texvlm.motion import BlockMatcher, moment_of

CLIP = "moving_park_1080p.mp4"
SIZE = (1920, 1080)
MARGIN = 64
SHIFTS = ((1, 0), (2, 2), (7, 3), (-30, 13), (62, -61), (64, 64))
PATCHES = (16, 32, 64)
WARM_UP = 10
"""Frames that are not timed: kernels are loaded, and threads counted."""


def timed(clip: Path, frames: int, backend: str) -> list[dict[str, Any]]:
    """Milliseconds of each field of a clip, and the share of its cells that are valid."""
    matchers = {(patch, check): BlockMatcher(patch=patch, check=check) for patch in PATCHES for check in (False, True)}
    spent: dict[tuple[int, bool], list[tuple[float, float]]] = {key: [] for key in matchers}
    shares: dict[tuple[int, bool], list[float]] = {key: [] for key in matchers}
    with open_source(clip) as source, Engine(backend=backend) as engine:
        for _, frame in zip(range(frames), source, strict=False):
            engine.submit(frame)
            for key, matcher in matchers.items():
                start, busy = perf_counter(), process_time()
                field = matcher(moment_of(engine))
                spent[key].append(((perf_counter() - start) * 1e3, (process_time() - busy) * 1e3))
                if field is not None:
                    shares[key].append(field.valid_share)
    return [
        {
            "backend": backend,
            "patch": patch,
            "check": check,
            "frames": len(times) - WARM_UP,
            "ms": round(float(np.median([wall for wall, _ in times[WARM_UP:]])), 3),
            "cpu_ms": round(float(np.median([busy for _, busy in times[WARM_UP:]])), 3),
            "ms_least": round(min(wall for wall, _ in times[WARM_UP:]), 3),
            "valid_share": round(float(np.mean(shares[patch, check])), 3),
        }
        for (patch, check), times in spent.items()
    ]


def shifted(photo: Path) -> list[dict[str, Any]]:
    """Errors of known shifts in the middle of a photograph."""
    with open_source(photo) as source:
        pixels = np.asarray(next(iter(source)).pixels)
    left, top = ((side - part) // 2 for side, part in zip(pixels.shape[1::-1], SIZE, strict=True))

    def part(x: int, y: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
        return np.ascontiguousarray(pixels[top + y : top + y + SIZE[1], left + x : left + x + SIZE[0]])

    rows = []
    for patch in PATCHES:
        for x, y in SHIFTS:
            field = BlockMatcher(patch=patch).between(part(0, 0), part(-x, -y))
            edge = -(-MARGIN // patch) + 2
            flow, valid = (a[edge:-edge, edge:-edge] for a in (field.flow, field.valid))
            error = np.hypot(*np.moveaxis(flow[valid] - (x, y), -1, 0))
            rows.append(
                {
                    "photo": photo.name,
                    "patch": patch,
                    "shift": [x, y],
                    "error_median": round(float(np.median(error)), 3),
                    "error_mean": round(float(error.mean()), 3),
                    "error_p95": round(float(np.quantile(error, 0.95)), 3),
                    "median_flow_off": round(float(np.hypot(*(np.median(flow[valid], axis=0) - (x, y)))), 3),
                    "valid_share": round(float(valid.mean()), 3),
                }
            )
    return rows


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of clips and photos")
    parser.add_argument("--frames", type=int, default=120)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "block_matching.json")
    options = parser.parse_args()
    load = load_average()
    numba.set_num_threads(1)
    report = {
        "machine": probe_machine().model_dump(),
        "commit": source_commit(),
        "command": "python benchmarks/block_matching.py --data DATA",
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "load_before": load,
        "clip": CLIP,
        "time": timed(options.data / CLIP, options.frames, "cpu"),
        "shifts": [row for photo in sorted((options.data / "photos").glob("*.jpg")) for row in shifted(photo)],
    }
    options.out.write_text(json.dumps(report, indent=1) + "\n")
    for row in report["time"]:
        print(row)
    for patch in PATCHES:
        chosen = [row for row in report["shifts"] if row["patch"] == patch]
        print(patch, {key: round(max(row[key] for row in chosen), 3) for key in ("error_median", "median_flow_off")})


if __name__ == "__main__":
    main()
