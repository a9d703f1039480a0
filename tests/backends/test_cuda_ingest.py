"""Frames in on the device: the kernels themselves, compiled for the host, against the reference and the cpu backend."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ingest_rig import STREAM, Rig, open_rigs, picture, pixels_of

from texvlm.backends.base import Counters, Texture
from texvlm.backends.cpu import CpuBackend
from texvlm.backends.cuda.frame_pixels import FramePixels, Source
from texvlm.backends.cuda.ingest import TOTALS, variants
from texvlm.frames import Frame
from texvlm.pyramid import TextureSpec
from texvlm.regions import TILE, tile_grid
from texvlm.yuv import nv12

PROPERTIES = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
def rig() -> Iterator[Callable[..., Rig]]:
    with open_rigs() as make:
        yield make


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


def test_a_captured_update_runs_again_with_another_frame(rig, rng):
    made = rig((70, 40))
    before, after = picture(rng, (70, 40)), picture(rng, (70, 40))
    made.refresh(before)
    driver, texture, tiles = made.driver, made.texture, torch.zeros((3, 5), dtype=torch.bool)
    objects, stream = texture.storage.objects(STREAM), driver.create_stream()
    options = {"limit": 0, "tiles": tiles, "totals": made.totals}
    driver.begin_capture(stream)
    for launch in made.ingest.plan_refresh(texture, objects, 0, pixels_of(before), **options):
        launch.run(stream)
    graph = driver.end_capture(stream)
    executable = driver.instantiate(graph)
    assert texture.clock.tolist() == [1]  # nothing of it has run
    driver.launch_graph(executable, stream)
    assert texture.clock.tolist() == [2]
    assert not tiles.any()
    launches = made.ingest.plan_refresh(texture, objects, 0, pixels_of(after), **options)
    for node, launch in zip(driver.kernel_nodes(graph), launches, strict=True):
        address = launch.arguments.ctypes.data
        driver.set_arguments(executable, node, launch.kernel.handle, launch.grid, launch.block, address)
    driver.launch_graph(executable, stream)
    assert tiles.all()
    assert texture.clock.tolist() == [3]
    made.assert_holds(after)
    driver.destroy_executable(executable)
    driver.destroy_graph(graph)
    driver.destroy_stream(stream)


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


def test_tiles_that_do_not_fit_are_refused(rig, rng):
    made = rig((64, 48))
    frame = pixels_of(picture(rng, (64, 48)))

    def upload(tiles: torch.Tensor) -> None:
        made.ingest.upload(made.texture, 0, tiles, frame, stream=STREAM, totals=made.totals)

    with pytest.raises(TypeError, match=r"tiles of .*int32 on cpu; accepted: bool or uint8 on cpu"):
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
