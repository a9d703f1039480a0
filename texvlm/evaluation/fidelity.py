"""Token pictures: how close to the frame is what the tokens show, by distance from the fixation.

Every layout's tokens are painted back into a frame; PSNR and SSIM are taken over rings of eccentricity,
next to the published ring layouts and a uniform grid with as many tokens.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from texvlm.drawing.reconstruct import reconstruct
from texvlm.engine import Engine
from texvlm.evaluation.backgrounds import BACKGROUNDS, draw_background
from texvlm.evaluation.foveation import Picture, Tell, even_grid, token_count
from texvlm.evaluation.report import Band, Origin, PicturesPart, TokenPicture
from texvlm.evaluation.settings import FOV_DEG, EvalSettings
from texvlm.layouts import RING_PRESETS, GlobalAndCrops, Layout, Quadtree, Rings, Sunflower
from texvlm.layouts.crops import split_budget
from texvlm.tokens import TokenBatch
from texvlm.visual_field import VisualField

EDGES_DEG = (0.0, 2.0, 5.0, 10.0, 20.0, 90.0)
POINTS = ((0.5, 0.5), (0.25, 0.6), (0.8, 0.3))
"""Fixations (u, v) that each picture is looked at with."""

MOST_DB = 60.0
"""PSNR is cut off here: below it a difference shows in no pixel in ten."""

WINDOW, SIGMA = 11, 1.5
"""Of SSIM, pixels: Wang, Bovik, Sheikh and Simoncelli 2004."""

PATCH = 16


def run_pictures(settings: EvalSettings, origin: Origin, photos: dict[str, Picture], *, tell: Tell) -> PicturesPart:
    """Measure on the photos, cut to the size of planted frames, or on generated scenes."""
    frames = list(_frames(settings, photos))
    layouts = list(layouts_of(settings))
    field = VisualField(settings.size, FOV_DEG)
    rows = []
    for index, (name, layout) in enumerate(layouts):
        tell(f"pictures: {name}", index, len(layouts))
        sums = np.zeros((len(EDGES_DEG) - 1, 4))  # texels, covered, squared error, ssim
        with Engine(layout=layout, backend="cpu") as engine:
            for frame in frames:
                engine.submit(frame)
                for point in POINTS:
                    sums += _by_band(engine.tokens(point), frame, field, point)
        rows.append(TokenPicture(layout=name, tokens=token_count(layout, settings.size), bands=list(_bands(sums))))
    return PicturesPart(origin=origin, size=settings.size, views=len(frames) * len(POINTS), rows=rows)


def layouts_of(settings: EvalSettings) -> Iterator[tuple[str, Layout]]:
    """(name, layout) of everything compared."""
    n = settings.tokens
    for count in dict.fromkeys((n, 172)):
        yield f"quadtree {count}", Quadtree(tokens=count, patch=PATCH, fov_deg=FOV_DEG)
    yield f"quadtree {n}, e2 0.75", Quadtree(tokens=n, patch=PATCH, fov_deg=FOV_DEG, e2_deg=0.75)
    for name, (strides, grids) in RING_PRESETS.items():
        yield name, Rings(strides, grids, patch=PATCH)
    whole, grid = split_budget(n, 1)
    yield f"crops {n}", GlobalAndCrops(global_tokens=whole, crop_grid=grid, patch=PATCH)
    yield f"sunflower {n}", Sunflower(tokens=n, patch=PATCH, fov_deg=FOV_DEG)
    yield f"uniform {n}", even_grid(n, settings.size, PATCH)


def ssim_map(a: Picture, b: Picture) -> NDArray[np.float32]:
    """Structural similarity of the luminance of two pictures at every pixel, (height, width).

    Source:
        Wang, Bovik, Sheikh and Simoncelli 2004, IEEE Trans. Image Processing 13(4); edges are mirrored.
    """
    luma = np.array([0.299, 0.587, 0.114], np.float32)
    x, y = a.astype(np.float32) @ luma, b.astype(np.float32) @ luma
    falloff = np.exp(-((np.arange(WINDOW) - WINDOW // 2) ** 2) / (2 * SIGMA**2))
    window = (falloff / falloff.sum()).astype(np.float32)

    def blurred(plane: NDArray[Any]) -> NDArray[Any]:
        for axis in (0, 1):
            width = [(WINDOW // 2, WINDOW // 2) if side == axis else (0, 0) for side in (0, 1)]
            padded = np.pad(plane, width, mode="reflect")
            views = np.lib.stride_tricks.sliding_window_view(padded, WINDOW, axis=axis)
            plane = np.einsum("...w,w->...", views, window)
        return plane

    mean_x, mean_y = blurred(x), blurred(y)
    var_x, var_y = blurred(x * x) - mean_x**2, blurred(y * y) - mean_y**2
    shared = blurred(x * y) - mean_x * mean_y
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    above = (2 * mean_x * mean_y + c1) * (2 * shared + c2)
    found: NDArray[np.float32] = above / ((mean_x**2 + mean_y**2 + c1) * (var_x + var_y + c2))
    return found


def covered_texels(batch: TokenBatch, size: tuple[int, int]) -> NDArray[np.bool_]:
    """Texels of view 0 that some token covers, (height, width)."""
    seen = np.zeros((size[1], size[0]), np.bool_)
    for row in batch.table[0][batch.table[0]["layer"] >= 0]:
        half = float(row["side"]) / 2
        x0, x1 = round(float(row["x"]) - half), round(float(row["x"]) + half)
        y0, y1 = round(float(row["y"]) - half), round(float(row["y"]) + half)
        seen[max(y0, 0) : max(y1, 0), max(x0, 0) : max(x1, 0)] = True
    return seen


def _by_band(batch: TokenBatch, frame: Picture, field: VisualField, point: tuple[float, float]) -> NDArray[np.float64]:
    """Sums over each band: texels, texels covered, squared error and SSIM of those covered, (bands, 4)."""
    width, height = field.size
    shown = reconstruct(batch)
    error = np.square(shown.astype(np.float32) - frame).mean(axis=2)
    similar = ssim_map(shown, frame)
    seen = covered_texels(batch, field.size)
    x, y = np.arange(width) + 0.5 - point[0] * width, np.arange(height) + 0.5 - point[1] * height
    ring = np.digitize(field.eccentricity_deg(np.hypot(x[None, :], y[:, None])), EDGES_DEG[1:-1])
    bands = len(EDGES_DEG) - 1
    planes = (np.ones_like(error), seen, np.where(seen, error, 0), np.where(seen, similar, 0))
    return np.stack([np.bincount(ring.ravel(), weights=plane.ravel(), minlength=bands) for plane in planes], axis=1)


def _bands(sums: NDArray[np.float64]) -> Iterator[Band]:
    for index, (texels, seen, error, similar) in enumerate(sums.tolist()):
        mse = error / seen if seen else np.nan
        yield Band(
            least_deg=EDGES_DEG[index],
            most_deg=EDGES_DEG[index + 1],
            psnr=round(min(float(10 * np.log10(255**2 / max(mse, 1e-9))), MOST_DB), 2) if seen else None,
            ssim=round(similar / seen, 4) if seen else None,
            covered=round(seen / texels, 4) if texels else 0.0,
        )


def _frames(settings: EvalSettings, photos: dict[str, Picture]) -> Iterator[Picture]:
    """The middle of each photo, at the frames' size; or one generated scene of each kind."""
    width, height = settings.size
    if not photos:
        for index, kind in enumerate(BACKGROUNDS):
            yield draw_background(kind, settings.size, np.random.default_rng([settings.seed, index]))
        return
    for photo in photos.values():
        top, left = max(photo.shape[0] - height, 0) // 2, max(photo.shape[1] - width, 0) // 2
        part = photo[top : top + height, left : left + width]
        if part.shape[:2] == (height, width):
            yield np.ascontiguousarray(part)
