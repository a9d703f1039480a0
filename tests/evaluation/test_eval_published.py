"""What the README says of `texvlm eval` is what the committed results say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import texvlm

ROOT = Path(texvlm.__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"


def part(name: str) -> dict[str, Any]:
    result: dict[str, Any] = json.loads((RESULTS / f"eval-{name}.json").read_text())
    return result


def test_the_readme_quotes_the_committed_results():
    readme = " ".join((ROOT / "README.md").read_text().split())
    read = {
        (row["method"], row["fixation"]): row
        for row in part("foveation")["readings"]
        if (row["readout"], row["test"]) == ("box means", "generated")
    }
    foveated, uniform, dense = (read[name, "on"] for name in ("quadtree 268", "equal-count uniform", "dense"))
    away = read["quadtree 268, away", "away"]
    shares = [round(100 * row["accuracy"]["value"]) for row in (foveated, uniform, dense, away)]
    assert (
        f"{foveated['tokens']} foveated tokens read {shares[0]} % of them, "
        f"{uniform['tokens']} uniform tokens {shares[1]} %, {dense['tokens']} dense ones {shares[2]} %"
    ) in readme
    assert f"With the gaze elsewhere foveation loses: {shares[3]} %" in readme
    times = {row["way"]: row["ms"]["median_ms"] for row in part("cost")["ways"]}
    fast, slow = times["quadtree 268"], times["dense 4096"] / 1000
    assert f"they take a ViT-B {fast:.0f} ms, against {slow:.1f} s for 4096 dense tokens" in readme
