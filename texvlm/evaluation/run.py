"""Running an evaluation: its parts one after the other, each written when it is done."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch

from texvlm.bench.machine import probe_machine
from texvlm.encoders import Encoder, load
from texvlm.encoders.untrained import untrained_vit
from texvlm.evaluation.agreement import run_agreement
from texvlm.evaluation.cost import run_cost
from texvlm.evaluation.fidelity import run_pictures
from texvlm.evaluation.finetune import run_finetune
from texvlm.evaluation.foveation import Picture, Tell, run_foveation
from texvlm.evaluation.markdown import report_text
from texvlm.evaluation.planted import load_photos
from texvlm.evaluation.plots import draw_plots
from texvlm.evaluation.report import Origin, Part, part_path, read_parts, write_part
from texvlm.evaluation.settings import PARTS, EvalSettings
from texvlm.evaluation.store import FeatureStore
from texvlm.files import write_whole

REPORT = "eval.md"


def run_evaluation(
    settings: EvalSettings,
    out: Path,
    *,
    cache: Path | None = None,
    again: bool = False,
    progress: Callable[[str, int, int], None] | None = None,
) -> list[Path]:
    """Run the parts that are asked for and write eval-PART.json, the plots and eval.md.

    A part whose result lies in `out` already is not run again, unless it is named in `settings.parts` or
    `again` is set; features are kept in `cache`, so that a run which was cut off goes on.

    Args:
        settings: what to run.
        out: folder of the results; made where it is missing.
        cache: folder of features; None keeps none.
        again: run all parts that are asked for.
        progress: told what is under way, how many steps are done, and of how many.
    Returns:
        What was written.
    Raises:
        ValueError: a part that does not exist, or no model without `quick`.
        ModelError: the model cannot be used.
        SourceError: no photos where some were asked for.
    """
    settings = settings.sized()
    _check(settings)
    tell = progress or (lambda what, done, total: None)
    out.mkdir(parents=True, exist_ok=True)
    wanted = [name for name in PARTS if name in (settings.parts or tuple(PARTS))]
    if not settings.parts and not again:
        wanted = [name for name in wanted if not part_path(out, name).exists()]
    encoder = _model(settings) if set(wanted) - {"pictures", "cost"} else None
    photos = {} if settings.data is None else load_photos(settings.data / "photos")
    threads = torch.get_num_threads()
    torch.set_num_threads(settings.threads or probe_machine().cores)
    try:
        for name in wanted:
            write_part(_run(name, encoder, settings, cache, photos, tell), out)
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
    settings: EvalSettings,
    cache: Path | None,
    photos: dict[str, Picture],
    tell: Tell,
) -> Part:
    label = "no model" if name == "pictures" else "random weights" if encoder is None else encoder.name
    origin = Origin.now(settings, label, torch.get_num_threads())
    if name == "pictures":
        return run_pictures(settings, origin, photos, tell=tell)
    if name == "cost" or encoder is None:
        return run_cost(settings, origin.model_copy(update={"model": "random weights"}), tell=tell)
    parts: dict[str, Callable[..., Part]] = {
        "foveation": run_foveation,
        "finetune": run_finetune,
        "agreement": run_agreement,
    }
    return parts[name](encoder, settings, FeatureStore(cache, encoder), origin, photos, tell=tell)


def _check(settings: EvalSettings) -> None:
    for name in settings.parts:
        if name not in PARTS:
            raise ValueError(f"part {name!r}; accepted: {', '.join(PARTS)}")
    if settings.model is None and not settings.quick and set(settings.parts or PARTS) - {"pictures", "cost"}:
        raise ValueError(
            "no model is given; name the folder of a pretrained ViT with a classifier, see docs/evaluation.md"
        )


def _model(settings: EvalSettings) -> Encoder:
    """The encoder that is asked for, or a tiny one with random weights."""
    if settings.model is not None:
        return load(settings.model)
    return untrained_vit(32, 3, 2, image=64, labels=8, seed=settings.seed)
