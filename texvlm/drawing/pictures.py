"""Pictures of what happened to a frame: token squares, changed tiles, levels, and a sheet of all.

Everything takes and gives (height, width, 3) uint8 arrays. `size` is the (width, height) of the
picture; geometry stays in level-0 texels of the frame and is scaled to it, so drawing costs what
the picture costs, not what the frame does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from texvlm.drawing.reconstruct import reconstruct
from texvlm.files import write_whole
from texvlm.glyphs import draw_text, text_size
from texvlm.layouts.table import PADDING_LAYER, Table, lod_of_side
from texvlm.regions import TILE, TileMask
from texvlm.tokens import TokenBatch

Image = NDArray[np.uint8]

LOD_COLOURS = (
    (255, 244, 150),
    (255, 200, 70),
    (255, 145, 60),
    (245, 90, 95),
    (212, 72, 148),
    (160, 78, 196),
    (112, 84, 216),
    (58, 98, 200),
)
"""Colour of each whole LOD, fine to coarse: lightness falls steadily, hue runs yellow, red, violet, blue."""

CHANGED_TINT = (255, 140, 40)
IMPORTANT_TINT = (255, 210, 90)
PAPER_GRAY = 20
INK = (240, 242, 245)
FAINT_INK = (168, 176, 186)
GAP = 4
"""Pixels between the pictures of a sheet."""

PANEL_BOX = (958, 538)
"""Largest (width, height) of one panel: two by two with their gap fill 1920 x 1080."""


def as_picture(pixels: NDArray[Any], *, size: tuple[int, int] | None = None) -> Image:
    """Frame pixels as RGB bytes, resized by area means.

    Args:
        pixels: (height, width, 1, 3 or 4), uint8, or float32 in 0..1. Alpha is left out.
        size: (width, height); the frame's own by default.
    """
    from texvlm.drawing._kernels import resize_area  # here and below: importing texvlm must not load Numba

    width, height = size or (pixels.shape[1], pixels.shape[0])
    picture = np.empty((height, width, 3), np.uint8)
    resize_area(np.ascontiguousarray(pixels), np.float32(1 if pixels.dtype == np.uint8 else 255), picture)
    return picture


def lod_colours(lods: NDArray[np.floating[Any]]) -> Image:
    """RGB for each LOD, shape of `lods` + (3,); between whole levels colours are mixed."""
    palette = np.array(LOD_COLOURS, np.float64)
    position = np.clip(np.asarray(lods, np.float64), 0, len(palette) - 1)
    low = np.minimum(position.astype(np.int64), len(palette) - 2)
    share = (position - low)[..., None]
    colours: Image = np.rint(palette[low] * (1 - share) + palette[low + 1] * share).astype(np.uint8)
    return colours


def draw_tokens(
    picture: Image,
    table: Table,
    *,
    frame_size: tuple[int, int],
    patch: int,
    fixations: NDArray[np.floating[Any]] | None = None,
    dim: float = 0.55,
) -> Image:
    """Token squares over a darkened picture, coloured by LOD, with a marker at each fixation.

    Args:
        picture: the frame at any size; left as it is.
        table: rows of one view, (tokens,).
        frame_size: (width, height) of the frame that the table speaks of, texels.
        patch: output pixels along one token side.
        fixations: (x, y) in texels, (k, 2).
        dim: share of brightness that the picture keeps.
    """
    from texvlm.drawing._kernels import outline_squares

    table = _coarse_first(table)
    image = _dimmed(picture, dim)
    edges = np.floor(_edges(table, picture, frame_size)).astype(np.int32)
    # The right and bottom lines fall on the neighbour's first pixel, so shared borders stay one pixel wide.
    edges[:, 2] = np.minimum(edges[:, 2], image.shape[1] - 1)
    edges[:, 3] = np.minimum(edges[:, 3], image.shape[0] - 1)
    outline_squares(image, edges, lod_colours(lod_of_side(table["side"], patch=patch)))
    if fixations is not None:
        draw_fixations(image, fixations, frame_size=frame_size)
    return image


def draw_fixations(image: Image, fixations: NDArray[np.floating[Any]], *, frame_size: tuple[int, int]) -> None:
    """A ring and a dot at each fixation, (x, y) in texels of the frame, in place; none where it lies outside."""
    height, width = image.shape[:2]
    radius = max(4.0, min(width, height) / 45)
    for x, y in np.asarray(fixations, np.float64).reshape(-1, 2):
        centre_x, centre_y = x / frame_size[0] * width, y / frame_size[1] * height
        reach = radius + 4
        x0, x1 = (int(np.clip(v, 0, width)) for v in (centre_x - reach, centre_x + reach + 1))
        y0, y1 = (int(np.clip(v, 0, height)) for v in (centre_y - reach, centre_y + reach + 1))
        if x0 >= x1 or y0 >= y1:
            continue
        columns, rows = np.arange(x0, x1) + 0.5 - centre_x, np.arange(y0, y1)[:, None] + 0.5 - centre_y
        distance = np.hypot(columns, rows)
        band = np.minimum(np.abs(distance - radius), distance)
        window = image[y0:y1, x0:x1].astype(np.float32)
        for colour, thickness in ((0.0, 3.0), (255.0, 1.5)):  # a dark halo keeps the ring visible on white
            cover = np.clip(thickness + 0.5 - band, 0, 1)[..., None]
            window += (colour - window) * cover
        image[y0:y1, x0:x1] = np.rint(window)


def draw_tiles(picture: Image, mask: TileMask, *, frame_size: tuple[int, int]) -> Image:
    """Changed tiles tinted, the rest gray and dark.

    Args:
        picture: the frame at any size; left as it is.
        mask: bool (rows, columns) of 16-texel tiles of the frame.
        frame_size: (width, height) of the frame, texels.
    """
    from texvlm.drawing._kernels import tint_tiles

    image = np.empty_like(picture)
    scale_y, scale_x = frame_size[1] / picture.shape[0] / TILE, frame_size[0] / picture.shape[1] / TILE
    tint_tiles(picture, mask, scale_x, scale_y, np.array(CHANGED_TINT, np.float32), image)
    return image


def tint_importance(picture: Image, importance: NDArray[np.floating[Any]]) -> Image:
    """A picture dimmed but for what is important, which glows.

    Args:
        picture: the frame at any size; left as it is.
        importance: (rows, columns) over the frame, >= 0; scaled to its own maximum.
    """
    height, width = picture.shape[:2]
    rows, columns = importance.shape
    top = float(importance.max())
    share = np.clip(importance / top if top > 0 else importance, 0, 1).astype(np.float32)
    share = share[(np.arange(height) * rows // height)[:, None], np.arange(width) * columns // width][..., None]
    tinted = picture * (0.55 + 0.1 * share) + 0.35 * share * np.array(IMPORTANT_TINT, np.float32)
    image: Image = np.rint(tinted).astype(np.uint8)
    return image


def lod_image(table: Table, size: tuple[int, int], *, frame_size: tuple[int, int], patch: int) -> Image:
    """Each pixel in the colour of the finest token that covers it; dark gray where none does."""
    from texvlm.drawing._kernels import fill_squares

    width, height = size
    table = _coarse_first(table)
    image = np.empty((height, width, 3), np.uint8)
    owner = np.full((height, width), -1, np.int32)
    edges = np.rint(_edges(table, image, frame_size)).astype(np.int32)
    fill_squares(np.arange(len(table), dtype=np.int32), edges, owner)
    colours = np.concatenate(
        [lod_colours(lod_of_side(table["side"], patch=patch)), np.full((1, 3), PAPER_GRAY, np.uint8)]
    )
    picture: Image = colours[owner]
    return picture


@dataclass(frozen=True, slots=True)
class Panel:
    """One picture of a sheet with its words: a title, and a note in a fainter ink."""

    image: Image
    title: str
    note: str = ""


def compose_sheet(panels: Sequence[Panel], *, columns: int = 2) -> Image:
    """Panels of one size side by side, row by row, each with its words in the top-left corner.

    Raises:
        ValueError: no panel, or sizes differ.
    """
    shapes = {panel.image.shape for panel in panels}
    if len(shapes) != 1:
        raise ValueError(f"panels of {sorted(shapes)} make no sheet; give one or more of one size")
    height, width, _ = shapes.pop()
    rows = -(-len(panels) // columns)
    sheet = np.full((rows * (height + GAP) - GAP, columns * (width + GAP) - GAP, 3), PAPER_GRAY, np.uint8)
    for k, panel in enumerate(panels):
        y, x = k // columns * (height + GAP), k % columns * (width + GAP)
        cell = sheet[y : y + height, x : x + width]
        cell[:] = panel.image
        _draw_words(cell, panel.title, panel.note)
    return sheet


def cell_size(frame_size: tuple[int, int], *, box: tuple[int, int] = PANEL_BOX) -> tuple[int, int]:
    """(width, height) of one panel: the frame's shape, as large as the box allows; even, 16 at least."""
    scale = min(box[0] / frame_size[0], box[1] / frame_size[1])
    width, height = (max(16, int(side * scale) // 2 * 2) for side in frame_size)
    return width, height


def sheet_size(frame_size: tuple[int, int], *, box: tuple[int, int] = PANEL_BOX) -> tuple[int, int]:
    """(width, height) of what `draw_sheet` gives for a frame of this size."""
    width, height = cell_size(frame_size, box=box)
    return 2 * width + GAP, 2 * height + GAP


def draw_sheet(
    pixels: NDArray[Any],
    batch: TokenBatch,
    tiles: TileMask,
    *,
    view: int = 0,
    fixations: NDArray[np.floating[Any]] | None = None,
    importance: NDArray[np.floating[Any]] | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    box: tuple[int, int] = PANEL_BOX,
    note: str = "",
) -> Image:
    """Four pictures of one frame: itself, its token squares, its changed tiles, and what the tokens show.

    Args:
        pixels: the frame, (height, width, channels).
        batch: its tokens.
        tiles: what the engine updated for it (SubmitReport.tiles).
        view: which view of the batch.
        fixations: (x, y) in texels, (k, 2), to mark.
        importance: what a look was chosen from, (rows, columns) over the frame, to tint the first picture with.
        mean: of the normalisation of float tokens.
        std: of the same.
        box: largest (width, height) of each of the four.
        note: words after the first title, such as the time.
    """
    height, width = pixels.shape[:2]
    frame_size = (width, height)
    cell = cell_size(frame_size, box=box)
    frame = as_picture(pixels, size=cell)
    table = batch.table[view]
    real = table[table["layer"] != PADDING_LAYER]
    tokens = draw_tokens(frame, real, frame_size=frame_size, patch=batch.patch, fixations=fixations)
    lods = lod_of_side(real["side"], patch=batch.patch)
    _draw_legend(tokens, lods)
    changed = draw_tiles(frame, tiles, frame_size=frame_size)
    shown = reconstruct(batch, view=view, size=cell, mean=mean, std=std)
    if importance is not None:
        frame = tint_importance(frame, importance)
    if fixations is not None:
        draw_fixations(frame, fixations, frame_size=frame_size)
    samples = len(real) * batch.patch**2 / (width * height)
    return compose_sheet(
        [
            Panel(frame, f"frame {width} x {height}", note),
            Panel(tokens, f"{len(real)} tokens", _span(lods)),
            Panel(changed, "changed tiles", f"{100 * tiles.mean():.1f} %"),
            Panel(shown, "from tokens alone", f"{100 * samples:.1f} % of the pixels"),
        ]
    )


def write_png(path: str | Path, image: Image) -> None:
    """Write a picture as PNG, whole or not at all.

    Raises:
        OSError: the file cannot be written.
        ValueError: not (height, width, 3) uint8.
    """
    write_whole(Path(path), png_bytes(image))


def png_bytes(image: Image) -> bytes:
    """A picture as the content of a PNG file; ValueError when it is not (height, width, 3) uint8."""
    import av  # only here: drawing needs no codec

    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise ValueError(f"picture of {image.shape} {image.dtype}; a PNG is written from (height, width, 3) uint8")
    codec = av.CodecContext.create("png", "w")
    codec.height, codec.width = image.shape[:2]
    codec.pix_fmt, codec.time_base = "rgb24", Fraction(1, 25)
    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
    frame.pts = 0
    return b"".join(bytes(packet) for packet in [*codec.encode(frame), *codec.encode(None)])


def _edges(table: Table, picture: Image, frame_size: tuple[int, int]) -> NDArray[np.float64]:
    """Left, top, right, bottom of each token in pixels of a picture of the frame, (n, 4)."""
    height, width = picture.shape[:2]
    half = table["side"].astype(np.float64) / 2
    corners = np.stack([table["x"] - half, table["y"] - half, table["x"] + half, table["y"] + half], axis=-1)
    scale_x, scale_y = width / frame_size[0], height / frame_size[1]
    # Far-away squares are drawn nowhere; the clip keeps them within int32.
    edges: NDArray[np.float64] = np.clip(corners * [scale_x, scale_y, scale_x, scale_y], -1e6, 1e6)
    return edges


def _coarse_first(table: Table) -> Table:
    """The rows that hold tokens, largest first, so that finer ones are drawn over coarser ones."""
    real = table[table["layer"] != PADDING_LAYER]
    ordered: Table = real[np.argsort(-real["side"], kind="stable")]
    return ordered


def _dimmed(picture: Image, share: float) -> Image:
    """The picture at a share of its brightness."""
    dimmed: Image = (np.multiply(picture, round(share * 256), dtype=np.uint16) >> 8).astype(np.uint8)
    return dimmed


def _span(lods: NDArray[np.float32]) -> str:
    """The range of levels in words."""
    if len(lods) == 0:
        return ""
    low, high = float(lods.min()), float(lods.max())
    return f"LOD {low:.2g}" if low == high else f"LOD {low:.2g} to {high:.2g}"


def _text_scale(image: Image) -> int:
    height, width, _ = image.shape
    return max(1, min(int(height) // 250, int(width) // 400))


def _draw_words(image: Image, title: str, note: str) -> None:
    """Title and note on a darkened strip in the top-left corner, in place."""
    scale = _text_scale(image)
    pad = 4 * scale
    title_width, text_height = text_size(title, scale=scale)
    note_x = pad + title_width + 3 * pad
    end = (note_x + text_size(note, scale=scale)[0] if note else pad + title_width) + pad
    strip = image[: text_height + 2 * pad, :end]
    strip[:] = _dimmed(strip, 0.3)
    draw_text(image, title, (pad, pad), scale, INK)
    draw_text(image, note, (note_x, pad), scale, FAINT_INK)


def _draw_legend(image: Image, lods: NDArray[np.float32]) -> None:
    """A row of colour patches, one for each whole LOD in use, in the bottom-left corner, in place."""
    if len(lods) == 0:
        return
    scale = _text_scale(image)
    pad, side = 4 * scale, 7 * scale
    top = image.shape[0] - side - pad
    levels = range(int(lods.min()), min(int(np.ceil(lods.max())), len(LOD_COLOURS) - 1) + 1)
    head = text_size("LOD", scale=scale)[0] + 2 * pad
    entry = side + 2 * scale + text_size("0", scale=scale)[0] + 2 * pad
    strip = image[max(top - pad, 0) :, : head + pad + len(levels) * entry]
    strip[:] = _dimmed(strip, 0.3)
    draw_text(image, "LOD", (pad, top), scale, FAINT_INK)
    for k, level in enumerate(levels):
        x = head + pad + k * entry
        image[max(top, 0) : top + side, x : x + side] = LOD_COLOURS[level]
        draw_text(image, str(level), (x + side + 2 * scale, top), scale, INK)
