"""The street at dusk of the procedural scene.

Lengths are in units of 1/720 of the frame height, so the shot looks the same at every size.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from texvlm.glyphs import ADVANCE
from texvlm.sources._sketch import Colour, Image, Mover, Path, Shot, Sketch, gradient, value_noise


def street(size: tuple[int, int], width: int, rng: np.random.Generator) -> Shot:
    """Dusk over a row of shops: signs with small text, traffic at several speeds, a scrolling sign.

    Args:
        size: (width, height) of a frame, texels.
        width: width of the background, texels; wider than the frame when the camera pans.
        rng: what varies with the seed.
    """
    height = size[1]
    s = height / 720
    sketch = Sketch(width, height)
    sky = gradient(
        height,
        [(0, (34, 44, 92)), (0.3, (106, 92, 150)), (0.5, (236, 150, 118)), (0.62, (252, 204, 146)), (1, (70, 70, 80))],
    )
    clouds = np.clip(value_noise((height, width), (260 * s, 60 * s), rng, octaves=5) * 2.6 - 1.15, 0, 1)
    sketch.rgb[:] = sky + clouds[..., None] * np.float32(0.5) * (np.asarray((255, 214, 196), np.float32) - sky)
    sketch.alpha[:] = 1
    sketch.glow(0.615 * size[0], 290 * s, 300 * s, (255, 226, 160), opacity=0.7)
    sketch.disc(0.615 * size[0], 290 * s, 34 * s, (255, 242, 206))
    _skyline(sketch, s, rng, base=430 * s, tall=(70, 210), colour=(104, 92, 132), lit=0.10, step=58)
    _skyline(sketch, s, rng, base=450 * s, tall=(40, 150), colour=(62, 58, 88), lit=0.3, step=76)
    _shops(sketch, s, rng)
    _road(sketch, s, rng)

    ticker = "  ***  TEXVLM HARBOUR LINE 12  NEXT: OLD TOWN 2 MIN  -  MARKET SQ 7 MIN  -  LAST BOAT 23:40"
    scale = max(1, round(2.2 * s))
    strip = Sketch(len(ticker) * ADVANCE * scale, 7 * scale)
    strip.text(ticker, 0, 0, scale, (255, 176, 60))
    board = tuple(round(v * s) for v in _BOARD)
    movers = [
        Mover(_balloon(s), lambda i: (0.16 * size[0] + 0.35 * s * i, (70 + 16 * math.sin(i / 40)) * s)),
        Mover(_bird(s), _across(width, 26 * s, 7.5 * s, 0.35, lambda i: (150 + 22 * math.sin(i / 9)) * s)),
        Mover(
            strip,
            lambda i: (
                board[2] - (1.6 * s * i + 0.55 * (board[2] - board[0])) % (strip.alpha.shape[1] + board[2] - board[0]),
                board[1] + (board[3] - board[1] - 7 * scale) / 2,
            ),
            (board[0], board[1], board[2], board[3]),
        ),
        Mover(_bus(s), _across(width, 250 * s, -1.5 * s, 0.86, lambda i: 541 * s)),
        Mover(_car(s, (196, 52, 44)), _across(width, 132 * s, 4.2 * s, 0.22, lambda i: 632 * s)),
        Mover(_car(s, (52, 104, 176)), _across(width, 132 * s, 6.5 * s, 0.66, lambda i: 636 * s)),
        Mover(_ball(s), _across(width, 26 * s, 2.6 * s, 0.45, lambda i: (590 - 90 * abs(math.sin(i / 9))) * s)),
    ]
    return Shot(sketch.rgb, movers)


_BOARD = (640, 392, 990, 420)
"""The scrolling sign of the street: x0, y0, x1, y1."""


def _across(width: float, own: float, speed: float, phase: float, y: Callable[[int], float]) -> Path:
    """Left to right (or back, below 0) for ever: leaves on one side and comes in on the other."""
    span = width + own

    def path(index: int) -> tuple[float, float]:
        return (phase * width + own + speed * index) % span - own, y(index)

    return path


def _skyline(
    sketch: Sketch,
    s: float,
    rng: np.random.Generator,
    *,
    base: float,
    tall: tuple[int, int],
    colour: Colour,
    lit: float,
    step: int,
) -> None:
    x, width = -20 * s, sketch.alpha.shape[1]
    while x < width:
        w, h = step * s * rng.uniform(0.6, 1.3), s * rng.uniform(*tall)
        tint = rng.uniform(0.88, 1.1)
        sketch.rect(x, base - h, x + w, base + 10 * s, (colour[0] * tint, colour[1] * tint, colour[2] * tint))
        if rng.random() < 0.3:
            sketch.rect(x + w / 2 - s, base - h - 26 * s, x + w / 2 + s, base - h, colour)
        for wy in np.arange(base - h + 8 * s, base - 6 * s, 11 * s):
            for wx in np.arange(x + 6 * s, x + w - 8 * s, 9 * s):
                if rng.random() < lit:
                    sketch.rect(wx, wy, wx + 4 * s, wy + 6 * s, (255, 214, 140), opacity=rng.uniform(0.5, 0.95))
        x += w + s * rng.uniform(0, 6)


_SHOPS = (
    ("CAFE LUMEN", "coffee & cake 7-19", (150, 74, 58), (250, 238, 214)),
    ("BOOKS & MAPS", "new: Atlas of Light", (74, 96, 84), (244, 226, 170)),
    ("PHARMACY 24H", "flu shots: ring bell", (206, 200, 186), (110, 226, 150)),
    ("MARKET HALL", "fish bread fruit", (128, 92, 66), (255, 240, 210)),
    ("CINE FOVEA", "tonight 20:15: REAR WINDOW", (78, 62, 92), (255, 206, 120)),
    ("BIKE REPAIR", "tubes 5.90 - while you wait", (92, 108, 128), (236, 240, 244)),
)
"""Name, small print, wall colour and sign colour of each shop, left to right."""


def _shops(sketch: Sketch, s: float, rng: np.random.Generator) -> None:
    width, top, foot = sketch.alpha.shape[1], 386 * s, 560 * s
    bricks = _bricks((round(foot) - round(top), width), s, rng)
    x, index = 0.0, 0
    while x < width:
        name, print_, wall, sign = _SHOPS[index % len(_SHOPS)]
        w = 232 * s
        sketch.rect(x, top, x + w, foot, wall)
        sketch.rect(x, top, x + w, top + 6 * s, (wall[0] * 0.6, wall[1] * 0.6, wall[2] * 0.6))
        x += w
        index += 1
    sketch.shade(0, round(top), width, round(foot), bricks)
    x, index = 0.0, 0
    big, small = max(1, round(2 * s)), round(s)
    while x < width:
        name, print_, wall, sign = _SHOPS[index % len(_SHOPS)]
        dark: Colour = (sign[0] * 0.2, sign[1] * 0.2, sign[2] * 0.2)
        sketch.rect(x + 14 * s, 426 * s, x + 218 * s, 462 * s, (34, 32, 40), radius=3 * s)
        sketch.text(name, x + 116 * s, 431 * s, big, sign, centre=True)
        sketch.text(print_, x + 116 * s, 450 * s, small, (222, 220, 214), centre=True)
        for stripe in range(12):  # awning
            colour: Colour = sign if stripe % 2 else (dark[0] + 40, dark[1] + 40, dark[2] + 40)
            left = x + 14 * s + stripe * 17 * s
            sketch.polygon(
                [(left + 2 * s, 464 * s), (left + 17 * s, 464 * s), (left + 15 * s, 480 * s), (left - 2 * s, 480 * s)],
                colour,
            )
        for left, right in ((22, 132), (172, 212)):  # window and door, lit from inside
            sketch.rect(x + left * s, 484 * s, x + right * s, 556 * s, (44, 40, 46), radius=2 * s)
            sketch.rect(x + (left + 3) * s, 487 * s, x + (right - 3) * s, 553 * s, (255, 220, 150), opacity=0.82)
        for shelf in range(3):
            for item in range(9):
                h = rng.uniform(7, 17)
                tone = rng.uniform(40, 200, 3)
                at = x + (28 + item * 11) * s
                sketch.rect(
                    at, (506 + shelf * 22 - h) * s, at + 8 * s, (506 + shelf * 22) * s, tuple(tone), opacity=0.75
                )
        sketch.rect(x + 138 * s, 488 * s, x + 168 * s, 530 * s, (238, 232, 220))  # poster
        for line, word in enumerate(("OPEN", "9-18", "MON", "-SAT")):
            sketch.text(word, x + 153 * s, (492 + 9 * line) * s, small, (60, 40, 40), centre=True)
        x += 232 * s
        index += 1
    x0, y0, x1, y1 = (v * s for v in _BOARD)
    sketch.rect(x0 - 8 * s, y0 - 4 * s, x1 + 8 * s, y1 + 4 * s, (20, 20, 24), radius=5 * s)
    sketch.rect(x0, y0, x1, y1, (36, 26, 22))


def _bricks(shape: tuple[int, int], s: float, rng: np.random.Generator) -> Image:
    """Gain of a brick wall: courses with dark joints, each brick a little different."""
    course, length = max(6 * s, 2), max(15 * s, 4)
    row = (np.arange(shape[0]) // course).astype(int)[:, None]
    along = np.arange(shape[1])[None, :] + (row % 2) * length / 2
    brick = (along // length).astype(int)
    tone = rng.uniform(0.86, 1.08, (int(row.max()) + 1, int(brick.max()) + 1)).astype(np.float32)
    joint = (np.arange(shape[0])[:, None] % course < 1) | (along % length < 1)
    return np.where(joint, np.float32(0.74), tone[row, brick]).astype(np.float32)


def _road(sketch: Sketch, s: float, rng: np.random.Generator) -> None:
    height, width = sketch.alpha.shape
    sketch.rect(0, 560 * s, width, 606 * s, (142, 134, 132))
    for x in np.arange(0, width, 46 * s):
        sketch.polygon(
            [(x, 560 * s), (x + 1.5 * s, 560 * s), (x - 12 * s, 600 * s), (x - 14 * s, 600 * s)], (112, 106, 106)
        )
    sketch.rect(0, 598 * s, width, 608 * s, (186, 180, 174))
    sketch.rect(0, 608 * s, width, height, (64, 64, 72))
    grain = value_noise((height, width), (2.2 * s, 2.2 * s), rng) * 0.22 + 0.88
    patches = value_noise((height, width), (240 * s, 26 * s), rng, octaves=3) * 0.3 + 0.84
    top = round(560 * s)
    sketch.shade(0, top, width, height, (grain * patches)[top:])
    for x in np.arange(30 * s, width, 120 * s):
        sketch.polygon(
            [(x + 8 * s, 662 * s), (x + 72 * s, 662 * s), (x + 66 * s, 668 * s), (x, 668 * s)],
            (226, 220, 200),
            opacity=0.85,
        )
    for x in np.arange(232 * s, width, 464 * s):  # lamps
        sketch.glow(x + 22 * s, 424 * s, 66 * s, (255, 214, 140), opacity=0.5)
        sketch.rect(x - 2 * s, 414 * s, x + 2 * s, 600 * s, (28, 28, 34))
        sketch.rect(x - 2 * s, 412 * s, x + 26 * s, 416 * s, (28, 28, 34))
        sketch.rect(x + 14 * s, 414 * s, x + 30 * s, 422 * s, (255, 238, 190), radius=3 * s)


def _car(s: float, colour: Colour) -> Sketch:
    car = Sketch(round(132 * s), round(56 * s))
    car.rect(4 * s, 50 * s, 128 * s, 55 * s, (10, 10, 14), radius=3 * s, opacity=0.5)
    car.polygon([(34 * s, 4 * s), (88 * s, 4 * s), (108 * s, 24 * s), (20 * s, 24 * s)], colour)
    car.polygon([(38 * s, 8 * s), (58 * s, 8 * s), (58 * s, 22 * s), (28 * s, 22 * s)], (168, 196, 214))
    car.polygon([(62 * s, 8 * s), (85 * s, 8 * s), (99 * s, 22 * s), (62 * s, 22 * s)], (168, 196, 214))
    car.rect(3 * s, 21 * s, 129 * s, 46 * s, colour, radius=9 * s)
    car.rect(3 * s, 36 * s, 129 * s, 40 * s, (colour[0] * 0.6, colour[1] * 0.6, colour[2] * 0.6))
    car.rect(121 * s, 25 * s, 129 * s, 32 * s, (255, 240, 190), radius=2 * s)
    car.rect(3 * s, 25 * s, 9 * s, 32 * s, (255, 70, 50), radius=2 * s)
    car.text("FV 268", 66 * s, 28 * s, round(s), (250, 246, 236), centre=True)
    for x in (30, 102):
        car.disc(x * s, 45 * s, 10.5 * s, (22, 22, 26))
        car.disc(x * s, 45 * s, 5 * s, (150, 152, 158))
    return car


def _bus(s: float) -> Sketch:
    bus = Sketch(round(250 * s), round(88 * s))
    bus.rect(6 * s, 80 * s, 244 * s, 87 * s, (10, 10, 14), radius=3 * s, opacity=0.5)
    bus.rect(2 * s, 2 * s, 248 * s, 78 * s, (222, 168, 42), radius=9 * s)
    bus.rect(2 * s, 52 * s, 248 * s, 58 * s, (150, 60, 40))
    for k in range(6):
        bus.rect((26 + 36 * k) * s, 20 * s, (56 + 36 * k) * s, 46 * s, (64, 84, 104), radius=3 * s)
        bus.polygon(
            [
                ((32 + 36 * k) * s, 20 * s),
                ((42 + 36 * k) * s, 20 * s),
                ((34 + 36 * k) * s, 46 * s),
                ((27 + 36 * k) * s, 46 * s),
            ],
            (120, 146, 166),
        )
    bus.rect(5 * s, 18 * s, 20 * s, 50 * s, (150, 190, 210), radius=3 * s)
    bus.rect(30 * s, 5 * s, 150 * s, 17 * s, (24, 22, 22), radius=2 * s)
    bus.text("12 OLD TOWN", 90 * s, 7.5 * s, round(s), (255, 190, 70), centre=True)
    bus.text("city transit - ride the fine detail", 130 * s, 62 * s, round(s), (70, 30, 20), centre=True)
    for x in (52, 200):
        bus.disc(x * s, 76 * s, 11 * s, (22, 22, 26))
        bus.disc(x * s, 76 * s, 5 * s, (160, 160, 164))
    return bus


def _balloon(s: float) -> Sketch:
    balloon = Sketch(round(96 * s), round(136 * s))
    balloon.disc(48 * s, 48 * s, 46 * s, (206, 70, 60))
    for x, w in ((48, 46), (48, 30), (48, 13)):  # gores: ellipses seen as narrower and narrower slices
        for k in range(round(92 * s)):
            half = math.sqrt(max(1 - ((k - 46 * s) / (46 * s)) ** 2, 0)) * w * s
            tone: Colour = {46: (206, 70, 60), 30: (240, 196, 96), 13: (228, 108, 70)}[w]
            balloon.rect(x * s - half, 2 * s + k, x * s + half, 3 * s + k, tone)
    balloon.polygon([(14 * s, 79 * s), (82 * s, 79 * s), (58 * s, 106 * s), (38 * s, 106 * s)], (186, 62, 54))
    balloon.text("NORTH", 48 * s, 44 * s, round(1.5 * s), (80, 30, 26), centre=True)
    for x in (40, 56):
        balloon.line([(x * s, 104 * s), (x * s, 118 * s)], 1.2 * s, (60, 44, 36))
    balloon.rect(38 * s, 117 * s, 58 * s, 133 * s, (128, 88, 52), radius=3 * s)
    return balloon


def _bird(s: float) -> Sketch:
    bird = Sketch(round(26 * s) + 1, round(12 * s) + 1)
    bird.line(
        [(1.5 * s, 2 * s), (8 * s, 4 * s), (13 * s, 9 * s), (18 * s, 4 * s), (24.5 * s, 2 * s)], 2.2 * s, (30, 26, 40)
    )
    return bird


def _ball(s: float) -> Sketch:
    ball = Sketch(round(26 * s) + 1, round(26 * s) + 1)
    ball.disc(13 * s, 13 * s, 12 * s, (236, 236, 230))
    for k in range(5):
        angle = 2 * math.pi * k / 5
        ball.disc((13 + 8.6 * math.cos(angle)) * s, (13 + 8.6 * math.sin(angle)) * s, 2.6 * s, (40, 44, 60))
    ball.disc(13 * s, 13 * s, 3 * s, (40, 44, 60))
    return ball
