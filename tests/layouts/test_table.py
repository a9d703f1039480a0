"""The token table: the record's layout, valid fractions, padding, and the LOD of a side."""

from __future__ import annotations

import numpy as np
import pytest

from texvlm.layouts.table import PADDING_LAYER, TABLE_FIELDS, TOKEN_RECORD, lod_of_side, make_table, pad_table


def test_the_record_is_six_packed_four_byte_scalars() -> None:
    assert TOKEN_RECORD.itemsize == 24
    assert TABLE_FIELDS == ("x", "y", "side", "layer", "region", "valid")
    assert [TOKEN_RECORD.fields[name][1] for name in TABLE_FIELDS] == [0, 4, 8, 12, 16, 20]  # type: ignore[index]


def test_valid_is_the_fraction_of_area_inside() -> None:
    table = make_table(
        [8, 0, 0, 100, 50], [8, 8, 0, 8, 25], [16, 16, 16, 16, 200], size=(100, 50), region=[0, 1, 2, 3, 4]
    )
    assert table["valid"].tolist() == [1, 0.5, 0.25, 0.5, 0.125]
    assert table["region"].tolist() == [0, 1, 2, 3, 4]
    assert (table["layer"] == 0).all()
    assert make_table([-8], [5], 16, size=(100, 50))["valid"] == [0]


def test_a_side_that_is_no_size_is_refused() -> None:
    for side in (0, -1, np.nan):
        with pytest.raises(ValueError, match=rf"token 1 has side {float(side)}; a side is a positive number of texels"):
            make_table([1, 2], [1, 2], [3, side], size=(10, 10))


def test_coordinates_stay_within_what_a_record_can_hold() -> None:
    table = make_table([1e300, -1e300, 7], [-1e39, 5, 1e39], 16, size=(100, 50))
    assert np.isfinite(table["x"]).all()
    assert np.isfinite(table["y"]).all()
    assert np.sign(table["x"]).tolist() == [1, -1, 1]
    assert table["valid"].tolist() == [0, 0, 0]


def test_padding_rows_hold_nothing() -> None:
    table = pad_table(make_table([1.0], [1.0], 2, size=(4, 4)), 3)
    assert table["layer"].tolist() == [0, PADDING_LAYER, PADDING_LAYER]
    assert table["valid"].tolist() == [1, 0, 0]
    assert (table["side"] > 0).all()
    with pytest.raises(ValueError, match="3 tokens do not fit 2 rows"):
        pad_table(table, 2)


def test_lod_of_side() -> None:
    assert lod_of_side([4, 16, 32, 48, 256], patch=16).tolist() == pytest.approx([0, 0, 1, np.log2(3), 4])
