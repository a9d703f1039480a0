"""The bitmap font: every printable character, clipping, scale."""

from __future__ import annotations

import numpy as np
import pytest

from texvlm.glyphs import ADVANCE, GLYPH_SIZE, draw_text, text_mask, text_size


def test_every_printable_character_has_its_own_shape() -> None:
    shapes = {text_mask(chr(code)).tobytes() for code in range(32, 127)}
    assert len(shapes) == 95


def test_a_letter_looks_like_itself() -> None:
    rows = ["".join("#" if cell else "." for cell in row) for row in text_mask("A")]
    assert rows == [".###.", "#...#", "#...#", "#####", "#...#", "#...#", "#...#"]


def test_text_size_counts_no_space_after_the_last_character() -> None:
    assert text_size("ab", scale=3) == ((2 * ADVANCE - 1) * 3, GLYPH_SIZE[1] * 3)
    assert text_mask("ab", scale=3).shape == (21, 33)
    assert text_size("") == (0, 7)
    assert text_mask("").shape == (7, 0)


def test_unknown_characters_become_a_question_mark() -> None:
    np.testing.assert_array_equal(text_mask("é"), text_mask("?"))


@pytest.mark.parametrize("xy", [(-4, -3), (17, 5), (60, 60), (-60, 2)])
def test_text_is_cut_off_at_the_edges(xy: tuple[int, int]) -> None:
    image = np.zeros((12, 20, 3), np.uint8)
    draw_text(image, "Hg", xy, 1, (9, 8, 7))
    wide = np.zeros((112, 120, 3), np.uint8)
    draw_text(wide, "Hg", (xy[0] + 50, xy[1] + 50), 1, (9, 8, 7))
    np.testing.assert_array_equal(image, wide[50:62, 50:70])


def test_gray_images_take_one_value() -> None:
    image = np.zeros((9, 9), np.float32)
    draw_text(image, "I", (2, 1), 1, 0.5)
    assert image.max() == np.float32(0.5)
    assert image.sum() == 0.5 * text_mask("I").sum()


def test_a_scale_below_one_is_refused() -> None:
    with pytest.raises(ValueError, match="scale is 0"):
        text_mask("a", scale=0)
