"""Pictures: token squares, tiles, levels, sheets, PNG, and what tokens alone give back."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image as PillowImage

from texvlm.backends.base import TOKEN_DTYPES
from texvlm.drawing.pictures import (
    GAP,
    LOD_COLOURS,
    PAPER_GRAY,
    Panel,
    as_picture,
    cell_size,
    compose_sheet,
    draw_fixations,
    draw_sheet,
    draw_tiles,
    draw_tokens,
    lod_colours,
    lod_image,
    png_bytes,
    sheet_size,
    write_png,
)
from texvlm.drawing.reconstruct import BACKGROUND, psnr, reconstruct
from texvlm.layouts.table import TOKEN_RECORD, Table, make_table, pad_table
from texvlm.tokens import TokenBatch

Field = Callable[[NDArray[np.float64], NDArray[np.float64]], NDArray[np.float64]]


def batch_of(
    table: Table, size: tuple[int, int], field: Field, *, patch: int = 8, dtype: torch.dtype = torch.float32
) -> TokenBatch:
    """Tokens that sample `field(x, y)` (0..1, level-0 texels) at their pixel centres, gray repeated to RGB."""
    step = (np.arange(patch) + 0.5) / patch - 0.5
    x = table["x"][:, None, None] + step[None, None, :] * table["side"][:, None, None]
    y = table["y"][:, None, None] + step[None, :, None] * table["side"][:, None, None]
    values = np.broadcast_to(field(x, y), (len(table), patch, patch))
    pixels = torch.from_numpy(np.repeat(values[:, None], 3, axis=1))
    pixels = (pixels * 255).round().to(dtype) if dtype == torch.uint8 else pixels.to(dtype)
    return TokenBatch(
        pixels=pixels[None],
        rows=table[None],
        dirty=torch.ones(1, len(table), dtype=torch.bool),
        sizes=np.array([size], np.int32),
        sources=np.zeros(1, np.int32),
        pts=np.zeros(1),
    )


def grid(size: tuple[int, int], side: float) -> Table:
    columns, rows = -(-size[0] // int(side)), -(-size[1] // int(side))
    y, x = np.mgrid[:rows, :columns]
    return make_table((x.ravel() + 0.5) * side, (y.ravel() + 0.5) * side, side, size=size)


def pixel_centres(size: tuple[int, int]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    return np.arange(size[0])[None] + 0.5, np.arange(size[1])[:, None] + 0.5


def test_full_resolution_tokens_give_the_frame_back_exactly() -> None:
    size = (40, 24)
    frame = np.random.default_rng(0).integers(0, 256, (24, 40, 3), np.uint8)
    table = grid(size, 8)
    batch = batch_of(table, size, lambda x, y: x * 0 + y * 0, dtype=torch.uint8)
    for n, row in enumerate(table):
        x, y = int(row["x"]) - 4, int(row["y"]) - 4
        batch.pixels[0, n] = torch.from_numpy(frame[y : y + 8, x : x + 8].transpose(2, 0, 1).copy())
    np.testing.assert_array_equal(reconstruct(batch), frame)


@pytest.mark.parametrize("side", [16, 24, 32])
def test_enlargement_is_linear_across_token_borders(side: int) -> None:
    # A tilted plane is its own linear interpolation: between the outermost samples nothing may be off.
    size = (96, 96)
    plane: Field = lambda x, y: 0.1 + 0.004 * x + 0.003 * y  # noqa: E731
    picture = reconstruct(batch_of(grid(size, side), size, plane))
    expected = 255 * plane(*pixel_centres(size))
    inner = slice(side // 16 + 2, -(side // 16 + 2))
    assert np.abs(picture[inner, inner, 0] - expected[inner, inner]).max() <= 0.51


def test_constant_tokens_of_mixed_sizes_leave_no_seam() -> None:
    size = (64, 64)
    fine = grid((32, 64), 8)
    coarse = make_table([48, 48], [16, 48], 32, size=size)
    picture = reconstruct(batch_of(np.concatenate([fine, coarse]), size, lambda x, y: x * 0 + y * 0 + 0.5))
    assert np.unique(picture).tolist() == [128]


def test_the_finer_token_decides_where_tokens_overlap() -> None:
    size = (64, 64)
    table = np.concatenate([make_table([32], [32], 64, size=size), make_table([32], [32], 8, size=size)])
    batch = batch_of(table, size, lambda x, y: x * 0 + y * 0)
    batch.pixels[0, 1] = 1
    picture = reconstruct(batch)
    assert picture[29:35, 29:35].min() >= 254
    assert picture[:26].max() == 0


def test_padding_and_uncovered_pixels_show_the_background() -> None:
    size = (32, 16)
    table = pad_table(make_table([8], [8], 16, size=size), 3)
    table["x"][1:], table["y"][1:], table["side"][1:] = 24, 8, 16
    picture = reconstruct(batch_of(table, size, lambda x, y: x * 0 + y * 0 + 1))
    assert (picture[:, :16] == 255).all()
    assert (picture[:, 18:] == BACKGROUND).all()


def test_an_empty_table_is_all_background() -> None:
    batch = batch_of(np.zeros(0, TOKEN_RECORD), (9, 7), lambda x, y: x * 0 + y * 0)
    assert (reconstruct(batch) == BACKGROUND).all()


@pytest.mark.parametrize("dtype", TOKEN_DTYPES, ids=str)
def test_normalisation_is_undone(dtype: torch.dtype) -> None:
    size = (16, 16)
    batch = batch_of(grid(size, 8), size, lambda x, y: x * 0 + y * 0 + 0.6, dtype=dtype)
    mean, std = [0.4, 0.5, 0.3], [0.2, 0.25, 0.5]
    if dtype == torch.uint8:
        picture = reconstruct(batch)
    else:
        pixels = (batch.pixels - torch.tensor(mean)[:, None, None]) / torch.tensor(std)[:, None, None]
        normalised = TokenBatch(pixels.to(dtype), batch.table, batch.dirty, batch.sizes, batch.sources, batch.pts)
        picture = reconstruct(normalised, mean=mean, std=std)
        with pytest.raises(ValueError, match="mean has 2 values for 3 channels"):
            reconstruct(normalised, mean=mean[:2], std=std)
    assert np.unique(picture).tolist() == [153]


def test_a_smaller_picture_is_the_mean_of_the_large_one() -> None:
    size = (64, 64)
    rng = np.random.default_rng(1)
    batch = batch_of(grid(size, 8), size, lambda x, y: rng.random(np.broadcast_shapes(x.shape, y.shape)))
    large = reconstruct(batch).astype(np.float64)
    for factor in (2, 4, 8):
        small = reconstruct(batch, size=(64 // factor, 64 // factor))
        means = large.reshape(64 // factor, factor, 64 // factor, factor, 3).mean(axis=(1, 3))
        assert np.abs(small - means).max() <= 1


def test_psnr_is_what_its_definition_says() -> None:
    a = np.zeros((4, 4, 3), np.uint8)
    b = a.copy()
    assert psnr(a, b) == float("inf")
    b[0, 0] = 255
    assert psnr(a, b) == pytest.approx(10 * np.log10(16))
    mask = np.zeros((4, 4), np.bool_)
    mask[0, 0] = True
    assert psnr(a, b, mask) == 0
    assert psnr(a, b, ~mask) == float("inf")
    with pytest.raises(ValueError, match="must have one shape"):
        psnr(a, b[1:])
    with pytest.raises(ValueError, match="no pixel is left"):
        psnr(a, b, np.zeros((4, 4), np.bool_))
    with pytest.raises(ValueError, match="does not fit"):
        psnr(a, b, np.zeros((4, 5), np.bool_))


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_frames_of_any_kind_become_rgb_bytes(channels: int, dtype: type) -> None:
    rng = np.random.default_rng(2)
    frame = rng.integers(0, 256, (12, 20, channels), np.uint8)
    pixels = frame if dtype == np.uint8 else frame.astype(np.float32) / 255
    np.testing.assert_array_equal(as_picture(pixels), frame[:, :, :3] if channels > 1 else frame.repeat(3, axis=2))


def test_resizing_takes_area_means() -> None:
    frame = np.random.default_rng(3).integers(0, 256, (12, 20, 3), np.uint8)
    half = frame.reshape(6, 2, 10, 2, 3).mean(axis=(1, 3))
    assert np.abs(as_picture(frame, size=(10, 6)) - half).max() <= 0.51
    np.testing.assert_array_equal(as_picture(frame, size=(40, 24)), frame.repeat(2, axis=0).repeat(2, axis=1))
    odd = as_picture(np.full((11, 7, 3), 93, np.uint8), size=(5, 3))
    assert np.unique(odd).tolist() == [93]  # shares of cut pixels add up to one


def test_lod_colours_fall_in_lightness() -> None:
    assert lod_colours(np.arange(len(LOD_COLOURS), dtype=np.float32)).tolist() == [list(c) for c in LOD_COLOURS]
    lightness = lod_colours(np.linspace(0, 7, 50)).astype(float) @ [0.2126, 0.7152, 0.0722]
    assert (np.diff(lightness) < 0.5).all()  # rounding to bytes
    assert lod_colours(np.array([-1.0, 99.0])).tolist() == [list(LOD_COLOURS[0]), list(LOD_COLOURS[-1])]


def test_token_squares_are_one_pixel_wide_and_finer_ones_lie_on_top() -> None:
    size = (64, 64)
    table = np.concatenate([make_table([8], [8], 16, size=size), make_table([32], [32], 64, size=size)])
    picture = draw_tokens(np.zeros((64, 64, 3), np.uint8), table, frame_size=size, patch=16)
    fine, coarse = list(LOD_COLOURS[0]), list(LOD_COLOURS[2])
    assert picture[0, 5].tolist() == fine
    assert picture[16, 5].tolist() == fine
    assert picture[0, 40].tolist() == coarse
    assert picture[63, 40].tolist() == coarse
    drawn = picture.any(axis=2)
    assert drawn.sum() == (4 * 64 - 4) + 16 + 15  # the small square shares its upper and left lines
    assert drawn[1:16, 1:16].sum() == 0


def test_squares_outside_the_frame_are_cut_off() -> None:
    size = (32, 32)
    table = make_table([-8, 1e9, 32], [4, 0, 32], [64, 16, 16], size=size)
    picture = draw_tokens(np.zeros((32, 32, 3), np.uint8), table, frame_size=size, patch=16)
    assert picture.any()
    assert lod_image(table, (32, 32), frame_size=size, patch=16).shape == (32, 32, 3)


def test_lod_image_shows_the_finest_token_of_each_pixel() -> None:
    size = (64, 32)
    table = np.concatenate([make_table([24], [8], 16, size=size), make_table([16], [16], 32, size=size)])
    image = lod_image(table, (32, 16), frame_size=size, patch=16)
    assert image[2, 2].tolist() == list(LOD_COLOURS[1])
    assert image[2, 12].tolist() == list(LOD_COLOURS[0])
    assert image[2, 20].tolist() == [PAPER_GRAY] * 3


def test_tiles_are_tinted_where_they_changed_and_gray_elsewhere() -> None:
    frame = np.full((40, 40, 3), (10, 200, 90), np.uint8)  # the last row and column of tiles are partial
    mask = np.zeros((3, 3), np.bool_)
    mask[0, 1] = mask[2, 2] = True
    picture = draw_tiles(frame, mask, frame_size=(40, 40))
    gray = (np.ptp(picture, axis=2) == 0).reshape(40, 40)
    expected = np.ones((40, 40), np.bool_)
    expected[:16, 16:32] = expected[32:, 32:] = False
    np.testing.assert_array_equal(gray, expected)


@pytest.mark.parametrize("xy", [(32, 24), (0, 0), (63.9, 47.9), (-3, 20)])
def test_the_fixation_marker_is_centred_and_cut_off_at_edges(xy: tuple[float, float]) -> None:
    image = np.full((48, 64, 3), 90, np.uint8)
    draw_fixations(image, np.array([xy]), frame_size=(64, 48))
    rows, columns = np.nonzero((image != 90).any(axis=2))
    assert rows.size
    wide = np.full((148, 164, 3), 90, np.uint8)
    draw_fixations(wide, np.array([[xy[0] + 50, xy[1] + 50]]), frame_size=(164, 148))
    if (0 < xy[0] < 60) and (0 < xy[1] < 44):
        assert abs(columns.mean() + 0.5 - xy[0]) < 0.01
        assert abs(rows.mean() + 0.5 - xy[1]) < 0.01


def test_a_fixation_far_outside_draws_nothing() -> None:
    image = np.full((48, 64, 3), 90, np.uint8)
    draw_fixations(image, np.array([[500.0, -300.0]]), frame_size=(64, 48))
    assert (image == 90).all()


def test_a_sheet_holds_its_panels_and_refuses_mixed_sizes() -> None:
    panels = [Panel(np.full((60, 80, 3), value, np.uint8), "title") for value in (50, 100, 150)]
    sheet = compose_sheet(panels)
    assert sheet.shape == (120 + GAP, 160 + GAP, 3)
    assert sheet[59, 79].tolist() == [50] * 3
    assert sheet[59, 80 + GAP].tolist() == [100] * 3
    assert sheet[60 + GAP + 59, 0].tolist() == [150] * 3
    assert sheet[-1, -1].tolist() == [PAPER_GRAY] * 3
    with pytest.raises(ValueError, match="make no sheet"):
        compose_sheet([*panels, Panel(np.zeros((2, 2, 3), np.uint8), "")])


@pytest.mark.parametrize("size", [(1920, 1080), (64, 48), (1, 1), (30, 2000), (4000, 20)])
def test_a_sheet_can_be_drawn_of_any_frame(size: tuple[int, int]) -> None:
    width, height = size
    frame = np.full((height, width, 3), 128, np.uint8)
    table = make_table([width / 2], [height / 2], max(size), size=size)
    batch = batch_of(table, size, lambda x, y: x * 0 + y * 0 + 0.5)
    mask = np.ones((-(-height // 16), -(-width // 16)), np.bool_)
    sheet = draw_sheet(frame, batch, mask, fixations=np.array([[width / 2, height / 2]]), note="0.00 s")
    assert sheet.shape[:2] == sheet_size(size)[::-1]
    assert all(side % 2 == 0 for side in cell_size(size))


def test_png_keeps_every_byte(tmp_path: Path) -> None:
    image = np.random.default_rng(4).integers(0, 256, (33, 47, 3), np.uint8)
    with PillowImage.open(io.BytesIO(png_bytes(image))) as found:
        np.testing.assert_array_equal(np.asarray(found), image)
    write_png(tmp_path / "a.png", image)
    assert (tmp_path / "a.png").read_bytes() == png_bytes(image)
    with pytest.raises(FileNotFoundError):
        write_png(tmp_path / "nowhere" / "a.png", image)


@pytest.mark.parametrize("image", [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3), np.float32)])
def test_png_refuses_other_arrays(image: NDArray[Any]) -> None:
    with pytest.raises(ValueError, match="a PNG is written from"):
        png_bytes(image)
