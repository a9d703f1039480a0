"""The sampling kernel on the emulated device: both filters, every output type, edges, rows."""

from __future__ import annotations

import numpy as np
import pytest
import reference
import torch
from compare import AT_CENTRES, assert_tokens
from sampler_rig import FILTERS, open_device, picture, scattered

from texvlm.backends.base import Normalisation
from texvlm.backends.cuda.sampler import OUT_TYPES, Sampler, variants
from texvlm.layouts.table import make_table, pad_table
from texvlm.pyramid import TextureSpec

# bounds against the float64 reference
ANYWHERE = {
    "exact": 1e-4,  # positions and arithmetic in 32 bits
    "hardware": 1 / 256 + 1e-4,  # and half a step of the unit's weights along x, and along y
}
QUANTISED = 1 / 256  # against the reference with weights of 8 bits


@pytest.fixture
def device():
    yield from open_device()


def by_hardware(frame: np.ndarray, table: np.ndarray, patch: int, levels: int) -> np.ndarray:
    """The reference with weights rounded to 8 bits, in units of full scale."""
    texels = reference.pyramid(frame, levels)

    def rounded(weights):
        return np.round(weights * 256) / 256

    def bilinear(level, x, y):
        low_x, low_y = np.floor(x - 0.5), np.floor(y - 0.5)
        wx, wy = rounded(x - 0.5 - low_x)[None, :, None], rounded(y - 0.5 - low_y)[:, None, None]
        height, width = level.shape[:2]
        value = 0.0
        for j, share_y in ((0, 1 - wy), (1, wy)):
            for i, share_x in ((0, 1 - wx), (1, wx)):
                rows = np.clip(low_y + j, 0, height - 1).astype(int)
                columns = np.clip(low_x + i, 0, width - 1).astype(int)
                value = value + level[rows][:, columns].astype(np.float64) * share_y * share_x
        return value

    out = np.zeros((len(table), frame.shape[2], patch, patch))
    for token, row in zip(out, table, strict=True):
        steps = ((np.arange(patch) + 0.5) / patch - 0.5) * float(row["side"])
        lod = min(max(np.log2(float(row["side"]) / patch), 0.0), levels - 1)
        low = int(lod)
        share = rounded(lod - low)
        for level, weight in ((low, 1 - share), (min(low + 1, levels - 1), share)):
            x, y = (float(row["x"]) + steps) / 2**level, (float(row["y"]) + steps) / 2**level
            token += weight * bilinear(texels[level], x, y).transpose(2, 0, 1)
    return out / 255 if frame.dtype == np.uint8 else out


# ---------------------------------------------------------------- values


@pytest.mark.parametrize("size", [(1, 1), (17, 15), (64, 64), (333, 217), (129, 1)], ids=str)
@pytest.mark.parametrize("filtering", FILTERS)
def test_tokens_anywhere_are_the_references(device, rng, size, filtering):
    frame = picture(rng, size)
    texture = device.fill(TextureSpec(size), {0: frame})
    table = scattered(rng, size)
    out = device.sample(texture, table, filtering)
    assert_tokens(out, reference.tokens({0: frame}, table, 16, texture.spec.levels), ANYWHERE[filtering])
    if filtering == "hardware":
        assert_tokens(out, by_hardware(frame, table, 16, texture.spec.levels), QUANTISED)


@pytest.mark.parametrize("filtering", FILTERS)
@pytest.mark.parametrize("dtype", ["uint8", "float32"])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_every_kind_of_texel(device, rng, channels, dtype, filtering):
    frame = picture(rng, (75, 50), channels, dtype)
    texture = device.fill(TextureSpec((75, 50), channels=channels, dtype=dtype), {0: frame})
    table = scattered(rng, (75, 50))
    out = device.sample(texture, table, filtering)
    assert_tokens(out, reference.tokens({0: frame}, table, 16, texture.spec.levels), ANYWHERE[filtering])


@pytest.mark.parametrize("filtering", FILTERS)
@pytest.mark.parametrize("patch", [1, 2, 7, 14, 15, 20, 64])
def test_any_patch(device, rng, patch, filtering):
    frame = picture(rng, (150, 100))
    texture = device.fill(TextureSpec((150, 100)), {0: frame})
    table = scattered(rng, (150, 100), 12, patch)
    out = device.sample(texture, table, filtering, patch=patch)
    assert_tokens(out, reference.tokens({0: frame}, table, patch, texture.spec.levels), ANYWHERE[filtering])


@pytest.mark.parametrize("filtering", FILTERS)
@pytest.mark.parametrize("patch", [14, 16])
@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_texel_centres_at_whole_lods_are_copied(device, rng, patch, filtering, dtype):
    size = (224, 160)
    frame = picture(rng, size, 3, dtype)
    texture = device.fill(TextureSpec(size, dtype=dtype), {0: frame})
    levels = np.arange(texture.spec.levels)
    side = patch * 2.0**levels
    rows = [
        make_table((i + 0.5) * side, (j + 0.5) * side, side, size=size) for i, j in ((0, 0), (2, 1), (9, 9), (-1, 0))
    ]
    table = np.concatenate(rows)
    out = device.sample(texture, table, filtering, patch=patch)
    assert_tokens(out, reference.tokens({0: frame}, table, patch, texture.spec.levels), AT_CENTRES)


@pytest.mark.parametrize("filtering", FILTERS)
@pytest.mark.parametrize("dtype", OUT_TYPES, ids=str)
@pytest.mark.parametrize("patch", [15, 16])
def test_every_output_type_is_the_nearest(device, rng, dtype, filtering, patch):
    frame = picture(rng, (90, 60))
    texture = device.fill(TextureSpec((90, 60)), {0: frame})
    table = scattered(rng, (90, 60), 20, patch)
    exact = device.sample(texture, table, filtering, patch=patch)
    out = device.sample(texture, table, filtering, patch=patch, dtype=dtype)
    nearest = torch.floor(exact * 255 + 0.5).to(dtype) if dtype == torch.uint8 else exact.to(dtype)
    assert torch.equal(out, nearest)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_16_bit_floats_are_rounded_as_torch_rounds(device, rng, dtype):
    bits = rng.integers(0, 2**32, 4096, dtype=np.uint64).astype(np.uint32)
    special = np.array([0, -0.0, np.inf, -np.inf, np.nan, 65504, 65519.99, 65520, 65536, 3.4e38, 2.0**-14, 2.0**-24])
    ties = np.concatenate([2.0**-25 * np.arange(64), 1 + 2.0**-12 * np.arange(64), 1 + 2.0**-9 * np.arange(64)])
    values = np.concatenate([special, ties, -ties]).astype(np.float32)
    flat = np.concatenate([bits.view(np.float32), values, np.zeros(-len(values) % 256, np.float32)])
    frame = flat.reshape(-1, 16, 1)
    texture = device.fill(TextureSpec((16, len(frame)), channels=1, dtype="float32"), {})
    array = [*device.driver.account.alive("array")][-1]
    device.driver.texels(array, 0)[0, : len(frame), :16] = frame  # at their centres: copied, whatever they are
    texture.frame_sizes[0] = torch.tensor([16, len(frame)])
    table = make_table(np.full(len(frame) // 16, 8), 16 * np.arange(len(frame) // 16) + 8, 16, size=(16, len(frame)))
    out = device.sample(texture, table, "exact", dtype=dtype).flatten()
    expected = torch.from_numpy(flat).to(dtype)
    assert torch.equal(out.isnan(), expected.isnan())
    known = ~expected.isnan()
    assert torch.equal(out.view(torch.int16)[known], expected.view(torch.int16)[known])


@pytest.mark.parametrize("filtering", FILTERS)
def test_normalisation(device, rng, filtering):
    frame = picture(rng, (40, 40))
    texture = device.fill(TextureSpec((40, 40)), {0: frame})
    table, mean, std = scattered(rng, (40, 40), 10), (0.5, 0.4, 0.3), (0.2, 0.25, 0.5)
    out = device.sample(texture, table, filtering, mean=mean, std=std)
    expected = reference.tokens({0: frame}, table, 16, texture.spec.levels, mean, std)
    assert_tokens(out, expected, ANYWHERE[filtering], gain=5)


def test_32_layers_in_one_launch(device, rng):
    sizes = [tuple(rng.integers(1, 70, 2).tolist()) for _ in range(32)]
    frames = {layer: picture(rng, size) for layer, size in enumerate(sizes)}
    texture = device.fill(TextureSpec((70, 70), layers=32), frames)
    tables = [scattered(rng, size, 3) for size in sizes]
    for layer, table in enumerate(tables):
        table["layer"] = layer
    table = np.concatenate(tables)
    before = len(device.driver.calls)
    out = device.sample(texture, table, "hardware")
    assert [name for name, _ in device.driver.calls[before:]].count("launch") == 1
    assert_tokens(out, reference.tokens(frames, table, 16, texture.spec.levels), ANYWHERE["hardware"])


# ---------------------------------------------------------------- edges


@pytest.mark.parametrize("filtering", FILTERS)
@pytest.mark.parametrize("size", [(33, 47), (48, 32), (1, 50)], ids=str)
def test_nothing_but_the_frames_own_texels_is_read(device, rng, size, filtering):
    # NaN in the padding, the neighbours and a larger frame's leftovers shows in every sum, whatever its weight
    frame = picture(rng, size, dtype="float32")
    texture = device.fill(TextureSpec((64, 64), layers=3, dtype="float32"), {1: frame})
    table = scattered(rng, size, 200)
    table["layer"] = 1
    out = device.sample(texture, table, filtering)
    assert torch.isfinite(out).all()
    expected = reference.tokens({1: frame}, table, 16, texture.spec.levels)
    assert_tokens(out, expected, ANYWHERE[filtering])


@pytest.mark.parametrize("filtering", FILTERS)
def test_the_last_texel_is_met_without_its_neighbour(device, rng, filtering):
    frame = picture(rng, (33, 33), dtype="float32")
    texture = device.fill(TextureSpec((64, 64), dtype="float32"), {0: frame})
    # columns that end on, and a hair before and after, the centre of the last texel
    x = np.float32(32.5) + np.array([-0.02, -1 / 512, -1e-5, 0, 1e-5, 1 / 512, 0.02]) - 7.5 * 15.9 / 16
    table = make_table(x, np.full(len(x), 17.3), 15.9, size=(33, 33))
    out = device.sample(texture, table, filtering)
    assert_tokens(out, reference.tokens({0: frame}, table, 16, texture.spec.levels), ANYWHERE[filtering])


def test_far_away_tokens_read_the_edge(device, rng):
    frame = picture(rng, (40, 30))
    texture = device.fill(TextureSpec((40, 30)), {0: frame})
    table = make_table([-1e30, 1e30, 20, 20], [15, 15, -1e30, 1e30], [16, 100, 1e6, 16], size=(40, 30))
    for filtering in FILTERS:
        out = device.sample(texture, table, filtering)
        assert_tokens(out, reference.tokens({0: frame}, table, 16, texture.spec.levels), ANYWHERE[filtering])


def test_large_frames_keep_the_bits_of_positions(device, rng):
    frame = picture(rng, (16384, 4), 1)
    texture = device.fill(TextureSpec((16384, 4), channels=1, levels=6), {0: frame})
    table = make_table(rng.uniform(16000, 16380, 30), np.full(30, 2.0), rng.uniform(4, 60, 30), size=(16384, 4))
    expected = reference.tokens({0: frame}, table, 16, 6)
    assert_tokens(device.sample(texture, table, "exact"), expected, ANYWHERE["exact"])
    assert_tokens(device.sample(texture, table, "hardware"), expected, ANYWHERE["hardware"])


# ---------------------------------------------------------------- rows, padding, layers


def test_only_listed_rows_are_written_and_counted(device, rng):
    frame = picture(rng, (64, 64))
    texture = device.fill(TextureSpec((64, 64)), {0: frame})
    table = pad_table(scattered(rng, (64, 64), 10), 12)
    rows = np.array([1, 4, 5, 11], np.int32)
    out = device.sample(texture, table, "exact", rows=rows)
    expected = reference.tokens({0: frame}, table, 16, texture.spec.levels)
    assert_tokens(out[rows], expected[rows], ANYWHERE["exact"])
    assert (out[np.setdiff1d(np.arange(12), rows)] == 7).all()
    assert device.totals.tolist() == [0, 0, 0, 3, 0]  # padding is no token
    again = device.sample(texture, table, "exact", rows=torch.from_numpy(rows))
    assert torch.equal(again, out)


def test_padding_and_layers_that_do_not_exist_give_zeros(device, rng):
    texture = device.fill(TextureSpec((32, 32)), {0: picture(rng, (32, 32))})
    table = pad_table(scattered(rng, (32, 32), 1), 4)
    table["layer"][2:] = [1, 2**31 - 1]  # as a table made on the device might say
    out = device.sample(texture, torch.from_numpy(table.view(np.int32).reshape(-1, 6)), "hardware")
    assert (out[1:] == 0).all()
    assert out[0].any()
    assert device.totals[3] == 1


def test_rows_of_odd_places_in_memory(device, rng):
    texture = device.fill(TextureSpec((32, 32)), {0: picture(rng, (32, 32))})
    table = scattered(rng, (32, 32), 2)
    memory = torch.zeros(2 * 3 * 256 + 1, dtype=torch.float16)
    shifted = memory[1:].view(2, 3, 16, 16)  # begins in the middle of a word
    device.samplers["exact"].sample(texture, table, shifted, Normalisation.identity(3), stream=0, totals=device.totals)
    assert torch.equal(shifted, device.sample(texture, table, "exact", dtype=torch.float16))


def test_what_does_not_fit_is_refused(device, rng):
    texture = device.fill(TextureSpec((32, 32)), {0: picture(rng, (32, 32))})
    table = scattered(rng, (32, 32), 2)

    def sample(table, out):
        device.samplers["exact"].sample(texture, table, out, Normalisation.identity(3), stream=0, totals=device.totals)

    with pytest.raises(ValueError, match=r"accepted: contiguous \(2, 3, patch, patch\)"):
        sample(table, torch.zeros((2, 4, 16, 16)))
    with pytest.raises(TypeError, match=r"out is torch\.float64"):
        sample(table, torch.zeros((2, 3, 16, 16), dtype=torch.float64))
    with pytest.raises(TypeError, match="accepted on the device"):
        sample(torch.zeros((2, 6)), torch.zeros((2, 3, 16, 16)))
    with pytest.raises(ValueError, match="filtering is 'soft'"):
        Sampler(device.driver, device.kernels, "soft")


def test_variants_name_each_definition_once():
    for file, definitions, arguments in variants():
        assert file == "sample.cu"
        assert len(dict(definitions)) == len(definitions)
        assert arguments.itemsize % 8 == 0
