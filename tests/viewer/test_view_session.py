"""A session without a window: pictures, the fixation, settings that change, and what is counted."""

from __future__ import annotations

import numpy as np
import pytest
from viewer.films import SIZE, Film, pixels

from texvlm.errors import ClosedError, LookError, SourceError
from texvlm.viewer import ViewSession, ViewSettings
from texvlm.viewer import settings as settings_module
from texvlm.viewer.tuning import LEAST_TOKENS, THRESHOLDS, next_threshold

MS = 1_000_000


@pytest.fixture
def open_film(monkeypatch):
    """A session on a film, on the cpu backend, frame by frame."""
    sessions = []

    def open_film(film=None, **options):
        film = film or Film([0.1 * k for k in range(12)])
        monkeypatch.setattr(settings_module, "open_source", lambda name: film)
        defaults = {"backend": "cpu", "tokens": 40, "patch": 8, "clocked": False, "loop": False}
        sessions.append(ViewSession(ViewSettings("film", **{**defaults, **options})))
        return sessions[-1]

    yield open_film
    for session in sessions:
        session.close()


def test_each_frame_is_a_picture_of_what_is_stored(open_film):
    session = open_film(threshold=0)
    for k in range(3):
        shown = session.advance()
        assert (shown.number, shown.frame, shown.time_s, shown.size) == (k + 1, k + 1, pytest.approx(0.1 * k), SIZE)
        assert shown.batch.pixels.shape == (1, 40, 3, 8, 8)
        np.testing.assert_array_equal(session.engine.read_level(0), pixels(k))
        assert shown.tiles.any()
        session.presented()
    assert session.shown is shown
    assert session.statistics().pictures == 3


def test_it_ends_with_the_film(open_film):
    session = open_film(Film([0.0, 0.1]))
    while not session.finished:
        session.advance()
    assert session.statistics().frames == 2
    assert session.advance() is None


def test_a_pointer_that_moves_moves_the_fixation_at_once_and_samples_only_tokens(open_film):
    session = open_film(clocked=True, threshold=0)
    while session.advance(0) is None:
        pass
    uploaded = session.engine.counters.bytes_uploaded
    session.point(0.25, 0.75, 5 * MS)
    assert session.due_in_s(0) == 0
    shown = session.advance(0)
    np.testing.assert_array_equal(shown.fixations, [[0.25, 0.75]])
    assert (shown.frame, shown.number, shown.why) == (1, 2, "pointer")
    assert session.engine.counters.bytes_uploaded == uploaded
    assert session.statistics().tokens_sampled > 0
    assert session.advance(0) is None


def test_of_several_moves_the_last_one_counts_and_the_wait_is_that_of_the_first(open_film):
    session = open_film(clocked=True)
    while session.advance(0) is None:
        pass
    session.point(0.1, 0.1, 10 * MS)
    session.point(0.9, 2.0, 14 * MS)
    shown = session.advance(0)
    np.testing.assert_array_equal(shown.fixations, [[0.9, 1.0]])
    session.presented(40 * MS)
    assert list(session.latencies_ms) == [30.0]
    session.presented(90 * MS)
    assert session.statistics(90 * MS).latency_ms == 30.0
    with pytest.raises(ValueError, match="pointer at"):
        session.point(float("nan"), 0.5)


def test_a_move_that_comes_before_the_first_frame_is_no_latency(open_film):
    film = Film([0.0], held=0)
    session = open_film(film, clocked=True)
    session.point(0.2, 0.2, 0)
    assert session.advance(0) is None
    film.gate.set()
    while (shown := session.advance(0)) is None:
        pass
    np.testing.assert_array_equal(shown.fixations, [[0.2, 0.2]])
    session.presented(0)
    assert not session.latencies_ms


def test_a_move_to_where_it_is_already_is_no_latency(open_film):
    session = open_film(clocked=True)
    while session.advance(0) is None:
        pass
    session.point(1.2, 0.5, 1 * MS)
    session.advance(0)
    session.presented(3 * MS)
    session.point(1.4, 0.5, 10 * MS)  # along the edge: no picture comes of it
    assert session.advance(0) is None
    session.point(0.3, 0.5, 5000 * MS)
    session.advance(0)
    session.presented(5020 * MS)
    assert list(session.latencies_ms) == [2.0, 20.0]


def test_a_policy_looks_until_the_pointer_takes_over(open_film):
    session = open_film(look="changes")
    shown = [session.advance() for _ in range(3)]
    assert session.follows_policy
    assert shown[-1].why != "pointer"
    session.point(0.3, 0.3)
    assert session.advance().why != "pointer"
    session.follow_policy(False)
    session.point(0.3, 0.3)
    np.testing.assert_array_equal(session.advance().fixations, [[0.3, 0.3]])
    session.follow_policy(True)
    assert session.advance().why != "pointer"


def test_a_policy_may_follow_the_pointer(open_film):
    times = [0.0, 0.1, 0.2, 0.3, 0.1, 0.2, 0.3]  # the film begins anew, and the policy with it
    session = open_film(Film(times), look="texvlm.fixation.live_gaze.LiveGaze")
    session.advance()
    for _ in times[1:]:
        session.point(0.2, 0.8)
        shown = session.advance()
        assert shown.why.startswith("gaze")
    np.testing.assert_allclose(shown.fixations, [[0.2, 0.8]])


def test_without_a_policy_there_is_none_to_follow(open_film):
    with pytest.raises(ValueError, match="no look policy was given; open the viewer with --look"):
        open_film().follow_policy(True)


class Fainting:
    """A look policy that cannot."""

    name, count = "fainting", 1

    def look(self, scene):
        raise RuntimeError("too bright")


def test_a_policy_that_fails_is_told_and_the_film_goes_on(open_film):
    session = open_film(look="viewer.test_view_session.Fainting")
    with pytest.raises(LookError, match="too bright"):
        session.advance()
    session.follow_policy(False)
    assert session.advance().frame == 2


def test_layouts_and_budgets_go_round_and_only_those_that_fit(open_film):
    session = open_film()
    session.advance()
    seen = [session.layout_name]
    for _ in range(20):
        session.cycle_layout()
        seen.append(session.layout_name)
        assert session.advance() is not None
    assert seen.count("quadtree") >= 2
    assert {"quadtree", "uniform", "crops", "sunflower"} <= set(seen)
    first = seen.index("uniform")
    session.set_layout("uniform", 40)
    session.cycle_layout(-1)
    assert session.layout_name == seen[first - 1]


def test_a_budget_grows_and_shrinks_by_a_quarter(open_film):
    session = open_film(Film([0.1 * k for k in range(40)]))
    session.advance()
    counts = []
    for step in (1, 1, -1, -1, -1):
        session.change_tokens(step)
        session.advance()
        counts.append(session.tokens)
    assert 45 <= counts[0] <= 55
    assert counts[1] > counts[0] > counts[4]
    while session.tokens > LEAST_TOKENS:
        session.change_tokens(-1)
        session.advance()
    with pytest.raises(ValueError, match="has no smaller budget near"):
        session.change_tokens(-1)


def test_each_press_is_a_step_though_no_picture_came_in_between(open_film):
    session = open_film(Film([0.1 * k for k in range(12)], size=(320, 192)), tokens=None)
    with pytest.raises(ValueError, match="greatest count"):
        session.set_layout("quadtree", 5000)  # there is no frame yet that it would not fit
    session.change_tokens(1)  # before the first picture: from the count that it will have
    first = session.advance().batch.pixels.shape[1]
    session.change_tokens(-1)
    before = session.advance().batch.pixels.shape[1]
    assert first > before > 100
    session.change_tokens(1)
    session.change_tokens(1)
    assert session.advance().batch.pixels.shape[1] > first * 1.1


def test_a_layout_that_cannot_be_had_changes_nothing(open_film):
    session = open_film()
    session.advance()
    with pytest.raises(ValueError, match="unknown layout"):
        session.set_layout("spiral")
    with pytest.raises(ValueError, match=r"tokens"):
        session.set_layout("uniform", 10**7)
    assert session.layout_name == "quadtree"
    assert session.advance().batch.pixels.shape[1] == 40


def test_another_threshold_takes_the_frame_anew_and_keeps_its_promise(open_film):
    session = open_film(threshold=32 / 255)
    for _ in range(3):
        session.advance()
    session.player.pause(True)
    session.set_threshold(0)
    shown = session.advance()
    assert shown.tiles.all()
    np.testing.assert_array_equal(session.engine.read_level(0), pixels(shown.frame - 1))
    assert shown.frame == 3
    session.change_threshold(1)
    assert session.threshold == pytest.approx(1 / 255)
    with pytest.raises(ValueError, match="threshold is 2"):
        session.set_threshold(2)


def test_the_ladder_of_thresholds_has_two_ends():
    assert next_threshold(THRESHOLDS[-1], 1) == THRESHOLDS[-1]
    assert next_threshold(0, -1) == 0
    assert next_threshold(9 / 255, 1) == pytest.approx(12 / 255)
    assert next_threshold(9 / 255, -1) == pytest.approx(8 / 255)


def test_listeners_hear_of_every_picture(open_film):
    session = open_film()
    heard = []
    session.listeners.append(lambda shown: heard.append(shown.number))
    for _ in range(3):
        session.advance()
    assert heard == [1, 2, 3]


def test_what_is_uploaded_is_counted(open_film):
    session = open_film(threshold=0)
    session.advance()
    statistics = session.statistics()
    assert statistics.bytes_uploaded == SIZE[0] * SIZE[1] * 3
    session.advance()
    later = session.statistics()
    assert 0 < later.bytes_uploaded < statistics.bytes_uploaded
    assert later.bytes_uploaded_total == statistics.bytes_uploaded + later.bytes_uploaded
    assert 0 < later.tiles_share < 1


def test_a_torn_film_is_told_after_its_pictures(open_film):
    session = open_film(Film([0.0], failing=True))
    assert session.advance() is not None
    with pytest.raises(SourceError, match="torn"):
        session.advance()


def test_closed_is_closed(open_film):
    film = Film([0.1 * k for k in range(50)])
    session = open_film(film)
    session.advance()
    session.close()
    session.close()
    assert film.closed
    with pytest.raises(ClosedError, match="open a new one"):
        session.advance()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"layout": "spiral"}, "unknown layout"),
        ({"look": "nowhere"}, "unknown look"),
        ({"threshold": 3.0}, "threshold"),
        ({"backend": "vulkan"}, "backend"),
    ],
)
def test_settings_that_cannot_be_had_leave_nothing_open(open_film, options, words):
    film = Film([0.0])
    with pytest.raises(ValueError, match=words):
        open_film(film, **options)
