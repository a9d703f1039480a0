"""Choosing from evidence: peaks, maps, saccades, regions, and several side by side."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from fixation.scenes import RATE, looks_of, places, plain, uv, with_square

from texvlm.fixation import (
    Changes,
    Fixed,
    Follow,
    FollowMap,
    GazeTrack,
    Look,
    MovingFixation,
    PeakRegions,
    Peaks,
    Region,
    Regions,
    Saccades,
    Saliency,
    ScoreMap,
    Several,
    engine_arguments,
)

SPOTS = [(60, 60), (250, 50), (160, 150), (280, 160)]


class Given:
    """Evidence that is written down: one map for each frame, the last one for ever."""

    name = "given"

    def __init__(self, *maps) -> None:
        self.maps = [np.asarray(values, np.float32) for values in maps]

    def score(self, scene):
        values = self.maps.pop(0) if len(self.maps) > 1 else self.maps[0]
        return ScoreMap.over_frame_of(values)


def spots(**heights: float) -> np.ndarray:
    """A map of 12 x 20 cells with heights at r{row}c{column}."""
    values = np.zeros((12, 20))
    for place, height in heights.items():
        row, column = place[1:].split("c")
        values[int(row), int(column)] = height
    return values


def four_squares() -> np.ndarray:
    frame = plain()
    rng = np.random.default_rng(0)
    for x, y in SPOTS:
        frame[y - 12 : y + 12, x - 12 : x + 12] = rng.integers(0, 256, (24, 24, 3))
    return frame


# ---- paths


def test_a_path_is_followed_in_time():
    track = GazeTrack(np.array([0.0, 0.1]), np.array([[0.1, 0.2], [0.3, 0.4]]))
    found = places(looks_of(Follow(track), [plain()] * 4))
    np.testing.assert_allclose(found, [track.at(i / RATE) for i in range(4)])
    found = places(looks_of(Follow(MovingFixation()), [plain()] * 4))
    np.testing.assert_allclose(found, [MovingFixation().at(i / RATE) for i in range(4)])


def test_several_fixed_points_have_weights():
    (look,) = looks_of(Fixed(((0.1, 0.2), (0.8, 0.9)), (3, 1)), [plain()])
    assert look.fixations.tolist() == [[0.1, 0.2], [0.8, 0.9]]
    assert look.weights.tolist() == [3, 1]


# ---- peaks


def test_peaks_are_weighted_by_their_height():
    (look,) = looks_of(Peaks(Given(spots(r3c4=1.0, r9c15=0.5)), count=2), [plain()])
    np.testing.assert_allclose(look.fixations, [(4.5 / 20, 3.5 / 12), (15.5 / 20, 9.5 / 12)])
    np.testing.assert_allclose(look.weights, [1, 0.5])
    assert look.why == "given: 2 of 2"


def test_places_without_evidence_stay_where_they_were():
    evidence = Given(spots(r3c4=1.0, r9c15=0.5), spots(), spots(r9c4=1.0))
    first, second, third = looks_of(Peaks(evidence, count=2), [plain()] * 3)
    np.testing.assert_array_equal(second.fixations, first.fixations)
    assert second.why == "given: nothing, stays"
    np.testing.assert_allclose(third.fixations[0], (4.5 / 20, 9.5 / 12))
    np.testing.assert_array_equal(third.fixations[1], first.fixations[0])
    assert third.weights[1] < third.weights[0]
    (start,) = looks_of(Peaks(Given(spots()), count=3), [plain()])
    assert start.fixations.tolist() == [[0.5, 0.5]] * 3


def test_a_place_that_is_hardly_better_does_not_draw_the_look_away():
    maps = [spots(r3c4=1.0, r9c15=0.95), spots(r3c4=0.95, r9c15=1.0)] * 5 + [spots(r3c4=0.5, r9c15=1.0)]
    found = places(looks_of(Peaks(Given(*maps)), [plain()] * 11))
    assert len({tuple(place) for place in found[:10].tolist()}) == 1
    assert found[10, 0] > 0.7
    flighty = places(looks_of(Peaks(Given(*maps), loyalty=1), [plain()] * 10))
    assert len({tuple(place) for place in flighty.tolist()}) == 2


# ---- maps


def test_a_map_is_handed_on_with_its_surround():
    (look,) = looks_of(FollowMap(Given(spots(r3c4=3.0, r9c15=1.0)), surround=0.4), [plain()])
    mass = look.score / look.score.sum()
    assert mass[3, 4] == pytest.approx(0.6 * 0.75 + 0.4 / 240, rel=1e-4)
    assert mass[0, 0] == pytest.approx(0.4 / 240, rel=1e-4)
    (look,) = looks_of(FollowMap(Given(spots())), [plain()])
    assert np.ptp(look.score) == 0
    assert look.score.max() > 0


# ---- saccades


def test_saccades_come_three_to_four_a_second_and_visit_every_place():
    frames = [four_squares()] * 90  # 3 s
    looks = looks_of(Saccades(Saliency()), frames)
    path = places(looks)
    moves = np.flatnonzero(np.abs(np.diff(path, axis=0)).sum(axis=1))
    assert 3 * 3 - 1 <= len(moves) <= 4 * 3  # the first look is no move
    assert (np.diff(moves) == np.ceil(RATE / 3.5)).all()
    seen = {tuple(place) for place in path.round(2).tolist()}
    assert len(seen) == 4
    for spot in SPOTS:
        assert min(np.abs(np.array(place) - uv(*spot)).max() for place in seen) < 0.03
    first_four = [tuple(path[k].round(2)) for k in (0, *(moves[:3] + 1))]
    assert len(set(first_four)) == 4  # inhibition of return: nothing twice before all were seen


def test_without_inhibition_of_return_there_is_but_one_place():
    path = places(looks_of(Saccades(Saliency(), inhibition_s=1e-6), [four_squares()] * 60))
    assert len({tuple(place) for place in path.round(2).tolist()}) <= 2  # to the second best and back


def test_saccades_wait_for_something_to_see():
    looks = looks_of(Saccades(Given(spots(), spots(), spots(r3c4=1.0))), [plain()] * 4)
    assert places(looks)[:2].tolist() == [[0.5, 0.5]] * 2
    assert looks[0].why == "saccades over given: nothing"
    np.testing.assert_allclose(places(looks)[2], (4.5 / 20, 3.5 / 12))


@pytest.mark.parametrize("rate", [None, 30.0])
def test_saccades_also_go_on_without_known_times(rate):
    path = places(looks_of(Saccades(Saliency()), [four_squares()] * 60, rate=rate))
    assert 4 <= (np.abs(np.diff(path, axis=0)).sum(axis=1) > 0).sum() <= 9


# ---- regions


REGIONS = (Region((0.1, 0.1, 0.3, 0.5), 2), Region((0.6, 0.5, 1.0, 0.9)))


def test_regions_are_looked_at_in_their_middle():
    (look,) = looks_of(Regions(REGIONS), [plain()])
    np.testing.assert_allclose(look.fixations, [(0.2, 0.3), (0.8, 0.7)])
    assert look.weights.tolist() == [2, 1]
    assert look.score is None


def test_regions_as_a_map_share_the_tokens():
    (look,) = looks_of(Regions(REGIONS, follow="map", surround=0), [plain()])
    columns = look.score.shape[1]
    left = look.score[:, : columns // 2].sum() / look.score.sum()
    assert left == pytest.approx(2 / 3, rel=1e-4)
    assert Regions(REGIONS, follow="map").count is None


def test_the_regions_of_a_frame_follow_what_is_there():
    (look, other) = looks_of(
        PeakRegions(Saliency(), most=1, surround=0.1), [with_square((60, 60)), with_square((250, 120))]
    )
    for found, centre in ((look, uv(60, 60)), (other, uv(250, 120))):
        row, column = np.unravel_index(found.score.argmax(), found.score.shape)
        where = ((column + 0.5) / found.score.shape[1], (row + 0.5) / found.score.shape[0])
        np.testing.assert_allclose(where, centre, atol=0.08)
    (none,) = looks_of(PeakRegions(Saliency()), [plain()])
    assert none.why == "regions of saliency: none, uniform"
    assert np.ptp(none.score) < 1e-6


# ---- several


def test_several_policies_share_the_weight():
    policy = Several((Fixed(((0.1, 0.1),)), Peaks(Given(spots(r3c4=1.0, r9c15=0.5)), count=2)), (1, 3))
    (look,) = looks_of(policy, [plain()])
    assert policy.count == 3 == len(look.fixations)
    np.testing.assert_allclose(look.weights, [1, 2, 1])
    assert look.map is not None
    assert policy.name == "fixed + given"


# ---- looks for an engine


def test_looks_of_several_views_become_one_call():
    looks = [Look(np.array([[0.1, 0.2], [0.3, 0.4]]), np.array([1.0, 2])), Look(np.array([[0.5, 0.6], [0.7, 0.8]]))]
    arguments = engine_arguments(looks)
    assert arguments["fixations"].shape == (2, 2, 2)
    assert arguments["weights"].tolist() == [[1, 2], [1, 1]]
    assert arguments["score"] is None
    maps = engine_arguments([Look(np.zeros(2), score=np.eye(3, dtype=np.float32))] * 2)
    assert maps["score"].shape == (2, 3, 3)


@pytest.mark.parametrize(
    "looks",
    [
        [],
        [Look(np.zeros(2)), Look(np.zeros((2, 2)))],
        [Look(np.zeros(2)), Look(np.zeros(2), score=np.ones((2, 2), np.float32))],
        [Look(np.zeros(2), score=np.ones((3, 2), np.float32)), Look(np.zeros(2), score=np.ones((2, 2), np.float32))],
    ],
)
def test_looks_that_one_call_cannot_serve(looks):
    with pytest.raises(ValueError, match="one call serves looks of as many fixations"):
        engine_arguments(looks)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Look(np.zeros((0, 2))), r"shape \(k, 2\)"),
        (lambda: Look(np.array([np.nan, 0])), "not finite"),
        (lambda: Look(np.zeros((2, 2)), np.zeros(2)), "they sum to 0"),
        (lambda: Look(np.zeros((2, 2)), np.array([1.0, -1])), "above 0"),
        (lambda: Look(np.zeros((2, 2)), np.ones(3)), "3 weights for 2 fixations"),
        (lambda: Look(np.zeros(2), score=np.full((2, 2), np.nan)), "score map of a look"),
        (lambda: Look(np.zeros(2), map=np.zeros((2, 2, 2))), r"^map of a look has shape \(2, 2, 2\)"),
        (lambda: Look(np.zeros(2), map=np.full((2, 2), np.nan)), "^map of a look holds"),
        (lambda: Fixed(()), "shape"),
        (lambda: Fixed(((0, 0),), (0,)), "they sum to 0"),
        (lambda: Peaks(Changes(), count=0), "count is 0"),
        (lambda: Peaks(Changes(), spacing=0), "spacing is 0"),
        (lambda: Peaks(Changes(), loyalty=0.5), "loyalty is 0.5"),
        (lambda: FollowMap(Changes(), surround=-1), "surround is -1"),
        (lambda: Saccades(Changes(), rate_hz=0), "rate_hz is 0"),
        (lambda: Regions(()), "list of regions is empty"),
        (lambda: Regions(REGIONS, follow="edges"), "follow is 'edges'"),
        (lambda: Regions(REGIONS, surround=3), "surround is 3"),
        (lambda: PeakRegions(Changes(), most=0), "most is 0"),
        (lambda: Several(()), "one or more"),
        (lambda: Several((Fixed(),), (1, 2)), "2 shares for 1 policies"),
        (lambda: Several((Fixed(),), (0,)), "above 0"),
        (lambda: Several((FollowMap(Changes()),)), "changes gives a score map"),
    ],
)
def test_looks_and_policies_that_cannot_be(make, words):
    with pytest.raises(ValueError, match=words):
        make()


def test_policies_are_causal_and_the_same_every_time():
    frames = [with_square((40 + 5 * i, 60)) for i in range(20)] + [four_squares()] * 20
    other = frames[:25] + [plain()] * 15
    for make in (
        lambda: Peaks(Changes(), count=2),
        lambda: Saccades(Saliency()),
        lambda: FollowMap(Changes()),
        lambda: PeakRegions(Saliency()),
    ):
        first, again, differs = (looks_of(make(), clip) for clip in (frames, frames, other))
        for a, b in itertools.chain(zip(first, again, strict=True), zip(first[:25], differs[:25], strict=True)):
            np.testing.assert_array_equal(a.fixations, b.fixations)
            np.testing.assert_array_equal(a.weights, b.weights)
            assert (a.score is None) == (b.score is None)
            assert a.score is None or (a.score == b.score).all()
