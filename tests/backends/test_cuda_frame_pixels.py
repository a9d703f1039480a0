"""Pixels as the ingest kernels read them: of any strides, 4:2:0, and in an app's texture."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
from cuda_host.driver import HostDriver
from cuda_host.images import DeviceArray, Lifetime
from ingest_rig import Rig, open_rigs, picture

from texvlm.backends.cuda.frame_pixels import Access, FramePixels
from texvlm.yuv import nv12, p010


@pytest.fixture
def rig() -> Iterator[Callable[..., Rig]]:
    with open_rigs() as make:
        yield make


# ---------------------------------------------------------------- how pixels may lie


def shifted(pixels: np.ndarray, by: int) -> torch.Tensor:
    """The same pixels at an address of another alignment, in rows that end with bytes of somebody else."""
    height, width, channels = pixels.shape
    rows = torch.full((height + 1, width * channels + 5 + by), 99, dtype=torch.uint8)
    view = rows[:height, by : by + width * channels].unflatten(1, (width, channels))
    view.copy_(torch.from_numpy(pixels))
    return view


LAYOUTS = {
    "packed": (lambda p: torch.from_numpy(p), Access.PACKED),
    "planar": (lambda p: torch.from_numpy(p.transpose(2, 0, 1).copy()).permute(1, 2, 0), Access.PLANAR),
    "crop": (lambda p: shifted(p, 1), Access.STRIDED),
    "columns first": (lambda p: torch.from_numpy(p.transpose(1, 0, 2).copy()).permute(1, 0, 2), Access.STRIDED),
    "every other column": (lambda p: torch.from_numpy(np.repeat(p, 2, axis=1))[:, ::2], Access.STRIDED),
}


@pytest.mark.parametrize("origin", ["top-left", "bottom-left"])
@pytest.mark.parametrize("channels", [3, 4])
@pytest.mark.parametrize("width", [52, 48])
@pytest.mark.parametrize("name", LAYOUTS)
def test_pixels_are_read_wherever_they_lie(rig, rng, name, width, channels, origin):
    frame = picture(rng, (width, 19), channels)
    arrange, access = LAYOUTS[name]
    pixels = FramePixels.from_tensor(arrange(frame), origin=origin)
    assert pixels.fields["access"] == access
    made = rig((width, 19), channels)
    made.refresh(pixels)
    made.assert_holds(frame if origin == "top-left" else frame[::-1])


def test_words_are_not_read_beyond_the_last_pixels(rig, rng):
    frame = picture(rng, (50, 20))  # rows of 150 bytes: every other one starts within a word
    assert FramePixels.from_tensor(torch.from_numpy(frame)).fields["access"] == Access.STRIDED
    wide = torch.from_numpy(np.pad(frame, ((0, 0), (0, 2), (0, 0)), constant_values=77))
    cut = FramePixels.from_tensor(wide[:, :50])
    assert cut.fields["access"] == Access.PACKED
    made = rig((50, 20))
    made.refresh(cut)
    made.assert_holds(frame)


@pytest.mark.parametrize("width", [40, 39])
def test_gray_pixels_are_read_as_words_too(rig, rng, width):
    frame = picture(rng, (width, 33), 1)
    made = rig((width, 33), 1)
    made.refresh(frame)
    made.assert_holds(frame)


def test_float_pixels_may_be_planar_or_from_the_bottom(rig, rng):
    frame = picture(rng, (37, 21), 3, "float32")
    planes = torch.from_numpy(frame.transpose(2, 0, 1).copy())
    made = rig((37, 21), 3, "float32")
    made.refresh(FramePixels.from_tensor(planes.permute(1, 2, 0), origin="bottom-left"))
    made.assert_holds(frame[::-1])


def test_every_half_float_is_read_exactly(rig):
    halves = np.arange(65536, dtype=np.uint16).view(np.float16).reshape(256, 256, 1)
    made = rig((256, 256), 1, "float32")
    made.refresh(FramePixels.from_tensor(torch.from_numpy(halves)))
    np.testing.assert_array_equal(made.level(0), halves.astype(np.float32))


# ---------------------------------------------------------------- luma and chroma

KINDS = [("bt601", "limited"), ("bt709", "limited"), ("bt709", "full"), ("bt2020", "limited")]


@pytest.mark.parametrize(("matrix", "range"), KINDS)
@pytest.mark.parametrize("bits", [8, 10])
@pytest.mark.parametrize("size", [(1, 1), (17, 15), (40, 34), (66, 31)], ids=str)
def test_yuv_frames_have_the_bits_of_the_host_conversion(rig, rng, size, bits, matrix, range):
    width, height = size
    kind = np.uint8 if bits == 8 else np.uint16
    top = 256 if bits == 8 else 65536
    y = torch.from_numpy(rng.integers(0, top, (height, width)).astype(kind))
    uv = torch.from_numpy(rng.integers(0, top, (-(-height // 2), -(-width // 2), 2)).astype(kind))
    frame = (nv12 if bits == 8 else p010)(y, uv, matrix=matrix, range=range)
    made = rig(size)
    made.refresh(FramePixels.from_yuv(frame))
    made.assert_holds(frame.to_frame().pixels)


@pytest.mark.parametrize("bits", [8, 10])
@pytest.mark.parametrize("width", [48, 46, 45])
def test_one_buffer_with_a_pitch_is_read_by_words(rig, rng, bits, width):
    height, pitch = 22, 64
    buffer = rng.integers(0, 256 if bits == 8 else 65536, (height * 3 // 2, pitch))
    buffer = torch.from_numpy(buffer.astype(np.uint8 if bits == 8 else np.uint16))
    make = nv12 if bits == 8 else p010
    frame = make(buffer, matrix="bt709", range="limited", size=(width, height))
    pixels = FramePixels.from_yuv(frame)
    assert pixels.fields["access"] == Access.PACKED
    made = rig((width, height))
    made.refresh(pixels)
    made.assert_holds(frame.to_frame().pixels)


def test_planes_of_any_strides_are_read(rig, rng):
    y = torch.from_numpy(rng.integers(0, 256, (20, 60), dtype=np.uint8))[:, ::2]
    planes = torch.from_numpy(rng.integers(0, 256, (2, 10, 15), dtype=np.uint8))  # U and V apart, as I420 has them
    frame = nv12(y, planes.permute(1, 2, 0), matrix="bt601", range="full")
    pixels = FramePixels.from_yuv(frame)
    assert pixels.fields["access"] == Access.STRIDED
    made = rig((30, 20))
    made.refresh(pixels)
    made.assert_holds(frame.to_frame().pixels)


# ---------------------------------------------------------------- an app's texture


def app_texture(driver: HostDriver, pixels: np.ndarray) -> int:
    """A texture object over one level of a plain array, as of a mapped texture of OpenGL."""
    level = driver.account.add("level", DeviceArray([pixels[None]], False, Lifetime(writable=False)), owned=False)
    return driver.create_level_texture_object(level, normalised=pixels.dtype == np.uint8)


@pytest.mark.parametrize("origin", ["top-left", "bottom-left"])
@pytest.mark.parametrize("channels", [3, 4])
def test_bytes_of_a_texture_arrive_unchanged(rig, rng, channels, origin):
    image = np.ascontiguousarray(np.resize(rng.permutation(256).astype(np.uint8), (21, 35, 4)))
    made = rig((35, 21), channels)
    texture = app_texture(made.driver, image)
    made.refresh(FramePixels.from_texture(texture, (35, 21), origin=origin))
    made.driver.destroy_texture_object(texture)
    made.assert_holds((image if origin == "top-left" else image[::-1])[..., :channels])


def test_halves_of_a_texture_are_rounded_half_up_and_clamped(rig):
    values = np.array([-1, -0.0, 0.5 / 255, 0.49 / 255, 1, 1.5, 127.5 / 255, np.inf, -np.inf, np.nan, 0.25, 0.75])
    image = np.resize(values, (16, 16, 4)).astype(np.float16)
    made = rig((16, 16), 4)
    texture = app_texture(made.driver, image)
    made.refresh(FramePixels.from_texture(texture, (16, 16)))
    made.driver.destroy_texture_object(texture)
    shares = np.clip(np.nan_to_num(image.astype(np.float64), nan=0, posinf=1, neginf=0), 0, 1)
    np.testing.assert_array_equal(made.level(0), np.floor(shares * 255 + 0.5).astype(np.uint8))


@pytest.mark.parametrize("channels", [3, 4])
def test_floats_of_a_texture_are_stored_as_they_are(rig, rng, channels):
    image = rng.normal(size=(20, 17, 4)).astype(np.float16)
    made = rig((17, 20), channels, "float32")
    texture = app_texture(made.driver, image)
    made.refresh(FramePixels.from_texture(texture, (17, 20)))
    made.driver.destroy_texture_object(texture)
    np.testing.assert_array_equal(made.level(0), image.astype(np.float32)[..., :channels])


# ---------------------------------------------------------------- refusals


def test_tensors_that_are_no_frames_are_refused():
    with pytest.raises(TypeError, match=r"frame of torch.float64; accepted on the device: uint8, float32, float16"):
        FramePixels.from_tensor(torch.zeros((4, 4, 3), dtype=torch.float64))
    with pytest.raises(ValueError, match=r"frame of shape \(3, 4, 5\): accepted are \(height, width, channels\)"):
        FramePixels.from_tensor(torch.zeros((3, 4, 5)))
    with pytest.raises(ValueError, match="origin is 'top'; accepted: 'top-left', 'bottom-left'"):
        FramePixels.from_tensor(torch.zeros((3, 4, 3)), origin="top")
    planes = np.zeros((4, 4), np.uint8), np.zeros((2, 2, 2), np.uint8)
    with pytest.raises(TypeError, match="planes of a frame on the device are torch tensors; these are NumPy arrays"):
        FramePixels.from_yuv(nv12(*planes, matrix="bt709", range="limited"))
