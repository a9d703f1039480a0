"""Running an evaluation over time: parts one after the other, each written while it runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch

from texvlm.bench.machine import load_average, probe_machine
from texvlm.encoders import Encoder, load
from texvlm.encoders.untrained import untrained_vit
from texvlm.evaluation.report import Origin
from texvlm.evaluation.temporal.agreement import run_agreement
from texvlm.evaluation.temporal.clips import Clip, find_clips
from texvlm.evaluation.temporal.contestants import CONTESTANTS
from texvlm.evaluation.temporal.end_to_end import run_end_to_end
from texvlm.evaluation.temporal.markdown import report_text
from texvlm.evaluation.temporal.methods import Methods
from texvlm.evaluation.temporal.pace import run_time
from texvlm.evaluation.temporal.peers import CEILINGS
from texvlm.evaluation.temporal.plots import draw_plots
from texvlm.evaluation.temporal.report import (
    AgreementPart,
    Part,
    TimePart,
    part_path,
    read_part,
    read_parts,
    write_part,
)
from texvlm.evaluation.temporal.settings import LAYOUTS, PARTS, TemporalSettings
from texvlm.files import write_whole

REPORT = "eval-temporal.md"
UNFINISHED = "unfinished"
"""Folder in the results' folder for parts that are under way: a run that was cut off goes on from there."""

QUICK_SIZE = (160, 96)

Tell = Callable[[str, int, int], None]


def run_temporal(
    settings: TemporalSettings,
    out: Path,
    *,
    methods: Methods = CONTESTANTS,
    again: bool = False,
    progress: Tell | None = None,
) -> list[Path]:
    """Run the parts that are asked for and write eval-temporal-PART.json, the plots and eval-temporal.md.

    A part whose result lies in `out` already is not run again, unless it is named in `settings.parts` or
    `again` is set. A part that was cut off goes on after its last clip, where settings and commit are the same.

    Args:
        settings: what to run.
        out: folder of the results; made where it is missing.
        methods: to compare, by name.
        again: run all parts that are asked for.
        progress: told what is under way, how many steps are done, and of how many.
    Returns:
        What was written.
    Raises:
        ValueError: a part, method, clip or layout that does not exist, or no model without `quick`.
        ModelError: the model cannot be used.
        SourceError: no clips where some were asked for.
    """
    settings = settings.sized()
    _check(settings, methods)
    clips = _clips(settings)
    tell = progress or (lambda what, done, total: None)
    wanted = [name for name in PARTS if name in (settings.parts or tuple(PARTS))]
    if not settings.parts and not again:
        wanted = [name for name in wanted if not part_path(out, name).exists()]
    encoder = _model(settings) if set(wanted) - {"end-to-end"} else None
    out.mkdir(parents=True, exist_ok=True)
    threads = torch.get_num_threads()
    torch.set_num_threads(settings.threads or probe_machine().cores)
    try:
        for name in wanted:
            write_part(_run(name, encoder, settings, clips, methods, out, tell), out)
            _forget(name, out)
    finally:
        torch.set_num_threads(threads)
    return [part_path(out, name) for name in wanted] + write_report(out)


def write_report(folder: Path) -> list[Path]:
    """Draw the plots and write the Markdown of the results that lie in a folder."""
    parts = read_parts(folder)
    plots = draw_plots(parts, folder)
    write_whole(folder / REPORT, report_text(parts, plots).encode())
    return [folder / REPORT, *(folder / name for name in plots)]


def _run(
    name: str,
    encoder: Encoder | None,
    settings: TemporalSettings,
    clips: list[Clip],
    methods: Methods,
    out: Path,
    tell: Tell,
) -> Part:
    origin = Origin.now(settings, "random weights" if encoder is None else encoder.name, torch.get_num_threads())
    if name == "end-to-end" or encoder is None:
        guide = None if settings.quick else _model(settings)
        part: Part = run_end_to_end(settings, origin, clips, methods, guide=guide, tell=tell)
        return part.model_copy(update={"load_after": load_average()})

    def save(part: Part) -> None:
        (out / UNFINISHED).mkdir(exist_ok=True)
        write_part(part, out / UNFINISHED)

    before = read_part(part_path(out / UNFINISHED, name), name)
    if before is not None and not _goes_on(before.origin, origin):
        before = None
    if name == "agreement":
        kept = before if isinstance(before, AgreementPart) else None
        compared = {**methods, **CEILINGS}
        return run_agreement(encoder, settings, origin, clips, compared, before=kept, save=save, tell=tell)
    timed = before if isinstance(before, TimePart) else None
    part = run_time(encoder, settings, origin, clips, methods, before=timed, save=save, tell=tell)
    return part.model_copy(update={"load_after": load_average()})


def _goes_on(before: Origin, now: Origin) -> bool:
    """What was measured before is what would be measured now: same settings, and a commit that says all."""
    return (before.settings, before.commit) == (now.settings, now.commit) and not now.commit.endswith("-dirty")


def _forget(name: str, out: Path) -> None:
    """Remove what was kept of a part that is done."""
    part_path(out / UNFINISHED, name).unlink(missing_ok=True)
    if (out / UNFINISHED).is_dir() and not any((out / UNFINISHED).iterdir()):
        (out / UNFINISHED).rmdir()


def _check(settings: TemporalSettings, methods: Methods) -> None:
    for name in settings.parts:
        if name not in PARTS:
            raise ValueError(f"part {name!r}; accepted: {', '.join(PARTS)}")
    for name in settings.layouts:
        if name not in LAYOUTS:
            raise ValueError(f"layout {name!r}; accepted: {', '.join(LAYOUTS)}")
    known = {**methods, **CEILINGS}
    for name in settings.methods:
        if name not in known:
            raise ValueError(f"method {name!r}; accepted: {', '.join(known)}")
    if settings.model is None and not settings.quick and set(settings.parts or PARTS) - {"end-to-end"}:
        raise ValueError("no model is given; name the folder of a pretrained ViT, see docs/evaluation.md")


def _clips(settings: TemporalSettings) -> list[Clip]:
    """Those that are asked for, by name or kind; names also without their ending."""
    size = {"size": QUICK_SIZE} if settings.quick else {}
    clips = find_clips(settings.data, frames=settings.frames, seed=settings.seed, **size)
    for word in settings.clips:
        if not any(_is(clip, word) for clip in clips):
            names = dict.fromkeys([clip.kind for clip in clips] + [clip.name for clip in clips])
            raise ValueError(f"clip {word!r}; accepted: {', '.join(names)}")
    return [clip for clip in clips if not settings.clips or any(_is(clip, word) for word in settings.clips)]


def _is(clip: Clip, word: str) -> bool:
    return word in (clip.name, clip.kind, Path(clip.name).stem)


def _model(settings: TemporalSettings) -> Encoder:
    """The encoder that is asked for, or a tiny one with random weights."""
    if settings.model is not None:
        return load(settings.model)
    return untrained_vit(32, 3, 2, image=64, labels=8, seed=settings.seed)
