"""One suite for every backend: bits of mips, samples, bounds at edges, counters.

The reference is tests/reference.py. Small pictures first, that can be checked by eye; then sizes,
formats, element types and layers; then rules that hold for any sequence of changes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
import reference
import torch
from compare import AT_CENTRES, anywhere, assert_tokens
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from texvlm.backends.base import TOKEN_DTYPES, Backend, Normalisation, Texture
from texvlm.errors import ClosedError
from texvlm.frames import Frame
from texvlm.layouts import LAYOUTS, make_layout
from texvlm.layouts.base import Focus
from texvlm.layouts.table import make_table, pad_table
from texvlm.pyramid import TextureSpec, column_texels, level_size
from texvlm.regions import tile_grid

SIZES = [(1, 1), (16, 16), (17, 15), (40, 33), (333, 217), (640, 360), (129, 1), (1, 300)]


def picture(rng: np.random.Generator, size: tuple[int, int], channels: int = 3, dtype: str = "uint8") -> np.ndarray:
    shape = (size[1], size[0], channels)
    noise = rng.integers(0, 256, shape, dtype=np.uint8)
    return noise if dtype == "uint8" else (noise / 255).astype(np.float32)


@dataclass
class Filled:
    """A texture array with a frame in some layers."""

    backend: Backend
    texture: Texture
    frames: dict[int, np.ndarray]

    def put(self, layer: int, frame: np.ndarray, tiles: np.ndarray | None = None) -> None:
        picture = Frame(np.ascontiguousarray(frame))
        self.texture.frame_sizes[layer] = picture.size
        if tiles is None:
            columns, rows = tile_grid(picture.size)
            tiles = np.ones((rows, columns), np.bool_)
        self.backend.upload(self.texture, layer, tiles, picture)
        self.backend.build_mips(self.texture, layer, tiles)
        self.frames[layer] = frame

    def sample(self, table: np.ndarray, patch: int = 16, dtype=torch.float32, mean=None, std=None, rows=None):
        channels = self.texture.spec.channels
        out = self.backend.empty((len(table), channels, patch, patch), dtype)
        out.fill_(7)
        normalisation = (
            Normalisation.identity(channels) if mean is None else Normalisation(tuple(mean), tuple(std or ()))
        )
        self.backend.sample(self.texture, table, out, normalisation, rows)
        return out

    def expected(self, table: np.ndarray, patch: int = 16, mean=None, std=None) -> np.ndarray:
        return reference.tokens(self.frames, table, patch, self.texture.spec.levels, mean, std)


@pytest.fixture
def fill(backend: Backend):
    """Makes filled textures and frees them."""
    made: list[Texture] = []

    def make(spec: TextureSpec, frames: dict[int, np.ndarray]) -> Filled:
        texture = backend.create_texture(spec)
        made.append(texture)
        filled = Filled(backend, texture, {})
        for layer, frame in frames.items():
            filled.put(layer, frame)
        return filled

    yield make
    for texture in made:
        backend.destroy_texture(texture)


def scattered(rng: np.random.Generator, size: tuple[int, int], count: int = 60, patch: int = 16) -> np.ndarray:
    """Tokens anywhere, also outside the frame, magnified, minified and beyond the last level."""
    reach = max(size)
    return make_table(
        rng.uniform(-0.3 * reach - 8, 1.3 * reach + 8, count),
        rng.uniform(-0.3 * reach - 8, 1.3 * reach + 8, count),
        patch * 2.0 ** rng.uniform(-2, np.log2(reach) - 1 if reach > 16 else 2, count),
        size=size,
    )


# ---------------------------------------------------------------- mips


def test_mips_of_a_tile_that_can_be_checked_by_eye(fill):
    tile = np.zeros((16, 16, 1), np.uint8)
    tile[:2, :2, 0] = [[1, 2], [3, 5]]  # mean 2.75
    filled = fill(TextureSpec((16, 16), channels=1), {0: tile})
    read = [filled.backend.read_level(filled.texture, 0, k)[..., 0] for k in range(5)]
    assert [level.shape for level in read] == [(16, 16), (8, 8), (4, 4), (2, 2), (1, 1)]
    assert [int(level[0, 0]) for level in read] == [1, 3, 1, 0, 0]  # 11/4, 11/16, 11/64, 11/256, half up


def test_means_round_half_up_once(fill):
    tile = np.zeros((16, 16, 1), np.uint8)
    tile[0::2, 0::2] = 2  # every 2 x 2 mean is exactly 0.5
    filled = fill(TextureSpec((16, 16), channels=1), {0: tile})
    for level in range(1, 5):
        assert (filled.backend.read_level(filled.texture, 0, level) == 1).all()
    tile[:] = 0
    tile[:2, :2] = 1  # 4 / 16 = 0.25: rounding level 1 first would not matter; 2 / 4 then 1 / 4 would
    tile[0, 2] = 2
    filled.put(0, tile)
    assert filled.backend.read_level(filled.texture, 0, 1)[0, 1] == 1
    assert filled.backend.read_level(filled.texture, 0, 2)[0, 0] == 0


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_every_level_has_the_references_bits(fill, rng, size, channels):
    frame = picture(rng, size, channels)
    filled = fill(TextureSpec(size, channels=channels), {0: frame})
    for level, expected in enumerate(reference.pyramid(frame, filled.texture.spec.levels)):
        got = filled.backend.read_level(filled.texture, 0, level)
        assert got.shape[1::-1] == level_size(size, level)
        np.testing.assert_array_equal(got, expected, err_msg=f"level {level}")


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_float_levels_equal_the_reference(fill, rng, channels):
    frame = picture(rng, (150, 77), channels, "float32")
    filled = fill(TextureSpec((150, 77), channels=channels, dtype="float32"), {0: frame})
    for level, expected in enumerate(reference.pyramid(frame, filled.texture.spec.levels)):
        np.testing.assert_allclose(filled.backend.read_level(filled.texture, 0, level), expected, rtol=2e-6, atol=1e-7)


@given(st.data())
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_incremental_updates_equal_a_rebuild(fill, data):
    size = data.draw(st.tuples(st.integers(1, 90), st.integers(1, 90)), label="size")
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1), label="seed"))
    frame = picture(rng, size)
    filled = fill(TextureSpec((96, 96), levels=data.draw(st.integers(5, 8), label="levels")), {0: frame})
    columns, rows = tile_grid(size)
    for _ in range(data.draw(st.integers(1, 4), label="updates")):
        tiles = rng.random((rows, columns)) < data.draw(st.floats(0, 1), label="share")
        new = picture(rng, size)
        dirty = np.kron(tiles, np.ones((16, 16), np.bool_))[: size[1], : size[0], None]
        filled.put(0, np.where(dirty, new, filled.frames[0]), tiles)
    for level, expected in enumerate(reference.pyramid(filled.frames[0], filled.texture.spec.levels)):
        np.testing.assert_array_equal(filled.backend.read_level(filled.texture, 0, level), expected)


def test_only_masked_tiles_are_touched(fill, rng):
    before, after = picture(rng, (64, 48)), picture(rng, (64, 48))
    filled = fill(TextureSpec((64, 48)), {0: before})
    tiles = np.zeros((3, 4), np.bool_)
    tiles[1, 2] = True
    filled.put(0, after, tiles)
    stored = filled.backend.read_level(filled.texture, 0, 0)
    expected = before.copy()
    expected[16:32, 32:48] = after[16:32, 32:48]
    np.testing.assert_array_equal(stored, expected)


# ---------------------------------------------------------------- detect


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_detect_finds_exactly_the_tiles_beyond_the_threshold(fill, rng, channels, dtype):
    size, limit = (77, 50), 9 if dtype == "uint8" else 9 / 255
    frame = picture(rng, size, channels, dtype)
    filled = fill(TextureSpec(size, channels=channels, dtype=dtype), {0: frame})
    for amount, found in ((0, False), (9, False), (10, True), (60, True)):
        for y, x in ((0, 0), (49, 76), (15, 16), (16, 15), (48, 3)):
            new = frame.copy()
            step = amount if dtype == "uint8" else amount / 255
            centre = new[y, x, channels - 1]
            new[y, x, channels - 1] = centre + step if centre < (100 if dtype == "uint8" else 0.4) else centre - step
            expected = np.zeros((4, 5), np.bool_)
            expected[y // 16, x // 16] = found
            limit_here = limit if dtype == "uint8" else limit + 1e-6
            got = filled.backend.detect(filled.texture, 0, Frame(new), limit_here)
            np.testing.assert_array_equal(got, expected, err_msg=f"{amount} at {(y, x)}")


def test_detect_counts_nan_as_a_change(fill):
    frame = np.zeros((16, 32, 1), np.float32)
    filled = fill(TextureSpec((32, 16), channels=1, dtype="float32"), {0: frame})
    broken = frame.copy()
    broken[3, 20] = np.nan
    assert filled.backend.detect(filled.texture, 0, Frame(broken), 0.5).tolist() == [[False, True]]
    filled.put(0, broken)
    assert filled.backend.detect(filled.texture, 0, Frame(frame), 0.5).tolist() == [[False, True]]


# ---------------------------------------------------------------- sample


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_samples_anywhere_are_within_the_bound(fill, rng, size):
    filled = fill(TextureSpec(size), {0: picture(rng, size)})
    table = scattered(rng, size)
    assert_tokens(filled.sample(table), filled.expected(table), anywhere(filled.backend))


@pytest.mark.parametrize("patch", [1, 7, 8, 14, 16, 32])
def test_texel_centres_at_whole_lods_are_exact(fill, rng, patch):
    size = (448, 320)
    filled = fill(TextureSpec(size), {0: picture(rng, size)})
    sides = patch * 2 ** rng.integers(0, 4, 40)
    columns, rows = size[0] // sides, size[1] // sides
    table = make_table(
        (rng.integers(0, 1000, 40) % columns + 0.5) * sides,
        (rng.integers(0, 1000, 40) % rows + 0.5) * sides,
        sides,
        size=size,
    )
    assert_tokens(filled.sample(table, patch), filled.expected(table, patch), AT_CENTRES)
    as_bytes = filled.sample(table, patch, torch.uint8)
    np.testing.assert_array_equal(as_bytes.cpu().numpy(), np.rint(filled.expected(table, patch) * 255).astype(np.uint8))


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("stored", ["uint8", "float32"])
@pytest.mark.parametrize("dtype", TOKEN_DTYPES, ids=str)
def test_formats_and_element_types(fill, rng, channels, stored, dtype):
    size = (120, 75)
    filled = fill(TextureSpec(size, channels=channels, dtype=stored), {0: picture(rng, size, channels, stored)})
    table = scattered(rng, size, 30)
    assert_tokens(filled.sample(table, dtype=dtype), filled.expected(table), anywhere(filled.backend))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("patch", [5, 16])
def test_short_floats_are_the_nearest_ones(fill, dtype, patch):
    """Ties go to even, too; and what has no nearest one stays what it is."""
    scale = 2.0 ** np.arange(-20, 21)
    values = np.concatenate([(1 + k / 2**13) * scale for k in range(0, 2**13, 37)] + [[0.0, np.inf, -np.inf, np.nan]])
    frame = np.resize(values * np.resize([1, -1], len(values)), (96, 96, 1)).astype(np.float32)
    filled = fill(TextureSpec((96, 96), channels=1, dtype="float32"), {0: frame})
    centres = np.arange(patch / 2, 96 - patch / 2, patch)
    x, y = (a.reshape(-1) for a in np.meshgrid(centres, centres))
    table = make_table(x, y, patch, size=(96, 96))
    exact = filled.sample(table, patch)
    got = filled.sample(table, patch, dtype)
    np.testing.assert_array_equal(got.cpu().float().numpy(), exact.to(dtype).cpu().float().numpy())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32], ids=str)
def test_normalisation_in_the_kernel(fill, rng, dtype):
    size, mean, std = (200, 100), (0.48, 0.45, 0.40), (0.26, 0.25, 0.27)
    filled = fill(TextureSpec(size), {0: picture(rng, size)})
    table = scattered(rng, size, 30)
    out = filled.sample(table, dtype=dtype, mean=mean, std=std)
    assert_tokens(out, filled.expected(table, mean=mean, std=std), anywhere(filled.backend), gain=1 / min(std))


@pytest.mark.parametrize("patch", [1, 3, 5, 14])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float16, torch.bfloat16], ids=str)
def test_patches_that_do_not_fill_whole_words(fill, rng, patch, dtype):
    size = (90, 61)
    filled = fill(TextureSpec(size, channels=1), {0: picture(rng, size, 1)})
    table = scattered(rng, size, 9, patch)
    assert_tokens(filled.sample(table, patch, dtype), filled.expected(table, patch), anywhere(filled.backend))


@pytest.mark.parametrize("dtype", TOKEN_DTYPES, ids=str)
@pytest.mark.parametrize("patch", [3, 16])
def test_only_rows_that_are_asked_for_are_written(fill, rng, dtype, patch):
    size = (100, 60)
    filled = fill(TextureSpec(size, channels=1), {0: picture(rng, size, 1)})
    table = scattered(rng, size, 12, patch)
    rows = np.array([1, 2, 7, 11], np.int32)
    before = filled.backend.counters.tokens_sampled
    out = filled.sample(table, patch, dtype, rows=rows)
    assert_tokens(out[rows.tolist()], filled.expected(table[rows], patch), anywhere(filled.backend))
    others = np.setdiff1d(np.arange(12), rows)
    assert (out[others.tolist()] == 7).all()
    assert filled.backend.counters.tokens_sampled - before == 4


def test_padding_rows_are_zero(fill, rng):
    filled = fill(TextureSpec((64, 64)), {0: picture(rng, (64, 64))})
    table = pad_table(make_table([32.0], [32.0], 64.0, size=(64, 64)), 3)
    out = filled.sample(table, mean=(0.5,) * 3, std=(0.5,) * 3)
    assert (out[1:] == 0).all()
    assert (out[0] != 0).any()


def test_whole_lods_do_not_depend_on_the_next_level(fill, rng):
    """The fraction of log2(side / patch) is exactly 0 for a power of two: no second fetch, no blur."""
    frame = picture(rng, (256, 256))
    filled = fill(TextureSpec((256, 256)), {0: frame})
    for level in range(5):
        side = 16.0 * 2**level
        table = make_table([side / 2], [side / 2], side, size=(256, 256))
        expected = reference.pyramid(frame, 9)[level][:16, :16].transpose(2, 0, 1) / 255
        assert_tokens(filled.sample(table), expected[None], AT_CENTRES)


# ---------------------------------------------------------------- edges and layers


def test_a_small_source_in_a_large_array_behaves_as_if_alone(fill, rng):
    sizes = {0: (300, 200), 1: (33, 47), 2: (150, 16), 3: (1, 1)}
    frames = {layer: picture(rng, size) for layer, size in sizes.items()}
    shared = fill(TextureSpec((300, 200), layers=4), {k: picture(rng, (300, 200)) for k in sizes})  # leftovers
    for layer, frame in frames.items():
        shared.put(layer, frame)
    for layer, size in sizes.items():
        table = scattered(rng, size, 30)
        table["layer"] = layer
        alone = fill(TextureSpec(size, levels=shared.texture.spec.levels), {0: frames[layer]})
        moved = table.copy()
        moved["layer"] = 0
        # texture units work on coordinates in units of the storage, which may move a weight by one step
        slack = anywhere(shared.backend) if shared.backend.describe().get("filtering") == "hardware" else 0
        np.testing.assert_allclose(shared.sample(table).cpu(), alone.sample(moved).cpu(), rtol=0, atol=slack)
        assert_tokens(shared.sample(table), shared.expected(table), anywhere(shared.backend))


def test_a_constant_frame_gives_constant_tokens_whatever_lies_around_it(fill, rng):
    filled = fill(TextureSpec((200, 200), layers=2), {0: picture(rng, (200, 200)), 1: picture(rng, (200, 200))})
    filled.put(0, np.full((37, 51, 3), 90, np.uint8))
    table = scattered(rng, (51, 37), 80)
    out = filled.sample(table)
    np.testing.assert_allclose(out.cpu().numpy(), 90 / 255, atol=1e-6)


def test_layers_in_one_call(fill, rng):
    size = (96, 64)
    filled = fill(TextureSpec(size, layers=5), {layer: picture(rng, size) for layer in range(5)})
    table = scattered(rng, size, 50)
    table["layer"] = rng.integers(0, 5, 50)
    assert_tokens(filled.sample(table), filled.expected(table), anywhere(filled.backend))


@pytest.mark.parametrize("name", sorted(LAYOUTS))
def test_every_layout(fill, rng, name):
    size = (320, 180)
    filled = fill(TextureSpec(size), {0: picture(rng, size)})
    layout = make_layout(name) if name.startswith("rings") else make_layout(name, tokens=64)
    table = layout.plan(size, Focus(np.array([[100.3, 71.7]])))
    assert_tokens(filled.sample(table, layout.patch), filled.expected(table, layout.patch), anywhere(filled.backend))


# ---------------------------------------------------------------- counters and life


def test_counters_say_what_was_done(fill, rng):
    size = (100, 50)  # 7 x 4 tiles; the last column is 4 texels wide, the last row 2 high
    filled = fill(TextureSpec(size, levels=7), {0: picture(rng, size)})
    tiles = np.zeros((4, 7), np.bool_)
    tiles[0, 0] = tiles[3, 6] = True
    counters = replace(filled.backend.counters)
    before = (counters.tiles_dirty, counters.bytes_uploaded, counters.texels_rebuilt)
    filled.put(0, picture(rng, size), tiles)
    counters = filled.backend.counters
    after = (counters.tiles_dirty, counters.bytes_uploaded, counters.texels_rebuilt)
    tail = 2 + 2  # levels 5 (4 x 2) and 6 (2 x 1): one texel above each of the two tiles
    assert np.subtract(after, before).tolist() == [2, (256 + 2 * 4) * 3, 2 * column_texels() + tail]
    compared = counters.tiles_compared
    filled.backend.detect(filled.texture, 0, Frame(filled.frames[0]), 0)
    assert filled.backend.counters.tiles_compared - compared == 28


def test_a_destroyed_texture_is_refused(backend, rng):
    texture = backend.create_texture(TextureSpec((32, 32)))
    backend.destroy_texture(texture)
    with pytest.raises(ClosedError, match="destroyed"):
        backend.read_level(texture, 0, 0)


def test_describe_is_plain_data(backend):
    import json

    said = backend.describe()
    assert said["backend"] == backend.name
    json.dumps(said)
