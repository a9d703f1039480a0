"""The report as Markdown: what every method saves and loses, clip by clip, and which goals it meets."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from texvlm.evaluation.markdown import table, where
from texvlm.evaluation.temporal.goals import FASTER_THAN_DENSE, MEAN, P1, TIME_SAVED, TOP1, Verdict, verdicts
from texvlm.evaluation.temporal.report import AgreementPart, Closeness, EndToEndPart, Pace, Part, TimePart

BREAKING = ("fade", "pan", "noise", "flash")
"""Generated cases: no goal of time."""


def report_text(parts: Mapping[str, Part], plots: Iterable[str]) -> str:
    """The whole report.

    Args:
        parts: results by name.
        plots: file names of pictures that lie beside it.
    """
    pictures = {name: f"![{name}]({name})\n" for name in plots}
    sections = ["# What does reuse over time save, and what does it lose?\n"]
    close, pace = _rows(parts)
    if close:
        sections.append(_goals(close, pace))
    for part in parts.values():
        title, body = _section(part)
        sections.append(f"## {title}\n\n{where(part.origin)}\n\n{body}")
        sections += [text for name, text in pictures.items() if name.startswith(f"eval-temporal-{part.part}")]
    return "\n".join(sections)


def _rows(parts: Mapping[str, Part]) -> tuple[list[Closeness], list[Pace]]:
    agreement, time = parts.get("agreement"), parts.get("time")
    return (
        agreement.rows if isinstance(agreement, AgreementPart) else [],
        time.rows if isinstance(time, TimePart) else [],
    )


def _section(part: Part) -> tuple[str, str]:
    if isinstance(part, AgreementPart):
        return "Agreement with the full forward", _agreement(part)
    if isinstance(part, TimePart):
        return "Time next to multiply-adds", _time(part)
    return "From a coded frame to features", _end_to_end(part)


def _goals(close: list[Closeness], pace: list[Pace]) -> str:
    """Which goals are met, a row a clip and a column a method, for each layout."""
    found = verdicts(close, pace)
    methods = list(dict.fromkeys(verdict.method for verdict in found))
    lines = [
        "## Goals\n",
        f"Close: cosine of class tokens and of patch tokens at least {MEAN:g} on average and {P1:g} at the first "
        f"percentile (patches: over frames and tokens), top-1 agreement at least {TOP1:.0%} on frames where the full "
        "forward is confident, no token reused in the first frame of a shot. Fast: the full forward's time over the "
        "method's, totals, for every model and number of sources measured. Both must hold.\n",
    ]
    for layout in dict.fromkeys(verdict.layout for verdict in found):
        own = {(v.clip, v.method): v for v in found if v.layout == layout}
        clips = dict.fromkeys((v.clip, v.kind) for v in found if v.layout == layout)
        rows = [
            [clip, f"{TIME_SAVED[kind]:g}x" if kind in TIME_SAVED else "-"]
            + [_verdict(own.get((clip, method))) for method in methods]
            for clip, kind in clips
        ]
        lines += [f"**{layout}**\n", table(["clip", "time to save", *methods], rows)]
    return "\n".join(lines)


def _verdict(verdict: Verdict | None) -> str:
    if verdict is None:
        return "-"
    if verdict.met:
        return "**met**"
    fast = verdict.fast is None or (bool(verdict.fast) and all(verdict.fast.values()))
    slow = "" if fast else "not timed" if not verdict.fast else "time"
    return "misses " + ", ".join(word for word in (slow, *verdict.missed) if word)


def _agreement(part: AgreementPart) -> str:
    head = ["clip", "method", "tokens run", "work saved", "class cos", "patch cos", "frame p1", "top-1"]
    head += ["worst change", "claimed", "age", "at cuts", "levels"]
    note = (
        "Cosines: mean / first percentile; frame p1 is that of a frame's mean patch cosine. Worst change: mean / "
        "largest |pixels now - pixels encoded| of any reused token, in 1/255, checked from outside; claimed is the "
        "method's own word for it. Age: most frames since a reused token was encoded.\n"
    )
    lines = [note]
    for layout in dict.fromkeys(row.layout for row in part.rows):
        own = [row for row in part.rows if row.layout == layout]
        lines += [f"**{layout}**\n", table(head, (_closeness(row) for row in own))]
    return "\n".join(lines)


def _closeness(row: Closeness) -> list[object]:
    return [
        row.clip,
        row.method,
        f"{row.encoded:.1%}",
        _times(row.work_saved),
        f"{row.class_mean:.4f} / {row.class_p1:.4f}",
        f"{row.patch_mean:.4f} / {row.patch_p1:.4f}",
        f"{row.patch_frame_p1:.4f}",
        "-" if row.top1 is None else f"{row.top1:.0%} of {row.sure}",
        f"{row.worst_mean:.1f} / {row.worst_max:.0f}",
        "-" if row.claimed is None else f"{row.claimed:.1f}",
        row.worst_age,
        "-" if row.after_cut is None else row.after_cut,
        ", ".join(f"{name} {count}" for name, count in sorted(row.levels.items())),
    ]


def _times(value: float) -> str:
    if value >= 1e6:
        return "all"
    return f"{value:.0f}x" if value >= 100 else f"{value:.1f}x"


def _time(part: TimePart) -> str:
    lines = [
        f"Load average after: {part.load_after:g}. Milliseconds a frame of all sources; p50 / p95. Saved: total of the "
        "full forward over total of the method. With tokens: submit and sampling of tokens, which both need, counted "
        "on both sides.\n"
    ]
    head = ["clip", "method", "tokens run", "work saved", "time saved", "of medians", "with tokens"]
    head += ["full ms", "ours ms", "tokens ms", "state MB a source"]
    for model, sources in dict.fromkeys((row.model, row.sources) for row in part.rows):
        own = [row for row in part.rows if (row.model, row.sources) == (model, sources)]
        layout = ", ".join(dict.fromkeys(row.layout for row in own))
        frames = max(row.frames for row in own)
        lines += [
            f"**{model}, {sources} source{'s' * (sources != 1)}, {layout}, up to {frames} frames**\n",
            table(head, (_pace(row) for row in own)),
        ]
    return "\n".join(lines)


def _pace(row: Pace) -> list[object]:
    return [
        row.clip,
        row.method,
        f"{row.encoded:.1%}",
        _times(row.work_saved),
        _times(row.saved),
        _times(row.saved_median),
        _times(row.saved_with_make),
        f"{row.full.p50_ms:.1f} / {row.full.p95_ms:.1f}",
        f"{row.ours.p50_ms:.1f} / {row.ours.p95_ms:.1f}",
        f"{row.make.p50_ms:.1f} / {row.make.p95_ms:.1f}",
        f"{row.state_bytes / 1e6:.2f}",
    ]


def _end_to_end(part: EndToEndPart) -> str:
    rows: list[list[object]] = []
    for dense in part.dense:
        cells = [f"{value:.1f}" for value in (dense.decode_ms, dense.make_ms, dense.encode_ms, dense.frame_ms)]
        name = f"dense {dense.side} x {dense.side}"
        rows.append([dense.clip, name, dense.tokens, dense.frames, *cells, "1.0x"])
        for way in (way for way in part.rows if way.clip == dense.clip):
            cells = [f"{value:.2f}" for value in (way.decode_ms, way.make_ms, way.encode_ms, way.frame_ms)]
            name = f"{way.method}, {way.layout}"
            rows.append([way.clip, name, way.tokens, way.frames, *cells, _times(way.faster_than_dense)])
    head = ["clip", "way", "tokens", "frames", "decode ms", "tokens ms", "encode ms", "frame ms", "faster"]
    return (
        f"{part.model}; means over frames; goal: {FASTER_THAN_DENSE:g}x. Load average after: {part.load_after:g}.\n\n"
        + table(head, rows)
    )
