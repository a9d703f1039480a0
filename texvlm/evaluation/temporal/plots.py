"""Plots of an evaluation over time, as PNG files without a date in them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from texvlm.evaluation.temporal.goals import MEAN, TIME_SAVED
from texvlm.evaluation.temporal.report import AgreementPart, EndToEndPart, Part, TimePart

DPI = 110
COLUMNS = 3
LEAST_SHOWN = 0.8
"""Cosines below it lie on the lower edge of their plot."""


def draw_plots(parts: Mapping[str, Part], folder: Path) -> list[str]:
    """Draw the plots of every part; returns their file names.

    Raises:
        ImportError: matplotlib is not installed.
    """
    return [name for part in parts.values() for name in _draw(part, folder)]


def _draw(part: Part, folder: Path) -> list[str]:
    if not part.rows:
        return []
    if isinstance(part, AgreementPart):
        return [_agreement(part, folder)]
    if isinstance(part, TimePart):
        return [_time(part, folder)]
    return [_end_to_end(part, folder)]


def _save(
    folder: Path, name: str, size: tuple[float, float], grid: tuple[int, int], draw: Callable[[Any, Any], None]
) -> str:
    from matplotlib.figure import Figure  # not pyplot: no window system, no state

    figure = Figure(figsize=size)
    draw(figure, figure.subplots(*grid, squeeze=False).ravel())
    figure.tight_layout()
    figure.savefig(folder / name, dpi=DPI, metadata={"Software": None})
    return name


def _agreement(part: AgreementPart, folder: Path) -> str:
    """Class-token cosine over time, a plot a clip."""
    layout = part.rows[0].layout
    own = [row for row in part.rows if row.layout == layout]
    clips = list(dict.fromkeys(row.clip for row in own))
    lines = -(-len(clips) // COLUMNS)

    def draw(figure: Any, axes: Any) -> None:
        for axis, clip in zip(axes, clips, strict=False):
            for row in (row for row in own if row.clip == clip):
                shown = [max(value, LEAST_SHOWN) for value in row.curves.class_cosine]
                axis.plot(range(1, len(shown) + 1), shown, label=row.method, linewidth=1)
            axis.axhline(MEAN, color="gray", linestyle=":", linewidth=1)
            axis.set(title=clip, ylim=(LEAST_SHOWN - 0.005, 1.003))
            axis.title.set_fontsize(8)
            axis.tick_params(labelsize=7)
        for axis in axes[len(clips) :]:
            axis.set_axis_off()
        axes[0].legend(fontsize=6, loc="lower left")
        axes[0].set(ylabel="cosine of class tokens", xlabel=f"frame ({layout})")

    return _save(folder, "eval-temporal-agreement.png", (12, 2.3 * lines + 0.3), (lines, COLUMNS), draw)


def _time(part: TimePart, folder: Path) -> str:
    """Time saved against work saved, a plot a model and number of sources; the line is where both are equal."""
    runs = list(dict.fromkeys((row.model, row.sources) for row in part.rows))

    def draw(figure: Any, axes: Any) -> None:
        for axis, (model, sources) in zip(axes, runs, strict=True):
            own = [row for row in part.rows if (row.model, row.sources) == (model, sources)]
            for method in dict.fromkeys(row.method for row in own):
                points = [(row.work_saved, row.saved) for row in own if row.method == method]
                axis.scatter(*zip(*points, strict=True), label=method, s=18, alpha=0.8)
            ends = [min(row.saved for row in own), max(max(row.work_saved, row.saved) for row in own)]
            axis.plot(ends, ends, color="gray", linestyle=":", linewidth=1)
            for goal in sorted(set(TIME_SAVED.values())):
                axis.axhline(goal, color="gray", linewidth=0.4)
            axis.set(xscale="log", yscale="log", xlabel="multiply-adds saved", ylabel="time saved")
            for spine in (axis.xaxis, axis.yaxis):
                spine.set_major_formatter(lambda value, _: f"{value:g}x")
                spine.set_minor_formatter(lambda value, _: "")
            axis.set_title(f"{model}, {sources} source{'s' * (sources != 1)}", fontsize=9)
        axes[0].legend(fontsize=7)

    return _save(folder, "eval-temporal-time.png", (4.2 * len(runs), 4), (1, len(runs)), draw)


def _end_to_end(part: EndToEndPart, folder: Path) -> str:
    """How much faster than dense, a bar a method and clip."""

    def draw(figure: Any, axes: Any) -> None:
        names = [f"{row.method}, {row.clip}" for row in part.rows][::-1]
        axes[0].barh(names, [row.faster_than_dense for row in part.rows][::-1], color="tab:blue", alpha=0.7)
        axes[0].set(xlabel="faster than the dense way")
        axes[0].tick_params(axis="y", labelsize=7)

    return _save(folder, "eval-temporal-end-to-end.png", (8, 0.28 * len(part.rows) + 1), (1, 1), draw)
