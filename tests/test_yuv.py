"""4:2:0 frames: what they accept, and RGB against a float64 conversion from the standards' formulas."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import av
import numpy as np
import pytest
import torch
from av.video.reformatter import ColorRange, Colorspace, VideoReformatter
from sources.clips import write_clip

from texvlm.yuv import ColourCoefficients, Matrix, Range, YuvFrame, nv12, p010

KINDS = [(matrix, range_, bits) for matrix in get_args(Matrix) for range_ in get_args(Range) for bits in (8, 10)]
MAKE = {8: nv12, 10: p010}
WEIGHTS = {"bt601": (0.299, 0.587, 0.114), "bt709": (0.2126, 0.7152, 0.0722), "bt2020": (0.2627, 0.678, 0.0593)}


def stored(codes: Any, bits: int) -> np.ndarray:
    """Codes as the planes hold them."""
    return np.asarray(codes, np.uint8) if bits == 8 else np.asarray(codes, np.uint16) << 6


def exact_rgb(y: np.ndarray, u: np.ndarray, v: np.ndarray, matrix: str, range_: str, bits: int) -> np.ndarray:
    """Float64 RGB, 0..255, from codes of equal shapes: the inverse of the matrix of luma weights."""
    red, green, blue = WEIGHTS[matrix]
    forward = np.array(
        [
            [red, green, blue],
            [-red / (2 * (1 - blue)), -green / (2 * (1 - blue)), 0.5],
            [0.5, -green / (2 * (1 - red)), -blue / (2 * (1 - red))],
        ]
    )
    step = 2 ** (bits - 8)
    if range_ == "limited":
        signals = [
            (y - 16.0 * step) / (219 * step),
            (u - 128.0 * step) / (224 * step),
            (v - 128.0 * step) / (224 * step),
        ]
    else:
        signals = [y / (2**bits - 1), (u - 128.0 * step) / (2**bits - 1), (v - 128.0 * step) / (2**bits - 1)]
    return np.clip(np.stack(signals, -1) @ np.linalg.inv(forward).T, 0, 1) * 255


def random_planes(rng: np.random.Generator, size: tuple[int, int], bits: int) -> tuple[np.ndarray, np.ndarray]:
    width, height = size
    top = 2**bits
    return rng.integers(0, top, (height, width)), rng.integers(0, top, (-(-height // 2), -(-width // 2), 2))


@pytest.mark.parametrize(("matrix", "range_", "bits"), KINDS)
@pytest.mark.parametrize("size", [(1, 1), (17, 15), (64, 48)])
def test_rgb_is_the_exact_conversion_rounded(rng, matrix, range_, bits, size):
    y, uv = random_planes(rng, size, bits)
    frame = MAKE[bits](stored(y, bits), stored(uv, bits), matrix=matrix, range=range_, pts=2.0, kind="P")
    taken = frame.to_frame()
    assert (taken.size, taken.pts, taken.kind) == (size, 2.0, "P")
    near = uv.repeat(2, axis=0).repeat(2, axis=1)[: size[1], : size[0]]
    error = np.abs(taken.pixels - exact_rgb(y, near[..., 0], near[..., 1], matrix, range_, bits))
    assert error.max() <= 0.51  # half a code of rounding, and what 16 fractional bits lose


@pytest.mark.parametrize(("matrix", "range_", "bits"), KINDS)
def test_grey_stays_grey_from_black_to_white(matrix, range_, bits):
    y = np.arange(2**bits)[None]
    uv = np.full((1, y.shape[1] // 2, 2), 2 ** (bits - 1))
    pixels = MAKE[bits](stored(y, bits), stored(uv, bits), matrix=matrix, range=range_).to_frame().pixels
    assert (pixels == pixels[..., :1]).all()
    assert (np.diff(pixels[0, :, 0].astype(int)) >= 0).all()
    black, white = (16, 235) if range_ == "limited" else (0, 255)
    step = 2 ** (bits - 8)
    last_white = white * step if range_ == "limited" else 2**bits - 1
    assert (pixels[0, black * step, 0], pixels[0, last_white, 0]) == (0, 255)
    assert pixels[0, black * step + 2 * step, 0] > 0
    assert pixels[0, last_white - 2 * step, 0] < 255


def test_ten_bits_of_an_eight_bit_picture_are_the_same_picture(rng):
    y, uv = random_planes(rng, (30, 20), 8)
    eight = nv12(stored(y, 8), stored(uv, 8), matrix="bt709", range="limited")
    ten = p010(stored(4 * y, 10), stored(4 * uv, 10), matrix="bt709", range="limited")
    np.testing.assert_array_equal(ten.to_frame().pixels, eight.to_frame().pixels)


@pytest.mark.parametrize(("matrix", "range_", "bits"), KINDS)
def test_sums_fit_32_bits(matrix, range_, bits):
    c = ColourCoefficients.of(matrix, range_, bits=bits)
    top = 2**bits - 1
    for chroma in (abs(c.rv), abs(c.gu) + abs(c.gv), abs(c.bu)):
        assert c.gain * top + chroma * (c.mid + 1) + c.half + c.gain * c.offset < 2**31


def test_low_bits_of_p010_are_ignored(rng):
    y, uv = random_planes(rng, (12, 8), 10)
    clean = p010(stored(y, 10), stored(uv, 10), matrix="bt2020", range="limited")
    noisy = p010(stored(y, 10) | 63, stored(uv, 10) | 63, matrix="bt2020", range="limited")
    np.testing.assert_array_equal(noisy.to_frame().pixels, clean.to_frame().pixels)


@pytest.mark.parametrize("make", [nv12, p010])
@pytest.mark.parametrize("as_tensor", [False, True])
def test_one_buffer_holds_both_planes_and_more(rng, make, as_tensor):
    """Surfaces of decoders have longer rows, and more of them, than the picture."""
    bits = 8 if make is nv12 else 10
    buffer = stored(rng.integers(0, 2**bits, (24, 40)), bits)  # 16 rows of luma, 8 of chroma
    given = torch.from_numpy(buffer) if as_tensor else buffer
    frame = make(given, matrix="bt601", range="full", size=(33, 13))
    assert (frame.size, frame.channels) == ((33, 13), 3)
    y, uv = np.asarray(frame.y), np.asarray(frame.uv)
    np.testing.assert_array_equal(y, buffer[:13, :33])
    np.testing.assert_array_equal(uv, buffer[16:23, :34].reshape(7, 17, 2))
    assert np.shares_memory(y, buffer)
    assert np.shares_memory(uv, buffer)
    pieces = make(buffer[:13, :33], buffer[16:23, :34], matrix="bt601", range="full")
    np.testing.assert_array_equal(pieces.to_frame().pixels, frame.to_frame().pixels)
    whole = make(given, matrix="bt601", range="full")
    np.testing.assert_array_equal(whole.to_frame().pixels[:13, :33], frame.to_frame().pixels)


def test_rows_of_a_buffer_of_an_odd_picture():
    frame = nv12(np.zeros((5, 4), np.uint8), matrix="bt601", range="full")
    assert (frame.size, frame.uv.shape) == ((4, 3), (2, 2, 2))


def test_planes_of_tensors_with_strides(rng):
    y, uv = random_planes(rng, (10, 6), 8)
    turned = torch.from_numpy(stored(y, 8).T.copy()).t()
    frame = nv12(turned, torch.from_numpy(stored(uv, 8)), matrix="bt601", range="full")
    assert frame.on_host
    plain = nv12(stored(y, 8), stored(uv, 8), matrix="bt601", range="full")
    np.testing.assert_array_equal(frame.to_frame().pixels, plain.to_frame().pixels)


def test_pictures_of_a_decoder_look_like_its_own_rgb(tmp_path: Path):
    """swscale spreads chroma smoothly and we do not, so the picture is a smooth one."""

    def smooth(index: int) -> np.ndarray:
        y, x = np.mgrid[:96, :160]
        return np.stack([x * 1.5, y * 2.5, 255 - x - y / 2], -1).astype(np.uint8)

    path = write_clip(tmp_path / "a.mp4", frames=2, options={"qp": "4"}, draw=smooth)
    with av.open(str(path)) as container:
        picture = next(container.decode(video=0))
    scaler = VideoReformatter()
    planes = picture.reformat(format="nv12").to_ndarray()
    rgb = scaler.reformat(
        picture,
        format="rgb24",
        src_colorspace=Colorspace.ITU601,
        src_color_range=ColorRange.MPEG,
        dst_color_range=ColorRange.JPEG,
    ).to_ndarray()
    taken = nv12(planes, matrix="bt601", range="limited").to_frame().pixels
    difference = np.abs(taken.astype(int) - rgb)
    assert difference.max() <= 6
    assert difference.mean() < 1.5
    other = nv12(planes, matrix="bt2020", range="limited").to_frame().pixels
    assert np.abs(other.astype(int) - rgb).mean() > 2 * difference.mean()


def plane(*shape: int, dtype: Any = np.uint8) -> np.ndarray:
    return np.zeros(shape, dtype)


@pytest.mark.parametrize(
    ("call", "error", "says"),
    [
        (lambda: nv12([[1]], matrix="bt601", range="full"), TypeError, "y is list; accepted: NumPy arrays and torch"),
        (lambda: nv12(plane(4, 4), plane(2, 2, 2), matrix="bt470", range="full"), ValueError, "matrix is 'bt470'"),
        (lambda: nv12(plane(4, 4), plane(2, 2, 2), matrix="bt601", range="tv"), ValueError, "range is 'tv'; accepted"),
        (
            lambda: YuvFrame(plane(4, 4), plane(2, 2, 2), "bt601", "full", 12),
            ValueError,
            "bits is 12; accepted: 8, 10",
        ),
        (
            lambda: p010(plane(4, 4), plane(2, 2, 2), matrix="bt601", range="full"),
            TypeError,
            "y is uint8; a picture of 10 bits has uint16 planes",
        ),
        (
            lambda: nv12(plane(4, 4), plane(2, 2, 2, dtype=np.uint16), matrix="bt601", range="full"),
            TypeError,
            "uv is uint16; a picture of 8 bits has uint8 planes",
        ),
        (
            lambda: nv12(plane(5, 5), plane(2, 3, 2), matrix="bt601", range="full"),
            ValueError,
            r"uv of shape \(2, 3, 2\): luma of \(5, 5\) has chroma of shape \(3, 3, 2\)",
        ),
        (lambda: nv12(plane(4, 4, 3), matrix="bt601", range="full"), ValueError, r"y of shape \(4, 4, 3\): accepted"),
        (lambda: nv12(plane(4, 4), matrix="bt601", range="full"), ValueError, "a buffer of 4 rows"),
        (lambda: nv12(plane(3, 3), matrix="bt601", range="full"), ValueError, "3 texels need 4; give size="),
        (
            lambda: nv12(plane(6, 4), matrix="bt601", range="full", size=(4, 6)),
            ValueError,
            r"size is \(4, 6\); the planes hold \(4, 4\) at most",
        ),
        (lambda: nv12(plane(0, 4), plane(0, 2, 2), matrix="bt601", range="full"), ValueError, "at least one texel"),
        (
            lambda: nv12(plane(4, 4), torch.zeros(2, 2, 2, dtype=torch.uint8), matrix="bt601", range="full"),
            TypeError,
            "y is a NumPy array and uv a torch tensor on cpu; both must be in one place",
        ),
    ],
)
def test_what_is_no_picture_is_refused(call, error, says):
    with pytest.raises(error, match=says):
        call()
