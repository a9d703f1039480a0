"""Evaluation: does foveation pay? What an encoder reads from foveated, uniform and dense tokens, and at what cost.

`run_evaluation(settings, out)` runs the parts, each written as JSON when it is done, and makes one report
of them with plots; `texvlm eval` calls it. Everything drawn is drawn from the seed: on one machine, two
runs give the same numbers but for times. Needs `pip install "texvlm[hf,bench]"`.

    planted    frames with small signs at known places (targets, backgrounds)
    methods    which tokens, and where they are read
    probe      the same linear classifier for all, and intervals
    foveation, finetune, agreement, fidelity, cost    the parts
    report, markdown, plots                           what comes out
"""

from __future__ import annotations

from texvlm.evaluation.run import run_evaluation, write_report
from texvlm.evaluation.settings import PARTS, EvalSettings

__all__ = ["PARTS", "EvalSettings", "run_evaluation", "write_report"]
