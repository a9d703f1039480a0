"""A film played: frames when they are due, late ones dropped and counted, and an end to everything."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest
from viewer.films import Film, pixels

from texvlm.errors import SourceError
from texvlm.viewer.player import AHEAD, LATE_S, Player


def wait_until(true, timeout_s=5.0):
    end = time.monotonic() + timeout_s
    while not true():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.001)


def queued(player):
    return len(player._queue)


def index_of(frame):
    return next(k for k in range(200) if (pixels(k) == frame.pixels).all())


@pytest.fixture
def play():
    players = []

    def play(film, **options):
        players.append(Player(film, **options))
        return players[-1]

    yield play
    for player in players:
        player.close()
        assert not player._thread.is_alive()


def test_frames_come_out_when_their_time_has_come(play):
    player = play(Film([5.0, 5.1, 5.2]))
    wait_until(lambda: queued(player) == 3)
    assert player.due_in_s(100.0) == 0
    assert player.take(100.0).pts == 5.0
    assert player.take(100.05) is None
    assert player.due_in_s(100.05) == pytest.approx(0.05)
    assert player.take(100.11).pts == 5.1
    assert not player.finished
    assert player.take(100.21).pts == 5.2
    assert player.finished
    assert player.due_in_s(101) is None
    assert player.dropped == 0


def test_late_frames_are_dropped_and_counted(play):
    player = play(Film([0, 0.05, 0.1, 0.15]))
    wait_until(lambda: queued(player) == 4)
    player.take(10.0)
    assert player.take(10.12).pts == 0.1
    assert player.dropped == 1


def test_an_input_that_cannot_be_decoded_in_time_plays_slower(play):
    film = Film([0.1 * k for k in range(20)], held=1)
    player = play(film)
    wait_until(lambda: queued(player) == 1)
    player.take(10.0)
    film.gate.set()  # the rest comes when most of it is long due
    wait_until(lambda: queued(player) == AHEAD)
    late = 10.0 + 1.5
    first = player.take(late)
    assert player.dropped == AHEAD - 1
    wait_until(lambda: queued(player) == AHEAD)
    assert player.take(late + 0.01) is None  # time goes on from that frame
    following = player.take(late + 0.11)
    assert index_of(following) == index_of(first) + 1
    assert LATE_S < 1.5


def test_it_decodes_no_further_ahead_than_it_says(play):
    film = Film([0.1 * k for k in range(50)])
    player = play(film)
    wait_until(lambda: queued(player) == AHEAD)
    time.sleep(0.02)
    assert queued(player) == AHEAD
    assert film._next <= AHEAD + 1


def test_rounds_follow_each_other_without_a_gap_in_time(play):
    films = []

    def reopen():
        films.append(Film([3.0, 3.1]))
        return films[-1]

    first = reopen()
    player = play(first, reopen=reopen)
    wait_until(lambda: queued(player) == AHEAD)
    taken = [player.take(10.0 + 0.101 * k) for k in range(4)]
    assert [frame.pts for frame in taken] == [3.0, 3.1, 3.0, 3.1]
    assert first.closed


def test_a_single_picture_and_an_empty_film_are_not_played_in_a_ring(play):
    for film in (Film([None]), Film([])):
        player = play(film, reopen=lambda: pytest.fail("reopened"))
        wait_until(lambda player=player: player._ended)
        assert (player.take(1.0) is not None) == (film.frames == 1)
        assert player.finished


def test_unknown_and_backward_times_still_play_in_order(play):
    player = play(Film([None, None, None], rate=10.0))
    wait_until(lambda: queued(player) == 3)
    assert player.take(1.0) is not None
    assert player.take(1.05) is None
    assert player.take(1.11) is not None
    back = play(Film([5.0, 4.0, 5.1]))
    wait_until(lambda: queued(back) == 3)
    assert [back.take(1.0 + 0.12 * k).pts for k in range(2)] == [
        4.0,
        5.1,
    ]  # the frame with the broken time is due at once
    assert back.dropped == 1


def test_pause_holds_and_steps_give_one_frame_each(play):
    player = play(Film([0.1 * k for k in range(4)]))
    wait_until(lambda: queued(player) == 4)
    player.take(1.0)
    player.pause(True)
    assert player.take(9.0) is None
    assert player.due_in_s(9.0) is None
    player.step()
    assert player.due_in_s(9.0) == 0
    assert player.take(9.0).pts == pytest.approx(0.1)
    assert player.take(9.0) is None
    player.pause(False)
    assert player.take(20.0).pts == pytest.approx(0.2)  # nothing was dropped for the time it stood
    assert player.take(20.05) is None
    assert player.dropped == 0


def test_stepping_a_playing_film_holds_it(play):
    player = play(Film([0.1 * k for k in range(4)]))
    wait_until(lambda: queued(player) == 4)
    player.step()
    assert player.paused
    assert player.take(1.0) is not None
    assert player.take(2.0) is None


def test_without_a_clock_every_frame_comes_and_is_waited_for(play):
    film = Film([0, 60, 120], held=1)
    player = play(film, clocked=False)
    assert player.take(0.0).pts == 0
    threading.Timer(0.02, film.gate.set).start()
    assert [player.take(0.0).pts for _ in range(2)] == [60, 120]
    assert player.take(0.0) is None
    assert player.finished


def test_a_live_source_gives_its_newest_frame(play):
    film = Film([float(k) for k in range(20)], kind="live")
    player = play(film)
    wait_until(lambda: player._ended)
    film.dropped = 7  # of its own
    assert player.take(0.0).pts == 19
    assert player.dropped == 19 + 7


def test_what_came_before_a_failure_is_shown_and_then_it_is_told(play):
    woken = threading.Event()
    player = play(Film([0.0], failing=True), wake=woken.set)
    wait_until(lambda: player._ended)
    assert woken.is_set()
    assert player.take(1.0) is not None
    assert not player.finished
    assert player.due_in_s(1.0) == 0
    with pytest.raises(SourceError, match="torn; splice it"):
        player.take(2.0)
    assert player.finished


@pytest.mark.parametrize("kind", ["video", "live"])
@pytest.mark.parametrize("held", [0, 1, None])
def test_it_closes_whatever_the_decoder_does(kind, held):
    film = Film([0.1 * k for k in range(50)], kind=kind, held=held)
    player = Player(film)
    if held == 1:
        wait_until(lambda: queued(player) == 1)
    if kind == "video":
        film.gate.set()  # a file never waits for long
    player.close()
    player.close()
    assert film.closed
    assert not player._thread.is_alive()
    assert player.take(0.0) is None


def test_pictures_of_a_film_differ():
    assert len({pixels(k).tobytes() for k in range(10)}) == 10
    assert pixels(0).dtype == np.uint8
