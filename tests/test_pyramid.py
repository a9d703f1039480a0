"""The pyramid: level sizes, padding and what one tile rebuilds."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from texvlm.pyramid import (
    COLUMN_LEVELS,
    MAX_SIDE,
    TextureSpec,
    check_frame_size,
    column_texels,
    default_levels,
    level_size,
)
from texvlm.regions import TILE

sizes = st.tuples(st.integers(1, MAX_SIDE), st.integers(1, MAX_SIDE))


def test_a_tile_is_one_texel_of_the_last_column_level() -> None:
    assert TILE >> COLUMN_LEVELS == 1
    assert column_texels() == 64 + 16 + 4 + 1


@given(sizes)
def test_storage_is_padded_just_enough_for_exact_halves(size: tuple[int, int]) -> None:
    spec = TextureSpec(size)
    unit = 1 << (spec.levels - 1)
    for padded, side in zip(spec.padded_size, size, strict=True):
        assert padded % unit == 0
        assert side <= padded < side + unit
    for level in range(spec.levels):
        stored, own = spec.storage_size(level), level_size(size, level)
        assert stored == (spec.padded_size[0] // 2**level, spec.padded_size[1] // 2**level)
        assert own[0] <= stored[0]
        assert own[1] <= stored[1]
        assert min(own) >= 1
        if level:
            assert level_size(level_size(size, level - 1), 1) == own


@given(sizes)
def test_the_default_levels_reach_one_patch_over_the_longer_side(size: tuple[int, int]) -> None:
    levels = default_levels(size)
    assert TILE << (levels - 1) >= max(size)
    assert levels == COLUMN_LEVELS + 1 or TILE << (levels - 2) < max(size)
    assert TextureSpec(size).levels == levels


@pytest.mark.parametrize(
    ("size", "levels", "padded"),
    [
        ((1, 1), 5, (16, 16)),
        ((1920, 1080), 8, (1920, 1152)),
        ((1024, 1024), 7, (1024, 1024)),
        ((16384, 3), 11, (16384, 1024)),
    ],
)
def test_known_pyramids(size: tuple[int, int], levels: int, padded: tuple[int, int]) -> None:
    spec = TextureSpec(size)
    assert (spec.levels, spec.padded_size) == (levels, padded)


def test_bytes_of_a_texel() -> None:
    assert TextureSpec((8, 8), channels=4).texel_bytes == 4
    assert TextureSpec((8, 8), channels=3, dtype="float32").texel_bytes == 12


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": (0, 8)}, "frame size 0 x 8: each side is 1..16384 texels"),
        ({"size": (8, 16385)}, "frame size 8 x 16385"),
        ({"size": (8, 8), "layers": 0}, "layers is 0; at least 1 is needed"),
        ({"size": (8, 8), "channels": 2}, "channels is 2; accepted: 1 .gray., 3 .RGB., 4 .RGBA."),
        ({"size": (8, 8), "dtype": "float64"}, "dtype is 'float64'; accepted: 'uint8', 'float32'"),
        ({"size": (8, 8), "levels": 4}, "levels is 4; accepted: 5..15"),
        ({"size": (8, 8), "levels": 16}, "levels is 16"),
    ],
)
def test_bad_specs_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TextureSpec(**options)  # type: ignore[arg-type]


def test_frame_sizes_are_checked_alone_too() -> None:
    check_frame_size((1, MAX_SIDE))
    with pytest.raises(ValueError, match="frame size 5 x 0"):
        check_frame_size((5, 0))
