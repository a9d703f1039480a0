"""A strip over time: what changed, what was encoded, what moved, at which level, how old, how far off.

Time runs to the right. Pictures are samples: each stands over the slot of frames that it is the middle of, and
shows what changed or was encoded in that slot, the brighter the more often. Curves have every frame. NumPy only.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from texvlm.drawing.pictures import FAINT_INK, INK, Image
from texvlm.drawing.strip import (
    BLUE,
    GREEN,
    LETTER,
    MARGIN,
    ORANGE,
    PAD,
    PURPLE,
    SKY,
    VERMILLION,
    YELLOW,
    Colour,
    blank_row,
    draw_bars,
    draw_dashes,
    draw_frame,
    draw_line,
    draw_words,
    nice_step,
    plot_box,
    round_top,
    slot_of,
)
from texvlm.drawing.timeline_pictures import picture_rows
from texvlm.glyphs import draw_text, text_size
from texvlm.motion.field import MotionField
from texvlm.regions import TileMask

LEVEL_COLOURS: dict[str, Colour] = {"L0": VERMILLION, "L1": SKY, "L2": GREEN, "L3": PURPLE}
OTHER_COLOURS: tuple[Colour, ...] = (YELLOW, BLUE, (150, 150, 150), (225, 225, 225))
TRANSITION_COLOURS: dict[str, Colour] = {"cut": VERMILLION, "dissolve": PURPLE, "flash": YELLOW}
OTHER_TRANSITION: Colour = SKY

CURVE_HEIGHT = 64
LEVEL_HEIGHT = 18


@dataclass(frozen=True, slots=True, eq=False)
class TimelineFrame:
    """One frame of a strip; None where something is not known, and its row stays empty.

    Attributes:
        time_s: when it is shown; None for equal steps.
        picture: the frame, (height, width, 1, 3 or 4), uint8 or float32 in 0..1, any size; only some of them are drawn.
        size: (width, height) of the frame, texels; that of `picture` by default.
        tiles: bool, (rows, columns), 16-texel tiles that changed.
        encoded: bool, (rows, columns) over the frame, any shape: where tokens were encoded (see
            `texvlm.temporal.token_cells`).
        motion: backward flow against the frame before.
        level: "L0" to "L3", or any other word.
        transition: "cut", "dissolve", "fade_in", "fade_out", "flash"; empty for none.
        tokens: of the frame.
        encoded_tokens: of them.
        mean_age, max_age: of its tokens, frames.
        deviation: largest one of a reused token, of full scale.
        bound: what it may be.
        spent_ms: time that the frame took.
        fell_back: a full frame was encoded because something failed.
    """

    time_s: float | None = None
    picture: NDArray[np.generic] | None = None
    size: tuple[int, int] | None = None
    tiles: TileMask | None = None
    encoded: NDArray[np.bool_] | None = None
    motion: MotionField | None = None
    level: str = ""
    transition: str = ""
    tokens: int | None = None
    encoded_tokens: int | None = None
    mean_age: float | None = None
    max_age: float | None = None
    deviation: float | None = None
    bound: float | None = None
    spent_ms: float | None = None
    fell_back: bool = False


def draw_timeline(frames: Sequence[TimelineFrame], *, title: str = "", width: int = 1920) -> Image:
    """The strip of a sequence of frames, (height, width, 3).

    Rows for which no frame knows anything are left out.

    Args:
        frames: one or more, in order of time.
        title: what is shown, ASCII.
        width: pixels, 640 or more.
    Raises:
        ValueError: no frame, or too narrow.
    """
    if not frames:
        raise ValueError("a timeline of no frames; give one or more")
    if width < 640:
        raise ValueError(f"timeline of {width} pixels; accepted: 640 or more")
    strips = [_heading(frames, title, width)]
    strips += picture_rows(frames, width)
    plots = [_levels(frames, width), *_curve_rows(frames, width), _axis(frames, width)]
    plot = np.concatenate([part for part in plots if part is not None])
    _mark_transitions(plot, frames, width)
    return np.concatenate([*strips, _transition_words(frames, width), plot])


# ------------------------------------------------------------------ words


def _known(values: Sequence[float | int | None]) -> NDArray[np.float64]:
    return np.array([math.nan if value is None else value for value in values], np.float64)


def _heading(frames: Sequence[TimelineFrame], title: str, width: int) -> Image:
    """Title, and the sequence in numbers."""
    facts = [f"{len(frames)} frames"]
    start, end = frames[0].time_s, frames[-1].time_s
    if start is not None and end is not None:
        facts[0] += f", {end - start:.1f} s"
    tokens, encoded = (_known([getattr(f, name) for f in frames]) for name in ("tokens", "encoded_tokens"))
    both = ~np.isnan(tokens + encoded)
    if both.any() and tokens[both].sum() > 0:
        facts.append(f"tokens encoded {100 * encoded[both].sum() / tokens[both].sum():.1f} %")
    deviation, age, spent = (
        _known([getattr(f, name) for f in frames]) for name in ("deviation", "max_age", "spent_ms")
    )
    if not np.isnan(deviation).all():
        facts.append(f"largest deviation {255 * np.nanmax(deviation):.2f}/255")
    if not np.isnan(age).all():
        facts.append(f"oldest token {np.nanmax(age):.0f} frames")
    if not np.isnan(spent).all():
        facts.append(f"{np.nanmedian(spent):.1f} ms a frame (median; {np.nanmax(spent):.1f} the slowest)")
    if any(frame.fell_back for frame in frames):
        facts.append(f"fallbacks {sum(frame.fell_back for frame in frames)}")
    image = blank_row(2 * PAD + 2 * LETTER + 16 + PAD, width)
    draw_text(image, title or "timeline", (PAD, PAD), 2, INK)
    draw_text(image, "   ".join(facts), (PAD, 2 * PAD + 2 * LETTER), 1, FAINT_INK)
    return image


# ------------------------------------------------------------------ plots


def _levels(frames: Sequence[TimelineFrame], width: int) -> Image | None:
    """One coloured slot for each frame; under it what the colours mean."""
    names = sorted({frame.level for frame in frames if frame.level})
    if not names:
        return None
    others = [name for name in names if name not in LEVEL_COLOURS]
    colours = LEVEL_COLOURS | {name: OTHER_COLOURS[k % len(OTHER_COLOURS)] for k, name in enumerate(others)}
    image = blank_row(LEVEL_HEIGHT + LETTER + 2 * PAD, width)
    box = plot_box(LEVEL_HEIGHT, width)
    draw_words(image, "level")
    for k, frame in enumerate(frames):
        left, right = slot_of(k, len(frames), box)
        if frame.level:
            image[box.top : box.top + box.height, left:right] = colours[frame.level]
        if frame.fell_back:  # a notch, wide enough to be seen
            image[box.top : box.top + box.height // 2, left : max(right, left + 3)] = INK
    x = box.left
    entries = [(f"{name} {sum(f.level == name for f in frames)}", colours[name]) for name in names]
    if any(frame.fell_back for frame in frames):
        entries.append((f"fallbacks {sum(f.fell_back for f in frames)}", INK))
    for text, colour in entries:
        y = box.top + box.height + 5
        image[y : y + LETTER, x : x + LETTER] = colour
        draw_text(image, text, (x + LETTER + 5, y), 1, FAINT_INK)
        x += LETTER + 5 + text_size(text)[0] + 18
    return image


def _curve_rows(frames: Sequence[TimelineFrame], width: int) -> list[Image]:
    """Tokens, deviation, ages, time."""
    rows = []

    def values(name: str) -> NDArray[np.float64]:
        return _known([getattr(frame, name) for frame in frames])

    tokens, encoded = values("tokens"), values("encoded_tokens")
    if not np.isnan(encoded).all():
        top = round_top(np.concatenate([tokens, encoded]))
        lines = [("of all", tokens, FAINT_INK)] if not np.isnan(tokens).all() else []
        rows.append(_curves("tokens encoded", width, top, f"{top:g}", bars=("encoded", encoded, SKY), lines=lines))
    deviation, bound = 255 * values("deviation"), 255 * values("bound")
    if not np.isnan(deviation).all():
        top = round_top(1.1 * np.concatenate([deviation, bound]))
        level = None if np.isnan(bound).all() else ("bound", float(np.nanmax(bound)), VERMILLION)
        rows.append(
            _curves("deviation", width, top, f"{top:g}/255", bars=("largest", deviation, ORANGE), lines=[], level=level)
        )
    oldest, mean = values("max_age"), values("mean_age")
    if not (np.isnan(oldest) & np.isnan(mean)).all():
        top = round_top(np.concatenate([oldest, mean]))
        named = [("oldest", oldest, PURPLE), ("mean", mean, GREEN)]
        rows.append(
            _curves("age", width, top, f"{top:g} frames", lines=[line for line in named if not np.isnan(line[1]).all()])
        )
    spent = values("spent_ms")
    if not np.isnan(spent).all():
        # one slow frame (the first, where code is compiled) would flatten all others
        top = round_top([min(float(np.nanmax(spent)), 3 * float(np.nanpercentile(spent, 95)))])
        rows.append(_curves("time", width, top, f"{top:g} ms", lines=[("a frame", np.minimum(spent, top), YELLOW)]))
    return rows


def _curves(
    title: str,
    width: int,
    top: float,
    scale: str,
    *,
    lines: Sequence[tuple[str, NDArray[np.float64], Colour]],
    bars: tuple[str, NDArray[np.float64], Colour] | None = None,
    level: tuple[str, float, Colour] | None = None,
) -> Image:
    """One plot with its words."""
    image = blank_row(CURVE_HEIGHT + PAD, width)
    box = plot_box(CURVE_HEIGHT, width)
    draw_frame(image, box)
    if bars is not None:
        draw_bars(image, bars[1], box, top=top, colour=bars[2])
    for _, values, colour in lines:
        draw_line(image, values, box, top=top, colour=colour)
    if level is not None:
        draw_dashes(image, level[1], box, top=top, colour=level[2])
    named = [entry for entry in (bars, *lines, level) if entry is not None]
    draw_words(image, title, [(entry[0], entry[2]) for entry in named], scale=scale, top=box.top - 2)
    draw_text(image, "0", (width - MARGIN + 6, box.top + box.height - LETTER), 1, FAINT_INK)
    return image


def _transition_words(frames: Sequence[TimelineFrame], width: int) -> Image:
    """Names of cuts and other transitions over their first frames, where there is room."""
    found = _transitions(frames)
    if not found:
        return blank_row(PAD, width)
    image = blank_row(LETTER + PAD, width)
    box = plot_box(1, width)
    draw_words(image, "transitions", top=1)
    free = box.left
    for frame, name, colour in found:
        left, right = slot_of(frame, len(frames), box)
        x = max((left + right - text_size(name)[0]) // 2, box.left)
        if x >= free:
            draw_text(image, name, (x, 3), 1, colour)
            free = x + text_size(name)[0] + 8
    return image


def _mark_transitions(image: Image, frames: Sequence[TimelineFrame], width: int) -> None:
    """A line through all plots at the first frame of each transition, in place."""
    for frame, _, colour in _transitions(frames):
        left, _ = slot_of(frame, len(frames), plot_box(1, width))
        image[: -(LETTER + PAD), left] = colour


def _transitions(frames: Sequence[TimelineFrame]) -> list[tuple[int, str, Colour]]:
    """First frame, name and colour of each; a run of frames of one name is one transition, but for cuts."""
    found = []
    for k, frame in enumerate(frames):
        name = frame.transition
        if name and (name == "cut" or k == 0 or frames[k - 1].transition != name):
            found.append((k, name.replace("_", " "), TRANSITION_COLOURS.get(name, OTHER_TRANSITION)))
    return found


def _axis(frames: Sequence[TimelineFrame], width: int) -> Image:
    """Seconds where every frame knows its time and they grow, frame numbers otherwise."""
    image = blank_row(LETTER + PAD, width)
    box = plot_box(1, width)
    times = _known([frame.time_s for frame in frames])
    timed = len(frames) > 1 and not np.isnan(times).any() and bool((np.diff(times) > 0).all())
    places = times - times[0] if timed else np.arange(len(frames), dtype=np.float64)
    draw_text(image, "seconds" if timed else "frame", (PAD, 4), 1, INK)
    step = nice_step(max(float(places[-1]), 1e-3 if timed else 1.0), most=max(box.width // 90, 1))
    for k in range(math.floor(float(places[-1]) / step + 1e-6) + 1):
        frame = int(np.searchsorted(places, k * step - 1e-9))
        left, right = slot_of(min(frame, len(frames) - 1), len(frames), box)
        text = f"{k * step:g}"
        x = (left + right) // 2
        image[:3, x] = FAINT_INK
        draw_text(image, text, (x - text_size(text)[0] // 2, 5), 1, FAINT_INK)
    return image
