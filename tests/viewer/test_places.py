"""Where pictures lie in a window: whole, as large as they fit, and every pixel's point is found again."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from texvlm.viewer.native.places import GAP, places_of, point_in

SIDES = st.integers(1, 5000)
SIZES = st.tuples(SIDES, SIDES)


@given(SIZES, SIZES, st.integers(1, 3))
def test_pictures_are_of_one_size_and_lie_beside_each_other(frame, window, count):
    places = places_of(frame, window, count)
    assert len(places) == count
    assert len({(place.width, place.height, place.y) for place in places}) == 1
    for left, right in pairwise(places):
        assert right.x == left.x + left.width + GAP
    first, last = places[0], places[-1]
    assert first.width >= 1
    assert first.height >= 1
    if window[0] >= 3 * count + GAP * count:  # narrower than its gaps, a window cannot show them all
        assert first.x >= -1
        assert last.x + last.width <= window[0] + count
        assert abs(first.x - (window[0] - last.x - last.width)) <= 1
    assert first.height <= max(window[1], 1)


@given(SIZES, SIZES)
def test_a_picture_keeps_its_shape_and_fills_one_side(frame, window):
    (place,) = places_of(frame, window)
    scale = min(window[0] / frame[0], window[1] / frame[1])
    assert abs(place.width - frame[0] * scale) <= 1
    assert abs(place.height - frame[1] * scale) <= 1


@given(SIZES, st.tuples(st.integers(200, 3000), st.integers(200, 3000)), st.integers(1, 2), st.data())
def test_each_point_is_found_again_in_every_picture(frame, window, count, data):
    places = places_of(frame, window, count)
    place = data.draw(st.sampled_from(places))
    u, v = data.draw(st.floats(0.01, 0.99)), data.draw(st.floats(0, 1))
    found = point_in(places, place.x + u * place.width, place.y + v * place.height)
    assert abs(found[0] - u) < 1e-6
    assert abs(found[1] - v) < 1e-6


@given(st.floats(-1e4, 1e4), st.floats(-1e4, 1e4))
def test_beyond_the_pictures_lies_their_edge(x, y):
    places = places_of((160, 90), (1000, 400), 2)
    u, v = point_in(places, x, y)
    assert 0 <= u <= 1
    assert 0 <= v <= 1
