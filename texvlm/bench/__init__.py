"""Benchmarks: texvlm and what one would write without it, timed in turns on the same frames.

`run_benchmarks(settings)` gives a report that goes to JSON; `tables(report)` turns it into rows.
Nothing here prints. Needs OpenCV: `pip install "texvlm[bench]"`.

How it is measured, and why:
  * A timed call is what a user pays for one frame: a host array in, a torch tensor of tokens out.
  * All contestants take turns on the same frames, so that noise hits all alike; a frame was written
    just before each call, as a decoder leaves it; ratios are between medians of one run.
  * Each case says first what it should take: bytes counted over the measured copy bandwidth.
  * Baselines are written as a good engineer would write them, and the one that does the same job is
    checked to give the same tokens.
"""

from __future__ import annotations

from texvlm.bench.report import BenchReport, Table, tables
from texvlm.bench.run import BENCHES, BenchSettings, run_benchmarks

__all__ = ["BENCHES", "BenchReport", "BenchSettings", "Table", "run_benchmarks", "tables"]
