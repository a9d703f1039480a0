"""Global grid and crops: fixed rows, coverage, crops kept inside."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from raster import boxes, coverage, focus_at, tokens_of

from texvlm.layouts import Focus, GlobalAndCrops
from texvlm.layouts.crops import split_budget


def outline(rows: np.ndarray) -> tuple[float, float, float, float]:
    box = boxes(rows)
    return (*box[:, :2].min(axis=0).tolist(), *box[:, 2:].max(axis=0).tolist())


@settings(max_examples=80, deadline=None)
@given(
    st.tuples(st.integers(8, 300), st.integers(8, 300)),
    st.integers(1, 3),
    st.integers(0, 1000),
)
def test_rows_coverage_and_places(size: tuple[int, int], fixations: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    points = rng.uniform(-1, 2, (fixations, 2)) * size
    layout = GlobalAndCrops(global_tokens=20, crop_grid=3, patch=8, fixations=fixations)
    table = layout.plan(size, Focus(points))
    assert table.shape == (layout.tokens,) == (20 + 9 * fixations,)
    assert table["region"].tolist() == [0] * 20 + [k for k in range(1, fixations + 1) for _ in range(9)]
    assert (coverage(table[:20], size) == 1).all()
    for k in range(fixations):
        x0, y0, x1, y1 = outline(table[table["region"] == k + 1])
        assert x1 - x0 == pytest.approx(24, abs=1e-3)
        for low, high, limit, wanted in ((x0, x1, size[0], points[k, 0]), (y0, y1, size[1], points[k, 1])):
            if limit >= 24:
                assert low >= -1e-3
                assert high <= limit + 1e-3
                if 12 <= wanted <= limit - 12:
                    assert (low + high) / 2 == pytest.approx(wanted, abs=1e-3)
            else:  # too small for the crop: centred on the frame, which is then wholly inside it
                assert (low + high) / 2 == pytest.approx(limit / 2, abs=1e-3)


def test_crops_are_native_unless_a_side_is_given() -> None:
    focus = focus_at((400.0, 300.0))
    native = GlobalAndCrops(global_tokens=48, crop_grid=8).plan((800, 600), focus)
    assert (native["side"][48:] == 16).all()
    wide = GlobalAndCrops(global_tokens=48, crop_grid=8, crop_side=256).plan((800, 600), focus)
    assert (wide["side"][48:] == 32).all()
    assert outline(wide[48:]) == (272, 172, 528, 428)
    assert native["side"][0] == 100  # 8 x 6


def test_crops_may_leave_the_frame_when_asked() -> None:
    layout = GlobalAndCrops(global_tokens=4, crop_grid=2, keep_inside=False)
    table = layout.plan((100, 100), focus_at((0.0, 100.0)))
    assert outline(table[4:]) == (-16, 84, 16, 116)
    assert table["valid"][4:].tolist() == [0, 1, 0, 0]
    assert (table["layer"] == 0).all()


def test_global_rows_are_padded_in_place() -> None:
    layout = GlobalAndCrops(global_tokens=5, crop_grid=1)
    table = layout.plan((64, 64), focus_at((32.0, 32.0)))
    assert len(tokens_of(table[:5])) == 4
    assert table["layer"].tolist() == [0, 0, 0, 0, -1, 0]


@given(st.integers(1, 3000), st.integers(1, 5))
def test_a_budget_is_spent_to_the_last_token(tokens: int, fixations: int) -> None:
    if tokens <= fixations:
        with pytest.raises(ValueError, match=f"{tokens} tokens cannot hold a global grid and {fixations} crops"):
            split_budget(tokens, fixations)
        return
    whole, grid = split_budget(tokens, fixations)
    assert whole >= 1
    assert whole + fixations * grid**2 == tokens


def test_a_focus_it_cannot_serve_is_refused() -> None:
    with pytest.raises(ValueError, match="crops layout serves 2 fixations, not 1; make it with fixations=1"):
        GlobalAndCrops(fixations=2).plan((640, 480), focus_at((1.0, 1.0)))
    with pytest.raises(ValueError, match="crops layout cannot follow a score map"):
        GlobalAndCrops().plan((640, 480), Focus(np.zeros((1, 2)), score=np.ones((1, 1), np.float32)))
    with pytest.raises(ValueError, match="147 tokens are more than a 10 x 10 frame has texels"):
        GlobalAndCrops().plan((10, 10), focus_at((1.0, 1.0)))
    with pytest.raises(ValueError, match="crop_side is 0"):
        GlobalAndCrops(crop_side=0)
