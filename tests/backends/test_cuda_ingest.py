"""Frames in on the device: the kernels themselves, compiled for the host, against the reference and the cpu backend."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
import pytest
import reference
import torch
from conftest import unavailable
from cuda_device import open_host_device
from cuda_host.compiler import HostCompiler
from cuda_host.driver import HostDriver
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from texvlm.backends.base import Counters, Texture
from texvlm.backends.cpu import CpuBackend
from texvlm.backends.cuda.arrays import CudaTexture, OwnArray, create_texture
from texvlm.backends.cuda.frame_pixels import Access, FramePixels, Source
from texvlm.backends.cuda.ingest import TOTALS, Ingest, variants
from texvlm.backends.cuda.kernels import Kernels
from texvlm.errors import BackendUnavailable
from texvlm.frames import Frame
from texvlm.pyramid import TextureSpec, level_size
from texvlm.regions import TILE, tile_grid
from texvlm.yuv import nv12, p010

STREAM = 0
PROPERTIES = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@dataclass
class Rig:
    """A texture array on the emulated device, and what its kernels have counted."""

    driver: HostDriver
    ingest: Ingest
    texture: CudaTexture
    totals: torch.Tensor = field(default_factory=lambda: torch.zeros(5, dtype=torch.int64))

    def refresh(self, frame: FramePixels | np.ndarray, layer: int = 0, limit: float | None = None) -> np.ndarray:
        tiles = self.ingest.refresh(
            self.texture, layer, pixels_of(frame), limit=limit, stream=STREAM, totals=self.totals
        )
        assert tiles.dtype == torch.bool
        return tiles.numpy()

    def level(self, level: int, layer: int = 0) -> np.ndarray:
        width, height = self.texture.frame_sizes[layer].tolist()
        size = level_size((width, height), level)
        return self.ingest.read_level(self.texture, layer, level, size, stream=STREAM).numpy()

    def assert_holds(self, frame: np.ndarray, layer: int = 0) -> None:
        """Every level of a layer has the reference's bits (float levels: its values)."""
        for level, expected in enumerate(reference.pyramid(frame, self.texture.spec.levels)):
            got = self.level(level, layer)
            assert got.shape == expected.shape
            if level == 0 or frame.dtype == np.uint8:
                np.testing.assert_array_equal(got, expected, err_msg=f"level {level}")
            else:
                np.testing.assert_allclose(got, expected, rtol=2e-6, atol=1e-7, err_msg=f"level {level}")

    def counts(self) -> dict[str, int]:
        return dict(zip(TOTALS, self.totals.tolist(), strict=False))


@pytest.fixture(scope="module")
def device() -> tuple[HostDriver, HostCompiler]:
    try:
        return open_host_device()
    except BackendUnavailable as refusal:
        unavailable("cuda-host", str(refusal))
        raise


@pytest.fixture
def rig(device: tuple[HostDriver, HostCompiler]) -> Iterator[Callable[..., Rig]]:
    """Makes texture arrays; afterwards nothing was misused, written out of range, or left behind."""
    driver, compiler = device
    kernels = Kernels(driver, compiler)
    ingest = Ingest(driver, kernels)
    made: list[CudaTexture] = []
    outside = driver.outside_writes, driver.outside_reads

    def make(size: tuple[int, int], channels: int = 3, dtype: str = "uint8", layers: int = 1, levels: int = 0) -> Rig:
        spec = TextureSpec(size, layers=layers, channels=channels, dtype=dtype, levels=levels)
        made.append(create_texture(driver, spec, OwnArray(driver, spec)))
        return Rig(driver, ingest, made[-1])

    yield make
    for texture in made:
        texture.storage.close()
    kernels.close()
    assert (driver.outside_writes, driver.outside_reads) == outside
    assert driver.violations == []
    assert driver.leaks() == []


def pixels_of(frame: FramePixels | np.ndarray) -> FramePixels:
    return frame if isinstance(frame, FramePixels) else FramePixels.from_tensor(torch.from_numpy(frame))


def picture(rng: np.random.Generator, size: tuple[int, int], channels: int = 3, dtype: str = "uint8") -> np.ndarray:
    noise = rng.integers(0, 256, (size[1], size[0], channels), dtype=np.uint8)
    return noise if dtype == "uint8" else (noise / 255).astype(np.float32)


# ---------------------------------------------------------------- bits of every level


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("dtype", ["uint8", "float32"])
@pytest.mark.parametrize("size", [(1, 1), (17, 15), (64, 32), (130, 77), (300, 1)], ids=str)
def test_every_level_equals_the_reference(rig, rng, size, channels, dtype):
    frame = picture(rng, size, channels, dtype)
    made = rig(size, channels, dtype)
    assert made.refresh(frame).all()
    made.assert_holds(frame)


@pytest.mark.parametrize(
    ("size", "levels", "dtype"),
    [
        ((5000, 3), 13, "uint8"),
        ((3, 5000), 10, "uint8"),
        ((270, 530), 10, "uint8"),
        ((530, 270), 10, "float32"),
        ((300, 40), 14, "uint8"),
        ((16, 16), 14, "uint8"),
        ((257, 256), 11, "uint8"),
    ],
    ids=str,
)
def test_levels_beyond_the_eighth_equal_the_reference(rig, rng, size, levels, dtype):
    frame = picture(rng, size, 1, dtype)
    made = rig(size, 1, dtype, levels=levels)
    made.refresh(frame)
    made.assert_holds(frame)
    changed = frame.copy()
    changed[-1, -1] = 1 - changed[-1, -1] if dtype == "float32" else 255 - changed[-1, -1]
    assert np.count_nonzero(made.refresh(changed, limit=0)) == 1
    made.assert_holds(changed)


def test_four_channels_of_a_deep_pyramid_keep_their_sums_apart(rig, rng):
    frame = picture(rng, (600, 35), 4)
    made = rig((600, 35), 4, levels=10)
    made.refresh(frame)
    made.assert_holds(frame)


def test_a_white_frame_stays_white_at_every_level(rig):
    frame = np.full((40, 600, 4), 255, np.uint8)  # the largest sums that there are
    made = rig((600, 40), 4, levels=11)
    made.refresh(frame)
    made.assert_holds(frame)


def test_a_smaller_frame_leaves_the_rest_of_its_layer_alone(rig, rng):
    made = rig((96, 80), layers=2)
    large, small, other = picture(rng, (96, 80)), picture(rng, (35, 20)), picture(rng, (96, 80))
    made.refresh(large)
    made.refresh(other, layer=1)
    made.refresh(small)
    made.assert_holds(small)
    made.assert_holds(other, layer=1)
    everything = made.ingest.read_level(made.texture, 0, 0, (96, 80), stream=STREAM).numpy()
    np.testing.assert_array_equal(everything[32:], large[32:])
    np.testing.assert_array_equal(everything[:, 48:], large[:, 48:])
    np.testing.assert_array_equal(everything[20:32, :35], np.repeat(small[-1:], 12, axis=0))


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


# ---------------------------------------------------------------- what is a change


@given(st.data())
@PROPERTIES
def test_the_same_tiles_are_found_as_on_the_host(rig, data):
    channels = data.draw(st.sampled_from([1, 3, 4]), label="channels")
    dtype = data.draw(st.sampled_from(["uint8", "float32"]), label="dtype")
    size = data.draw(st.tuples(st.integers(1, 80), st.integers(1, 40)), label="size")
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1), label="seed"))
    limit = data.draw(st.sampled_from([0, 1, 7, 7.9, 254, 255, 300]), label="limit")
    frame = picture(rng, size, channels, dtype)
    new = frame.copy()
    for _ in range(data.draw(st.integers(0, 5), label="changes")):
        place = (rng.integers(size[1]), rng.integers(size[0]), rng.integers(channels))
        if dtype == "uint8":
            step = int(data.draw(st.sampled_from([1, 7, 8, 254, 255]), label="step"))
            new[place] = max(0, int(new[place]) - step) if rng.random() < 0.5 else min(255, int(new[place]) + step)
        else:
            new[place] = rng.choice([np.nan, np.inf, -np.inf, 0, 0.5, 1])
            if rng.random() < 0.3:
                frame[place] = new[place]
    if dtype == "float32":
        limit = limit / 255
    with np.errstate(invalid="ignore"):
        host, texture = on_host(size, channels, dtype, frame)
        expected = host.detect(texture, 0, Frame(new), limit)
    made = rig(size, channels, dtype)
    made.refresh(frame)
    versions, totals = made.texture.versions.clone(), made.totals.clone()
    got = made.ingest.detect(made.texture, 0, pixels_of(new), limit=limit, stream=STREAM).numpy()
    np.testing.assert_array_equal(got, expected)
    assert torch.equal(made.texture.versions, versions)
    assert torch.equal(made.totals, totals)
    np.testing.assert_array_equal(made.level(0), frame)


def test_a_stored_repetition_of_the_edge_is_never_compared(rig, rng):
    made = rig((32, 32))
    made.refresh(picture(rng, (32, 32)))
    small = made.level(0)[:10, :10].copy()  # what lies beyond its edge in storage is another picture
    found = made.ingest.detect(made.texture, 0, pixels_of(small), limit=0, stream=STREAM)
    assert not found.any()


# ---------------------------------------------------------------- updates


def on_host(size: tuple[int, int], channels: int, dtype: str, frame: np.ndarray) -> tuple[CpuBackend, Texture]:
    host = CpuBackend()
    texture = host.create_texture(TextureSpec(size, channels=channels, dtype=dtype))
    put_on_host(host, texture, frame)
    return host, texture


def put_on_host(host: CpuBackend, texture: Texture, frame: np.ndarray) -> None:
    columns, rows = tile_grid((frame.shape[1], frame.shape[0]))
    tiles = np.ones((rows, columns), np.bool_)
    host.upload(texture, 0, tiles, Frame(frame))
    host.build_mips(texture, 0, tiles)


def tile_counts(counters: Counters) -> dict[str, int]:
    return {name: getattr(counters, name) for name in TOTALS}


@given(st.data())
@PROPERTIES
def test_updates_equal_a_rebuild_and_count_as_on_the_host(rig, data):
    channels = data.draw(st.sampled_from([1, 3]), label="channels")
    size = data.draw(st.tuples(st.integers(1, 150), st.integers(1, 90)), label="size")
    levels = data.draw(st.integers(5, 10), label="levels")
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1), label="seed"))
    frame = picture(rng, size, channels)
    host = CpuBackend()
    texture = host.create_texture(TextureSpec(size, channels=channels, levels=levels))
    put_on_host(host, texture, frame)
    made = rig(size, channels, levels=levels)
    made.refresh(frame)
    assert made.counts() == tile_counts(host.counters)
    versions = np.ones(tile_grid(size)[::-1], np.int64)
    limit = data.draw(st.sampled_from([0, 20]), label="limit")
    for update in range(data.draw(st.integers(1, 4), label="updates")):
        share = data.draw(st.sampled_from([0, 0.1, 0.5, 1]), label="share")
        dirty = rng.random(tile_grid(size)[::-1]) < share
        where = np.kron(dirty, np.ones((TILE, TILE), np.bool_))[: size[1], : size[0], None]
        new = np.where(where, picture(rng, size, channels), frame)
        expected = host.refresh(texture, 0, Frame(new), limit)
        tiles = made.refresh(new, limit=limit)
        np.testing.assert_array_equal(tiles, expected)
        frame = np.where(np.kron(tiles, np.ones((TILE, TILE), np.bool_))[: size[1], : size[0], None], new, frame)
        versions[tiles] = update + 2
        np.testing.assert_array_equal(made.texture.versions[0].numpy(), versions)
        assert made.texture.clock.tolist() == [update + 2]
        assert made.counts() == tile_counts(host.counters)
    made.assert_holds(frame)


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_step_by_step_gives_the_bits_and_counts_of_one_pass(rig, rng, dtype):
    size = (150, 70)
    before, after = picture(rng, size, 3, dtype), picture(rng, size, 3, dtype)
    after[:, 40:90] = before[:, 40:90]
    once, steps = rig(size, 3, dtype), rig(size, 3, dtype)
    once.refresh(before)
    steps.refresh(before)
    found = once.refresh(after, limit=0)
    tiles = steps.ingest.detect(steps.texture, 0, pixels_of(after), limit=0, stream=STREAM)
    np.testing.assert_array_equal(tiles.numpy(), found)
    flags = tiles.to(torch.uint8)  # either kind of flag will do
    steps.ingest.upload(steps.texture, 0, flags, pixels_of(after), stream=STREAM, totals=steps.totals)
    counted = steps.counts()
    assert counted["tiles_dirty"] == once.counts()["tiles_dirty"]
    assert counted["texels_rebuilt"] < once.counts()["texels_rebuilt"]
    steps.ingest.build_mips(steps.texture, 0, tiles, stream=STREAM, totals=steps.totals)
    assert steps.counts() == once.counts()
    for level in range(once.texture.spec.levels):
        np.testing.assert_array_equal(steps.level(level), once.level(level))
    dirty = steps.texture.versions[0].numpy() > 1
    np.testing.assert_array_equal(dirty, found)  # each step is an update, so the clock differs from one pass


def test_only_given_tiles_are_touched(rig, rng):
    before, after = picture(rng, (64, 48)), picture(rng, (64, 48))
    made = rig((64, 48))
    made.refresh(before)
    tiles = torch.zeros((3, 4), dtype=torch.bool)
    tiles[1, 2] = True
    made.ingest.upload(made.texture, 0, tiles, pixels_of(after), stream=STREAM, totals=made.totals)
    made.ingest.build_mips(made.texture, 0, tiles, stream=STREAM, totals=made.totals)
    mixed = before.copy()
    mixed[16:32, 32:48] = after[16:32, 32:48]
    made.assert_holds(mixed)


def test_layers_do_not_disturb_each_other(rig, rng):
    made = rig((90, 50), layers=3)
    frames = [picture(rng, (90, 50)), picture(rng, (33, 50)), picture(rng, (90, 17))]
    for layer, frame in enumerate(frames):
        made.refresh(frame, layer)
    changed = frames[1].copy()
    changed[20, 20] ^= 1
    made.refresh(changed, 1, limit=0)
    for layer, frame in enumerate([frames[0], changed, frames[2]]):
        made.assert_holds(frame, layer)
    assert made.texture.clock.tolist() == [1, 2, 1]
    assert made.texture.frame_sizes.tolist() == [[90, 50], [33, 50], [90, 17]]
    assert (made.texture.versions[1] == 2).nonzero().tolist() == [[1, 1]]
    assert made.texture.versions[1, :, 3:].eq(0).all()  # beyond the smaller frame's tiles


# ---------------------------------------------------------------- launches and refusals


@pytest.mark.parametrize(("levels", "launches"), [(5, 2), (9, 2), (10, 3), (13, 3), (14, 4)])
def test_one_pass_and_a_tail(rig, rng, levels, launches):
    made = rig((40, 40), 1, levels=levels)
    before = len([name for name, _ in made.driver.calls if name == "launch"])
    made.refresh(picture(rng, (40, 40), 1))
    assert len([name for name, _ in made.driver.calls if name == "launch"]) - before == launches
    assert not [name for name, _ in made.driver.calls if name == "synchronize"]


def test_frames_that_do_not_fit_are_refused(rig, rng):
    made = rig((32, 32), layers=2)
    with pytest.raises(ValueError, match="frame of 33 x 32; this texture takes up to 32 x 32"):
        made.refresh(picture(rng, (33, 32)))
    with pytest.raises(ValueError, match=r"layer 2 is outside the texture array \(0..1\)"):
        made.refresh(picture(rng, (32, 32)), layer=2)
    with pytest.raises(ValueError, match="frame of BYTES for textures of 4 channels of uint8; this texture takes 3 of"):
        made.refresh(picture(rng, (32, 32), 4))
    with pytest.raises(ValueError, match="frame of FLOATS for textures of 3 channels of float32; this texture takes 3"):
        made.refresh(picture(rng, (32, 32), 3, "float32"))
    planes = torch.zeros((4, 4), dtype=torch.uint8), torch.zeros((2, 2, 2), dtype=torch.uint8)
    yuv = nv12(*planes, matrix="bt709", range="limited")
    with pytest.raises(
        ValueError, match="frame of NV12 for textures of 3 channels of uint8; this texture takes 3 of f"
    ):
        rig((32, 32), dtype="float32").refresh(FramePixels.from_yuv(yuv))
    assert made.texture.clock.tolist() == [0, 0]


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


def test_tiles_that_do_not_fit_are_refused(rig, rng):
    made = rig((64, 48))
    frame = pixels_of(picture(rng, (64, 48)))

    def upload(tiles: torch.Tensor) -> None:
        made.ingest.upload(made.texture, 0, tiles, frame, stream=STREAM, totals=made.totals)

    with pytest.raises(TypeError, match="tiles of .*int32 on cpu; accepted: bool or uint8 on cpu"):
        upload(torch.ones((3, 4), dtype=torch.int32))
    with pytest.raises(ValueError, match=r"tiles of shape \(4, 3\); accepted: contiguous, \(3, 4\) for this frame"):
        upload(torch.ones((4, 3), dtype=torch.bool))
    with pytest.raises(ValueError, match=r"tiles of shape \(3, 4\); accepted: contiguous"):
        upload(torch.ones((4, 3), dtype=torch.bool).T)


def test_levels_that_do_not_exist_are_refused(rig):
    made = rig((64, 48))
    with pytest.raises(ValueError, match=r"level 5 is outside the pyramid \(0..4\)"):
        made.ingest.read_level(made.texture, 0, 5, (2, 2), stream=STREAM)
    with pytest.raises(ValueError, match=r"5 x 3 texels of level 4; this texture has 4 x 3"):
        made.ingest.read_level(made.texture, 0, 4, (5, 3), stream=STREAM)


def test_every_variant_is_declared():
    found = {(file, dict(definitions).get("TEXVLM_SOURCE")) for file, definitions, _ in variants()}
    expected = {("refresh.cu", f"SOURCE_{source.name}") for source in Source}
    assert found == expected | {("build_tail.cu", None), ("read_level.cu", None)}
    assert len(variants()) == len({(file, definitions) for file, definitions, _ in variants()})
