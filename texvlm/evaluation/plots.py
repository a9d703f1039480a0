"""Plots of an evaluation, one or two a part, as PNG files without a date in them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from texvlm.evaluation.report import AgreementPart, CostPart, FinetunePart, FoveationPart, Part, PicturesPart

DPI = 110


def draw_plots(parts: Mapping[str, Part], folder: Path) -> list[str]:
    """Draw the plots of every part; returns their file names.

    Raises:
        ImportError: matplotlib is not installed.
    """
    return [name for part in parts.values() for name in _draw(part, folder)]


def _draw(part: Part, folder: Path) -> list[str]:
    if isinstance(part, FoveationPart):
        return [_save(folder, "eval-foveation.png", (11, 4), 2, lambda axes: _foveation(part, axes))]
    if isinstance(part, AgreementPart):
        return [_save(folder, "eval-agreement.png", (11, 4), 2, lambda axes: _agreement(part, axes))]
    if isinstance(part, PicturesPart):
        return [_save(folder, "eval-pictures.png", (11, 4), 2, lambda axes: _pictures(part, axes))]
    if isinstance(part, CostPart):
        return [_save(folder, "eval-cost.png", (6, 4), 1, lambda axes: _cost(part, axes[0]))]
    if isinstance(part, FinetunePart):
        return [_save(folder, "eval-finetune.png", (6, 3.5), 1, lambda axes: _finetune(part, axes[0]))]
    return []


def _save(folder: Path, name: str, size: tuple[float, float], columns: int, draw: Callable[[Any], None]) -> str:
    from matplotlib.figure import Figure  # not pyplot: no window system, no state

    figure = Figure(figsize=size)
    draw(figure.subplots(1, columns, squeeze=False)[0])
    figure.tight_layout()
    figure.savefig(folder / name, dpi=DPI, metadata={"Software": None})
    return name


def _ticks(axes: Any, places: Sequence[float]) -> None:
    """Plain numbers on a logarithmic axis, at these places only."""
    axes.set_xticks(places, [f"{place:g}" for place in places])
    axes.set_xticks([], minor=True)


def _foveation(part: FoveationPart, axes: Any) -> None:
    """Accuracy by size of the target, and of every method with its interval; generated frames, box means."""
    own = [r for r in part.readings if r.test == "generated" and r.readout == part.readings[0].readout]
    for reading in own:
        if reading.fixation == "near" or reading.positions == "centred":
            continue
        middles = [(b.least * b.most) ** 0.5 for b in reading.by_size]
        style = {"on": "o-", "away": "x:"}[reading.fixation]
        axes[0].plot(middles, [b.right for b in reading.by_size], style, label=reading.method, alpha=0.85)
    axes[0].axhline(part.chance, color="gray", linestyle=":")
    axes[0].set(xscale="log", xlabel="side of the target, texels", ylabel="accuracy of the probe", ylim=(0, 1.02))
    _ticks(axes[0], [own[0].by_size[0].least, *(size.most for size in own[0].by_size)])
    axes[0].set_title(f"what a probe reads ({own[0].readout})")
    axes[0].legend(fontsize=7)
    names = [f"{r.method} ({r.tokens})" for r in own][::-1]
    values = [r.accuracy for r in own][::-1]
    errors = [[s.value - s.low for s in values], [s.high - s.value for s in values]]
    axes[1].barh(names, [s.value for s in values], xerr=errors, color="tab:blue", alpha=0.7, capsize=2)
    axes[1].axvline(part.chance, color="gray", linestyle=":")
    axes[1].set(xlim=(0, 1.02), xlabel="accuracy, 95 % interval")
    axes[1].tick_params(axis="y", labelsize=7)


def _agreement(part: AgreementPart, axes: Any) -> None:
    """Against the token count for each layout, and against e2."""
    own = [row for row in part.rows if row.readout == "region token"]
    counts = [row for row in own if row.e2_deg in (None, 2.0)]
    for layout in dict.fromkeys(row.layout for row in counts):
        points = sorted((row.tokens, row.agreement.value) for row in counts if row.layout == layout)
        axes[0].plot(*zip(*points, strict=True), "o-", label=layout, alpha=0.85)
    axes[0].set(xscale="log", xlabel="tokens", ylabel="top-5 agreement with the crop", ylim=(0, 1.02))
    ticks = sorted(
        {64, 128, 256, 512, 1024, 4096} if max(row.tokens for row in counts) > 100 else {row.tokens for row in own}
    )
    _ticks(axes[0], ticks)
    axes[0].set_title("read near the fixation, by token count")
    axes[0].legend(fontsize=7)
    budget = next((row.tokens for row in own if row.e2_deg not in (None, 2.0)), None)
    line = sorted((row.e2_deg or 0.0, row.agreement.value, row.agreement.low, row.agreement.high) for row in own
                  if row.layout == "quadtree" and row.tokens == budget)  # fmt: skip
    if line:
        e2, value, low, high = (list(column) for column in zip(*line, strict=True))
        errors = [[v - b for v, b in zip(value, low, strict=True)], [t - v for v, t in zip(value, high, strict=True)]]
        axes[1].errorbar(e2, value, yerr=errors, fmt="o-", capsize=2)
    axes[1].set(xscale="log", xlabel="e2, degrees", ylim=(0, 1.02))
    _ticks(axes[1], [row[0] for row in line])
    axes[1].set_title(f"quadtree, {budget} tokens, by e2")


def _pictures(part: PicturesPart, axes: Any) -> None:
    """PSNR and SSIM by eccentricity."""
    names = [f"{band.least_deg:g}-{band.most_deg:g}" for band in part.rows[0].bands]
    for row in part.rows:
        style = "s--" if row.layout.startswith("uniform") else "o-" if row.layout.startswith("quadtree") else "x:"
        axes[0].plot(names, [float("nan") if b.psnr is None else b.psnr for b in row.bands], style, label=row.layout)
        axes[1].plot(names, [float("nan") if b.ssim is None else b.ssim for b in row.bands], style, label=row.layout)
    axes[0].set(xlabel="eccentricity, degrees", ylabel="PSNR, dB", yscale="linear")
    axes[1].set(xlabel="eccentricity, degrees", ylabel="SSIM", ylim=(0, 1.02))
    axes[1].legend(fontsize=7)


def _cost(part: CostPart, axes: Any) -> None:
    """Time of a forward pass against tokens."""
    for model in dict.fromkeys(row.model for row in part.encoders):
        for batch, style in ((1, "o-"), (16, "x:")):
            line = [(row.tokens, row.ms.median_ms / batch) for row in part.encoders
                    if row.model == model and row.batch == batch and row.ms is not None]  # fmt: skip
            if line:
                axes.plot(*zip(*line, strict=True), style, label=f"{model}, batch {batch}")
    axes.set(xscale="log", yscale="log", xlabel="tokens", ylabel="ms a view")
    _ticks(axes, sorted({row.tokens for row in part.encoders}))
    axes.set_title("one forward pass")
    axes.legend(fontsize=7)


def _finetune(part: FinetunePart, axes: Any) -> None:
    """Before and after."""
    names = [f"{row.method} ({row.tokens})" for row in part.rows]
    for shift, label, values in (
        (-0.2, "frozen", [row.frozen for row in part.rows]),
        (0.2, "tuned", [row.tuned for row in part.rows]),
    ):
        errors = [[s.value - s.low for s in values], [s.high - s.value for s in values]]
        places = [index + shift for index in range(len(names))]
        axes.bar(places, [s.value for s in values], 0.4, yerr=errors, label=label, capsize=2)
    axes.set_xticks(range(len(names)), names, fontsize=8)
    axes.set(ylabel="accuracy, 95 % interval", ylim=(0, 1.02))
    axes.legend()
