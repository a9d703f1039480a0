"""Evaluation over time: what does reuse of features save, and what does it lose? `texvlm eval temporal`.

`run_temporal(settings, out)` plays clips to every method and to the full forward of the same tokens. Each
part is written as JSON while it runs; `eval-temporal.md` with its plots is made of them. Needs
`pip install "texvlm[hf,bench]"`.

    clips                                 footage by kind; a fade, a pan, noise and flashes
    methods                               what a contestant is
    peers (cached_rows, gated_blocks)     what others do, written from their papers
    outside                               the bound on reused tokens, checked without asking the method
    agreement, pace, end_to_end           the parts
    soak                                  a long run: what is kept stays flat
    goals, markdown, plots                what comes out
"""

from __future__ import annotations

from texvlm.evaluation.temporal.methods import Method, Methods, Moment, Step
from texvlm.evaluation.temporal.run import run_temporal, write_report
from texvlm.evaluation.temporal.settings import PARTS, TemporalSettings, TimedRun

__all__ = [
    "PARTS",
    "Method",
    "Methods",
    "Moment",
    "Step",
    "TemporalSettings",
    "TimedRun",
    "run_temporal",
    "write_report",
]
