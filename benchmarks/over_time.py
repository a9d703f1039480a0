"""The README's words on reuse over time, from benchmarks/results/eval-temporal-*.json; used by tables.py."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
SHOWN = ("auto", "l2-fast")
"""Methods of the table: what chooses for itself, and the cheapest one."""
NAMES = {"auto": "`TemporalEncoder`", "l2-fast": "threshold 1, gates .15"}


def over_time() -> str:
    """A table of what reuse saves and loses by clip, or that it is not measured yet."""
    agreement, time = (_rows(name) for name in ("agreement", "time"))
    if not agreement or not time:
        return "Not measured yet: there is no result of `texvlm eval temporal` in benchmarks/results/."
    origin = _read("time")["origin"]
    machine = origin["machine"]
    paces = {(row["clip"], row["method"], row["model"], row["sources"]): row["saved"] for row in time}
    timed = sorted({(row["model"], row["sources"]) for row in time}, key=lambda pair: (pair[0] != "real weights", pair))
    heads = [f"{'ViT-Ti' if model == 'real weights' else model} x {sources}" for model, sources in timed]
    lines = [
        f"ViT-Ti with real weights, {machine['cpu']}, {machine['cores']} cores, commit {origin['commit']}; times\n"
        "saved against encoding the same tokens of every frame, by model and number of sources; cosines with that,\n"
        "mean / first percentile (patch tokens: of all tokens of all frames). ViT-B has random weights, and\n"
        "computes the rows that ViT-Ti's gates took.",
        "",
        "| clip | | tokens encoded | class token | patch tokens | " + " | ".join(heads) + " |",
        "|" + " --- |" * (5 + len(heads)),
    ]
    for row in agreement:
        if row["layout"] != "uniform" or row["method"] not in SHOWN:
            continue
        saved = [paces.get((row["clip"], row["method"], *pair)) for pair in timed]
        cells = [
            _short(row["clip"]),
            NAMES[row["method"]],
            f"{row['encoded']:.0%}",
            f"{row['class_mean']:.3f} / {row['class_p1']:.3f}",
            f"{row['patch_mean']:.3f} / {row['patch_p1']:.3f}",
            *("-" if ratio is None else f"{ratio:.1f}x" for ratio in saved),
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join([*lines, *_end_to_end(), *_following()])


def _end_to_end() -> list[str]:
    """Decoding included, against a model that reads every pixel of every frame."""
    if not (RESULTS / "eval-temporal-end-to-end.json").exists():
        return []
    found = _read("end-to-end")
    seconds = min(dense["frame_ms"] for dense in found["dense"]) / 1000
    ratios: dict[str, list[str]] = {}
    for row in found["rows"]:
        ratios.setdefault(row["method"], []).append(f"{row['faster_than_dense']:.0f}x ({_short(row['clip'])})")
    full, auto, fast = (" and ".join(ratios[method]) for method in ("full", *SHOWN))
    words = [
        f"From the file to features, against ViT-B on 4096 tokens of every frame (1024 x 1024, {seconds:.1f} s each):",
        f"{auto} with `TemporalEncoder`, {fast} with threshold 1 and gates .15;",
        f"encoding {found['rows'][0]['tokens']} tokens of every frame gives {full}.",
    ]
    return ["", "\n".join(words)]


def _following() -> list[str]:
    """What a grid that moves along saves."""
    path = RESULTS / "following.json"
    if not path.exists():
        return []
    words = [
        "Tokens that move along with the camera, beside tokens that stay (ViT-Ti; time with measuring motion):",
        "",
    ]
    words += ["| clip | tokens | encoded | work saved | time saved | patch tokens |", "|" + " --- |" * 6]
    for row in json.loads(path.read_text(encoding="utf-8"))["rows"]:
        cells = [_short(row["clip"]), row["way"], f"{row['tokens_encoded']:.0%}", f"{row['work_saved']:.1f}x"]
        words.append(f"| {' | '.join(cells)} | {row['time_saved']:.1f}x | {row['patch_mean']:.3f} |")
    return ["", *words]


def _short(clip: str) -> str:
    return clip.rsplit(".", 1)[0]


def _rows(part: str) -> list[dict[str, Any]]:
    return _read(part)["rows"] if (RESULTS / f"eval-temporal-{part}.json").exists() else []


def _read(part: str) -> dict[str, Any]:
    return json.loads((RESULTS / f"eval-temporal-{part}.json").read_text(encoding="utf-8"))
