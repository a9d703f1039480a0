"""Measure everything that benchmarks/README.md shows, and write benchmarks/results/*.json.

    python benchmarks/measure.py --data FOLDER [--only synthetic,memory,footage]

Then `python benchmarks/parity.py --data FOLDER`, and `python benchmarks/tables.py`. Let the machine be
idle meanwhile; it takes about ten minutes on two cores.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from texvlm.bench import BenchSettings, run_benchmarks

PARTS = {
    "synthetic": ("changes", "sizes", "fixation", "views"),
    "memory": ("memory",),
    "footage": ("footage",),
}


def main() -> None:
    """Measure and write, part by part."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder of clips; without it the footage part is left out")
    parser.add_argument("--only", default=",".join(PARTS), help=f"parts to measure: {', '.join(PARTS)}")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    parser.add_argument("--backend", default="cpu,gl")
    parser.add_argument("--rounds", type=int, default=80)
    arguments = parser.parse_args()
    parts = [part for part in arguments.only.split(",") if part != "footage" or arguments.data is not None]
    start = time.perf_counter()

    def tell(what: str, done: int, total: int) -> None:
        print(f"{time.perf_counter() - start:6.0f} s  {what} ({done}/{total})", file=sys.stderr, flush=True)

    for part in parts:
        settings = BenchSettings(
            benches=PARTS[part],
            backends=tuple(arguments.backend.split(",")),
            rounds=arguments.rounds,
            data=arguments.data if part == "footage" else None,
            command=f"python benchmarks/measure.py --data DATA --only {part}",
        )
        report = run_benchmarks(settings, progress=tell)
        (arguments.out / f"{part}.json").write_text(report.model_dump_json(indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
