"""The page of results/video-models.json. Called by train_heads.py."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from statistics import mean
from typing import Any

TASKS = {
    "noise": "Frames with noise of {noise}/255 on every pixel; right is what the encoder says of the frame without it.",
    "held": "The encoder runs on one frame of {held}, its features are held; right is what it says of each frame.",
}


def page(report: dict[str, Any]) -> str:
    """Markdown."""
    machine = report["machine"]
    lines = [
        "# Time in the model: what is learned, and what it is worth on other clips",
        "",
        f"{machine['cpu']}, {machine['cores']} cores, {report['threads']} thread; "
        f"torch {machine['packages']['torch']}; {report['model']}; commit {report['commit']}, {report['date'][:10]}; "
        f"`{report['command']}`; load average before: {report['load_before']}.",
        f"{report['frames']} frames of each clip, each second one of the footage. {len(report['train'])} clips to "
        f"learn from, {len(report['test'])} others to test on.",
        "No weights were learned from the latter, but they were looked at while the helpers took their shape and the",
        "aggregation head its rate: of clips of other kinds expect less. Times: a machine shared with other work.",
        "",
        "## Heads",
        "",
        "Losses are squared errors, over those of what the encoder gives and a floor for clips that stand still: of",
        "the untrained head, which is the identity, and of the trained one, on the clips learned from and on others.",
        "Cosines with what is right are means over the other clips.",
    ]
    for task, words in TASKS.items():
        heads = [head for head in report["heads"] if head["task"] == task]
        lines += ["", words.format(**report), ""]
        lines += _table(
            (
                "head",
                "weights",
                "state, kB",
                "loss, untrained",
                "trained",
                "others, untrained",
                "trained",
                "class token",
                "tokens",
            ),
            [
                (
                    head["head"],
                    f"{head['weights']:,}",
                    f"{head['state_bytes'] / 1000:.0f}",
                    f"{head['first_loss']:.3f}",
                    f"{head['last_loss']:.3f}",
                    f"{mean(clip['loss given'] for clip in head['clips']):.3f}",
                    f"{mean(clip['loss'] for clip in head['clips']):.3f}",
                    _mean(head, "head, class token"),
                    _mean(head, "head, tokens"),
                )
                for head in heads
            ]
            + [
                (name, *[""] * 6, _mean(heads[0], f"{key}, class token"), _mean(heads[0], f"{key}, tokens"))
                for name, key in (("*mean of the last 4 frames*", "mean of 4"), ("*nothing*", "given"))
            ],
        )
    lines += [
        "",
        "## Merging within frames",
        "",
        "Behind each block of the model r tokens are merged; blocks and merging are timed. Cosine of the class token.",
        "",
    ]
    lines += _table(
        ("r", "rows left", "ms a frame", "mean", "least", "ViT-B, ms a frame"),
        [
            (
                row["r"],
                row["tokens_left"],
                f"{row['ms']:.1f}",
                f"{row['class_cosine']:.4f}",
                f"{row['class_cosine_least']:.4f}",
                f"{base['ms']:.0f}",
            )
            for row, base in zip(report["merging_within"], report["merging_base"], strict=True)
        ],
    )
    lines += [
        "",
        "## Merging across frames",
        "",
        "Features of 4 frames; cosine of each with what it was merged into.",
        "",
    ]
    lines += _table(
        ("share of tokens lost", "across frames", "within frames"),
        [
            (f"{row['share_lost']:.0%}", f"{row['across']:.4f}", f"{row['within']:.4f}")
            for row in report["merging_across"]
        ],
    )
    importance = report["importance"]
    lines += [
        "",
        "## Frame importance",
        "",
        "Spearman's rank correlation with how far the class token moves, pairs of frames 1 to 8 apart.",
        "",
    ]
    lines += _table(
        ("clip", "pairs", "helper", "mean change of pixels"),
        [(name, row["pairs"], f"{row['helper']:.3f}", f"{row['pixels']:.3f}") for name, row in _rows(importance)],
    )
    delta = report["delta"]
    lines += [
        "",
        "## Delta encoder",
        "",
        "Cosine with what the full encoder says (which has 1), pairs of frames 1 to 8 apart: helper / stale features.",
        "",
    ]
    lines += _table(
        ("clip", "tokens, mean", "tokens, 1st percentile", "class token, mean"),
        [
            _delta_row(name, row)
            for name, row in [*_rows(delta), ("*the end of clips it learned from*", delta["own clips"])]
        ],
    )
    return "\n".join([*lines, ""])


def _delta_row(name: str, row: dict[str, Any]) -> tuple[str, ...]:
    pairs = (("tokens", "stale_tokens"), ("tokens_p1", "stale_tokens_p1"), ("prefix", "stale_prefix"))
    return name, *(f"{row[ours]:.4f} / {row[stale]:.4f}" for ours, stale in pairs)


def _rows(part: dict[str, Any]) -> list[tuple[str, Any]]:
    return [*part["clips"].items(), ("*all*", part["all"])]


def _mean(head: dict[str, Any], name: str) -> str:
    return f"{mean(clip[name] for clip in head['clips']):.4f}"


def _table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> list[str]:
    lines = ["| " + " | ".join(header) + " |", "|" + " --- |" * len(header)]
    return lines + ["| " + " | ".join(str(cell) for cell in row) + " |" for row in rows]
