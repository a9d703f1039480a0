"""The report as Markdown: tables of every part, and in words where foveation pays and where it loses."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from texvlm.evaluation.foveation import DENSE
from texvlm.evaluation.report import (
    AgreementPart,
    CostPart,
    FinetunePart,
    FoveationPart,
    Origin,
    Part,
    PicturesPart,
    Reading,
    Share,
)

KEEPS, FAILS = 0.90, 0.50
"""The target: foveated tokens keep this share of the dense accuracy where uniform ones stay below that accuracy."""

FASTER = 25.0
"""The target of the way from frame to features."""


def report_text(parts: Mapping[str, Part], plots: Iterable[str]) -> str:
    """The whole report.

    Args:
        parts: results by name.
        plots: file names of pictures that lie beside it.
    """
    pictures = {name: f"![{name}]({name})\n" for name in plots}
    sections = ["# Does foveation pay?\n"]
    for part in parts.values():
        title, body = _section(part)
        sections.append(f"## {title}\n\n{where(part.origin)}\n\n{body}")
        sections += [text for name, text in pictures.items() if name.startswith(f"eval-{part.part}")]
    return "\n".join(sections)


def _section(part: Part) -> tuple[str, str]:
    if isinstance(part, FoveationPart):
        return "Planted targets", _foveation(part)
    if isinstance(part, FinetunePart):
        return "After a short fine-tune", _finetune(part)
    if isinstance(part, AgreementPart):
        return "Agreement with a full-resolution crop", _agreement(part)
    if isinstance(part, PicturesPart):
        return "Token pictures", _pictures(part)
    return "Cost", _cost(part)


def where(origin: Origin) -> str:
    """The line that says where numbers come from."""
    machine, quick = origin.machine, " **Quick run: no number means anything.**" if origin.settings.get("quick") else ""
    return (
        f"{origin.model}; {machine.cpu}, {machine.cores} cores, torch {machine.packages.get('torch', '?')}, "
        f"{origin.threads} threads; commit {origin.commit}, {origin.date[:10]}; `{origin.command}`; "
        f"load average before: {origin.load_before:g}.{quick}"
    )


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table."""
    lines = ["| " + " | ".join(head) + " |", "|" + " --- |" * len(head)]
    lines += ["| " + " | ".join(map(str, row)) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def percent(found: Share | None) -> str:
    """A share with its interval."""
    return "-" if found is None else f"{found.value:.0%} ({found.low:.0%}..{found.high:.0%})"


def _foveation(part: FoveationPart) -> str:
    times = ", ".join(f"{name} {ms:g} ms" for name, ms in part.equal_time.items())
    lines = [
        f"A probe trained on {part.train_targets} targets in generated frames; chance is {part.chance:.0%}. "
        f"Equal time, frame to features, medians: {times}.\n",
        *verdicts(part),
    ]
    groups = dict.fromkeys((reading.test, reading.readout) for reading in part.readings)
    for test, readout in groups:
        own = [r for r in part.readings if (r.test, r.readout) == (test, readout)]
        bins = own[0].by_size
        head = ["tokens of", "count", "side at fixation", "fixation", "accuracy", "of dense"]
        head += [f"{b.least}-{b.most} px ({b.targets})" for b in bins]
        rows = [
            [r.method, r.tokens, f"{r.side_at_fixation:g}", r.fixation, percent(r.accuracy), percent(r.of_dense)]
            + [f"{b.right:.0%}" for b in r.by_size]
            for r in own
        ]
        lines.append(f"\n**{test.capitalize()} test frames, {own[0].targets} targets, read-out: {readout}**\n")
        lines.append(table(head, rows))
    return "\n".join(lines)


def verdicts(part: FoveationPart) -> list[str]:
    """The target's two numbers for every test and read-out that has dense tokens, met or missed; and the losses."""
    lines = []
    for test, readout in dict.fromkeys((r.test, r.readout) for r in part.readings):
        own = {r.method: r for r in part.readings if (r.test, r.readout) == (test, readout)}
        ours, even, dense = _ours(own), own.get("equal-count uniform"), own.get(DENSE)
        if ours is None or even is None or dense is None or ours.of_dense is None:
            continue
        met = ours.of_dense.value >= KEEPS and even.accuracy.value < FAILS
        lines.append(
            f"- {test}, {readout}: {ours.method} reach {percent(ours.of_dense)} of the dense accuracy, equal-count "
            f"uniform tokens read {percent(even.accuracy)} of the targets. Target (at least {KEEPS:.0%}, under "
            f"{FAILS:.0%}): **{'met' if met else 'missed'}**."
        )
        away = next((r for r in own.values() if r.fixation == "away"), None)
        if away is not None:
            word = "loses to" if away.accuracy.value < even.accuracy.value else "does not lose to"
            lines.append(
                f"- {test}, {readout}: with the fixation away foveation {word} a uniform grid of as many tokens: "
                f"{percent(away.accuracy)} against {percent(even.accuracy)}."
            )
        large = [(a, b) for a, b in zip(ours.by_size, even.by_size, strict=True) if b.right >= a.right]
        for a, b in large:
            lines.append(
                f"- {test}, {readout}: targets of {a.least} to {a.most} texels: uniform tokens read no fewer "
                f"({b.right:.0%} against {a.right:.0%}, {a.targets} targets)."
            )
    return lines


def _ours(readings: Mapping[str, Reading]) -> Reading | None:
    """The default layout with the fixation on the target: the first of them."""
    return next((r for r in readings.values() if r.fixation == "on" and r.positions == "absolute"), None)


def _finetune(part: FinetunePart) -> str:
    note = (
        f"The last {part.blocks} blocks ({part.parameters:,} numbers) and the head, {part.epochs} epochs of "
        f"{part.train_frames} frames, one frame a step; read-out: {part.readout}; {part.targets} test targets. "
        "Frozen: the probe before it."
    )
    rows = [
        [row.method, row.tokens, percent(row.frozen), percent(row.tuned), " ".join(map(str, row.losses)), row.seconds]
        for row in part.rows
    ]
    return f"{note}\n\n" + table(["tokens of", "count", "frozen", "tuned", "loss by epoch", "training s"], rows)


def _agreement(part: AgreementPart) -> str:
    note = (
        f"{part.targets} targets in {part.frames} {part.pictures} pictures: share of them whose class in a "
        "full-resolution crop is among the five best by the tokens. No training."
    )
    head = ["layout", "tokens", "e2", "read-out", "agreement"]
    rows = [
        [row.layout, row.tokens, "-" if row.e2_deg is None else f"{row.e2_deg:g}", row.readout, percent(row.agreement)]
        for row in part.rows
    ]
    return f"{note}\n\n" + table(head, rows)


def _pictures(part: PicturesPart) -> str:
    bands = part.rows[0].bands
    names = [f"{band.least_deg:g}-{band.most_deg:g}°" for band in bands]
    text = [f"{part.views} views of {part.size[0]} x {part.size[1]}. Only texels that a token covers count.\n"]
    for title, show in (
        ("PSNR, dB", lambda band: "-" if band.psnr is None else f"{band.psnr:.1f}"),
        ("SSIM", lambda band: "-" if band.ssim is None else f"{band.ssim:.3f}"),
        ("covered", lambda band: f"{band.covered:.0%}"),
    ):
        rows = [[row.layout, row.tokens, *map(show, row.bands)] for row in part.rows]
        text.append(f"**{title}**\n\n" + table(["layout", "tokens", *names], rows))
    ours, even = part.rows[0], part.rows[-1]
    lost = [name for name, a, b in zip(names, ours.bands, even.bands, strict=True) if (b.psnr or 0) > (a.psnr or 0)]
    if lost:
        text.append(
            f"Where foveation loses: at {', '.join(lost)} {even.layout} shows more than {ours.layout} (PSNR).\n"
        )
    return "\n".join(text)


def _cost(part: CostPart) -> str:
    rows = [
        [
            row.model,
            row.batch,
            row.tokens,
            f"{row.gmacs:,.1f}",
            row.note if row.ms is None else f"{row.ms.median_ms:,.1f}",
            "-" if row.gmacs_per_s is None else f"{row.gmacs_per_s:.0f}",
        ]
        for row in part.encoders
    ]
    ways = [
        [
            way.model,
            f"{way.frame[0]} x {way.frame[1]}",
            way.way,
            f"{way.ms.median_ms:,.1f}",
            f"{way.tokenize_ms:.2f}",
            f"{way.faster_than_dense:.1f}x",
        ]
        for way in part.ways
    ]
    best = next((way for way in part.ways if way.way.startswith("quadtree")), None)
    verdict = ""
    if best is not None:
        word = "met" if best.faster_than_dense >= FASTER else "missed"
        verdict = f"\n{best.way}: {best.faster_than_dense:.1f}x. Target (at least {FASTER:g}x): **{word}**.\n"
    return (
        f"Load average after: {part.load_after:g}. Multiply-adds leave out norms, softmax and activations.\n\n"
        + table(["model", "batch", "tokens", "GMACs", "ms", "GMACs/s"], rows)
        + "\n**Frame to features, batch 1, in turns**\n\n"
        + table(["model", "frame", "tokens", "ms", "of that tokens ms", "faster"], ways)
        + verdict
    )
