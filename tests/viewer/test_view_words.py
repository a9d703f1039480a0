"""The words of the viewer: every key once, every number that was promised, and pages that say the same."""

from __future__ import annotations

import numpy as np
import pytest
from viewer.displays import repository

from texvlm.glyphs import text_mask
from texvlm.viewer.meter import Rate, StageMedians
from texvlm.viewer.modes import PictureMode, parse_mode
from texvlm.viewer.native.keys import BINDINGS, BY_KEY, HELP_LINES, Action
from texvlm.viewer.shown import ViewStatistics
from texvlm.viewer.words import PAD, SHADE, panel_lines, words_picture

STATISTICS = ViewStatistics(
    7, 5, 3, 29.97, 31.0, {"sample": 1.25, "plan": 0.001}, 268, 12, 0.25, 1_500_000, 9_000_000, 17.4
)


def test_every_key_does_one_thing_and_every_action_has_a_key():
    keys = [key for binding in BINDINGS for key in binding.keys]
    assert len(keys) == len(set(keys)) == len(BY_KEY)
    assert {binding.action for binding in BINDINGS} == set(Action)
    assert {binding.mode for binding in BINDINGS if binding.mode} == set(PictureMode)


def test_the_page_names_every_key():
    page = (repository() / "docs" / "viewer.md").read_text()
    for binding in BINDINGS:
        assert binding.words in page, binding
        for key in binding.keys:
            assert f"`{'space' if key == ' ' else key}`" in page, binding


def test_the_panel_says_what_was_promised():
    lines = dict(panel_lines(STATISTICS, [("layout", "quadtree")]))
    assert lines["layout"] == "quadtree"
    assert lines["frames/s"] == "30.0"
    assert lines["  sample"].strip() == "1.25 ms"
    assert "  plan" not in lines  # too small to be told
    assert lines["tokens"] == "268 (12 anew)"
    assert lines["uploaded"] == "1.50 MB (25 % of tiles)"
    assert lines["dropped"] == "3"
    assert lines["look to picture"] == "17 ms"


@pytest.mark.parametrize("scale", [1, 2, 3])
def test_words_are_drawn_on_a_dark_ground_at_any_scale(scale):
    picture = words_picture([("ab", "cd"), ("title", "")], scale=scale)
    assert picture.dtype == np.uint8
    ink = text_mask("ab", scale=scale)
    where = picture[PAD * scale :, PAD * scale :][: ink.shape[0], : ink.shape[1]]
    np.testing.assert_array_equal(where[..., 3] == 255, ink)
    assert (picture[0, :, 3] == SHADE).all()
    assert picture.shape[1] >= words_picture([("ab", "")], scale=scale).shape[1]


def test_a_panel_keeps_its_width_while_its_numbers_change():
    assert words_picture([("a", "1")], columns=30).shape == words_picture([("a", "123456")], columns=30).shape


def test_help_fits_beside_the_panel_in_a_small_window():
    width = words_picture(HELP_LINES).shape[1] + words_picture(panel_lines(STATISTICS, []), columns=38).shape[1]
    assert width < 640


def test_modes_go_round_and_unknown_ones_are_refused():
    mode, seen = PictureMode.FRAME, []
    for _ in PictureMode:
        seen.append(mode)
        mode = mode.next()
    assert mode is PictureMode.FRAME
    assert set(seen) == set(PictureMode)
    with pytest.raises(ValueError, match="mode is 'x'; accepted: frame, reconstruction, tokens"):
        parse_mode("x")


def test_a_rate_is_that_of_the_last_second():
    rate = Rate()
    assert rate.per_s(0) == 0
    for k in range(60):
        rate.note(k / 20)
    assert rate.per_s(59 / 20) == pytest.approx(20)
    assert rate.per_s(100) == 0


def test_one_slow_picture_does_not_move_a_stage():
    stages = StageMedians()
    for ms in (5, 5, 500, 5, 5):
        stages.note("draw", ms)
    stages.note_totals({"upload": 100.0, "sample": 0.0})
    for k in range(1, 5):
        stages.note_totals({"upload": 100.0, "sample": 2.0 * k})
    assert stages.median_ms == {"draw": 5, "sample": 2}
    stages.restart_totals()
    stages.note_totals({"upload": 0.0, "sample": 2.0})
    assert stages.median_ms["sample"] == 2
