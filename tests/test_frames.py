"""Frames: the one gate through which pixels enter."""

from __future__ import annotations

import numpy as np
import pytest

from texvlm import Frame, as_frame


def test_a_frame_is_taken_as_it_is_but_for_a_missing_time() -> None:
    frame = Frame(np.zeros((4, 6, 3), np.uint8), kind="I")
    assert as_frame(frame) is frame
    timed = as_frame(frame, pts=1.5)
    assert (timed.pts, timed.kind) == (1.5, "I")
    assert timed.pixels is frame.pixels
    assert as_frame(timed, pts=9.0).pts == 1.5


@pytest.mark.parametrize("option", [{"origin": "bottom-left"}, {"channels_first": True}])
def test_a_frame_says_itself_how_it_lies(option) -> None:
    with pytest.raises(ValueError, match=r"a Frame is .* from the top-left; channels_first and origin are for arrays"):
        as_frame(Frame(np.zeros((4, 6, 3), np.uint8)), **option)
