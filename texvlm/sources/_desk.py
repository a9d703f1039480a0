"""The operator's desk of the procedural scene.

Lengths are in units of 1/720 of the frame height, so the shot looks the same at every size.
"""

from __future__ import annotations

import math
import re

import numpy as np
from numpy.typing import NDArray

from texvlm.glyphs import ADVANCE
from texvlm.sources._sketch import Colour, Mover, Path, Shot, Sketch, gradient, value_noise


def desk(size: tuple[int, int], width: int, rng: np.random.Generator) -> Shot:
    """A dark screen full of small text: an editor, a chart, a scrolling log, a pointer that wanders."""
    height = size[1]
    s = height / 720
    sketch = Sketch(width, height)
    wall = gradient(height, [(0, (26, 34, 48)), (1, (44, 40, 62))])
    weave = value_noise((height, width), (3 * s, 90 * s), rng, octaves=2)
    sketch.rgb[:] = wall * (0.82 + 0.36 * weave[..., None])
    sketch.alpha[:] = 1
    sketch.glow(0.3 * width, 0, 620 * s, (120, 160, 210), opacity=0.35)
    split, gap = 0.56 * width, 26 * s
    editor = (gap, gap, split, height - gap)
    chart = (split + gap, gap, width - gap, 0.48 * height)
    log = (split + gap, 0.48 * height + gap, width - gap, height - gap)
    for box, title in ((editor, "fovea.py - editor"), (chart, "tokens per frame"), (log, "log")):
        _panel(sketch, s, box, title)
    _code(sketch, s, editor)
    dot = _chart(sketch, s, chart, rng)
    lines = _log_strip(s, log, rng)
    top, bottom = log[1] + 44 * s, log[3] - 12 * s
    row = 18 * s
    scroll = lines.alpha.shape[0] - (bottom - top)
    movers = [
        Mover(
            lines,
            lambda i: (log[0] + 16 * s, top - (i // 6 * row) % max(scroll, 1)),
            (round(log[0]), round(top), round(log[2]), round(bottom)),
        ),
        Mover(_glint(s), dot),
        Mover(_caret(s), lambda i: (editor[0] + 72 * s + 7 * s * (i // 3 % 40), editor[1] + 500 * s)),
        Mover(
            _pointer(s),
            lambda i: (width * (0.45 + 0.33 * math.sin(i / 31)), height * (0.52 + 0.3 * math.sin(i / 19 + 1))),
        ),
    ]
    return Shot(sketch.rgb, movers)


def _panel(sketch: Sketch, s: float, box: tuple[float, float, float, float], title: str) -> None:
    x0, y0, x1, y1 = box
    sketch.rect(x0 - 3 * s, y0 - 1 * s, x1 + 3 * s, y1 + 6 * s, (8, 8, 14), radius=12 * s, opacity=0.45)
    sketch.rect(x0, y0, x1, y1, (30, 33, 43), radius=9 * s)
    sketch.rect(x0, y0, x1, y0 + 32 * s, (48, 52, 66), radius=9 * s)
    sketch.rect(x0, y0 + 20 * s, x1, y0 + 32 * s, (48, 52, 66))
    for k, colour in enumerate(((236, 106, 94), (244, 190, 80), (98, 196, 84))):
        sketch.disc(x0 + (18 + 18 * k) * s, y0 + 16 * s, 5.5 * s, colour)
    sketch.text(title, (x0 + x1) / 2, y0 + 11 * s, max(1, round(1.4 * s)), (190, 196, 210), centre=True)


_CODE = (
    '"""Where the eye rests, pixels matter most."""',
    "",
    "import numpy as np",
    "",
    "def lod(side, patch=16):",
    "    # one output pixel covers one texel",
    "    ratio = np.asarray(side) / patch",
    "    return np.maximum(np.log2(ratio), 0)",
    "",
    "class Fovea:",
    "    def __init__(self, size, tokens=268):",
    "        self.width, self.height = size",
    "        self.tokens = tokens",
    "        self.budget = tokens * 16 * 16",
    "",
    "    def look(self, u, v):",
    "        x = u * self.width",
    "        y = v * self.height",
    "        for ring in range(5):",
    "            step = 16 << ring",
    "            yield x, y, step",
    "",
    "if __name__ == '__main__':",
    "    eye = Fovea((1920, 1080))",
    "    for x, y, step in eye.look(0.5, 0.5):",
    "        print(f'{x:8.1f} {y:8.1f} {step:4d}')",
    "    # 268 tokens, whole frame covered",
)

_TONES: tuple[tuple[str, Colour], ...] = (
    (r"\b\d[\d.]*\b", (226, 164, 100)),
    (r"\b(?:import|as|def|class|return|for|in|if|yield)\b", (198, 130, 214)),
    (r"f?'[^']*'", (150, 196, 130)),
    (r"#.*|\"\"\".*", (116, 156, 112)),
)
"""What is drawn in which colour, later ones over earlier ones."""


def _code(sketch: Sketch, s: float, box: tuple[float, float, float, float]) -> None:
    scale = max(1, round(1.6 * s))
    for number, line in enumerate(_CODE):
        x, y = box[0] + 62 * s, box[1] + (50 + 22.5 * number) * s
        sketch.text(f"{number + 1:3d}", box[0] + 12 * s, y, scale, (92, 98, 114))
        sketch.text(line, x, y, scale, (206, 210, 220))
        for pattern, tone in _TONES:
            for match in re.finditer(pattern, line):
                sketch.text(match[0], x + match.start() * ADVANCE * scale, y, scale, tone)


def _chart(sketch: Sketch, s: float, box: tuple[float, float, float, float], rng: np.random.Generator) -> Path:
    """Axes, bars and a curve; returns the path of a dot that runs along the curve."""
    x0, y0, x1, y1 = box[0] + 56 * s, box[1] + 50 * s, box[2] - 22 * s, box[3] - 34 * s
    small = round(s)
    for k in range(6):
        y = y1 + (y0 - y1) * k / 5
        sketch.rect(x0, y, x1, y + max(s, 1), (58, 62, 76))
        sketch.text(f"{k * 60:4d}", x0 - 36 * s, y - 3 * s, small, (140, 146, 160))
    values: NDArray[np.float64] = 0.45 + 0.3 * np.sin(np.arange(40) / 5.0) + rng.uniform(-0.08, 0.08, 40)
    xs = np.linspace(x0 + 10 * s, x1 - 10 * s, 40)
    ys = y1 + (y0 - y1) * values
    bar = (xs[1] - xs[0]) * 0.32
    for x, y in zip(xs, ys, strict=True):
        sketch.rect(x - bar, y + (y1 - y) * 0.25, x + bar, y1, (58, 96, 138))
    sketch.line(list(zip(xs, ys, strict=True)), 2.4 * s, (244, 176, 84))
    for k in range(0, 40, 8):
        sketch.text(f"{k}s", xs[k], y1 + 10 * s, small, (140, 146, 160), centre=True)

    def path(index: int) -> tuple[float, float]:
        at = index * 0.22 % 39
        k, part = int(at), at % 1
        x, y = xs[k] + part * (xs[k + 1] - xs[k]), ys[k] + part * (ys[k + 1] - ys[k])
        return float(x - 8 * s), float(y - 8 * s)

    return path


def _log_strip(s: float, box: tuple[float, float, float, float], rng: np.random.Generator) -> Sketch:
    """Sixty lines of a log, to be scrolled past its panel."""
    scale = max(1, round(1.2 * s))
    strip = Sketch(max(1, round(box[2] - box[0] - 24 * s)), round(60 * 18 * s))
    for line in range(60):
        moved = int(rng.integers(0, 268))
        text = f"{12 + line // 60:02d}:{line % 60:02d} frame {line * 7 + 100:05d} dirty {moved:3d} tokens "
        tone: Colour = (240, 120, 100) if moved > 240 else (150, 204, 160) if moved < 40 else (186, 192, 204)
        sketch_y = line * 18 * s + 4 * s
        strip.text(text + ("RESAMPLED" if moved > 240 else "ok"), 2 * s, sketch_y, scale, tone)
    return strip


def _glint(s: float) -> Sketch:
    glint = Sketch(round(16 * s) + 1, round(16 * s) + 1)
    glint.disc(8 * s, 8 * s, 7.5 * s, (255, 236, 190), opacity=0.4)
    glint.disc(8 * s, 8 * s, 4.5 * s, (255, 250, 236))
    return glint


def _caret(s: float) -> Sketch:
    caret = Sketch(max(2, round(2 * s)), max(3, round(16 * s)))
    caret.rect(0, 0, 4 * s, 20 * s, (240, 240, 250))
    return caret


def _pointer(s: float) -> Sketch:
    pointer = Sketch(round(20 * s) + 1, round(28 * s) + 1)
    for inset, colour in ((0.0, (16.0, 16.0, 20.0)), (1.6, (246.0, 246.0, 250.0))):
        i = inset * s
        pointer.polygon(
            [(1 * s + i, 1 * s + 2 * i), (18 * s - 1.6 * i, 18 * s - i), (1 * s + i, 24 * s - 2 * i)], colour
        )
    return pointer
