"""Who is given what: the newest picture, to whoever can take one, and never more than one packet under way."""

from __future__ import annotations

import threading

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from viewer.films import SIZE, pixels

from texvlm import Engine
from texvlm.errors import ViewerUnavailable
from texvlm.viewer.modes import PictureMode
from texvlm.viewer.shown import Shown
from texvlm.viewer.web import clients as clients_module
from texvlm.viewer.web.clients import MOST_CLIENTS, MOST_COMMANDS, Clients, Requests
from texvlm.viewer.web.messages import Ack, Pause, Point, Step, Watch
from texvlm.viewer.web.snapshot import take_snapshot


@pytest.fixture(scope="module")
def snapshots():
    with Engine(backend="cpu", tokens=40, patch=8, dtype=torch.uint8) as engine:
        made = []
        for k in range(3):
            tiles = engine.submit(pixels(k)).tiles
            shown = Shown(k + 1, k + 1, None, SIZE, engine.tokens((0.5, 0.5)), tiles, np.array([[0.5, 0.5]]), "")
            made.append(take_snapshot(engine, shown, {1: 10 + k, 2: 20 + k}))
        yield made


@pytest.fixture
def clients():
    clients = Clients(lambda: None)
    yield clients
    clients.close()
    assert clients.next_job() is None


def given_to(job):
    return {client.number for client, _ in job.clients}


def watch(clients, client, mode=PictureMode.FRAME, box=(640, 360)):
    clients.take(client, Watch(mode, box))


def test_one_packet_is_under_way_until_it_is_acknowledged(clients, snapshots):
    client = clients.add(lambda _: None)
    clients.publish(snapshots[0])
    (_, fields), *_ = clients.next_job().clients
    assert fields == {"packet": 1, "seen": 10, "skipped": 0}
    clients.publish(snapshots[1])
    clients.publish(snapshots[2])
    assert clients._next() is None
    clients.take(client, Ack(1))
    job = clients.next_job()
    assert job.snapshot is snapshots[2]
    assert job.clients[0][1] == {"packet": 2, "seen": 12, "skipped": 1}
    assert clients.traffic().skipped == 1


def test_a_client_that_never_reads_gets_one_packet_and_holds_nobody_up(clients, snapshots):
    silent, reader = clients.add(lambda _: None), clients.add(lambda _: None)
    for client in (silent, reader):
        watch(clients, client)
    clients.publish(snapshots[0])
    assert given_to(clients.next_job()) == {1, 2}
    for k in range(1, 10):
        clients.take(reader, Ack(k))
        clients.publish(snapshots[k % 3])
        assert given_to(clients.next_job()) == {2}
    assert (silent.packets, reader.packets) == (1, 10)


def test_those_who_look_alike_share_a_picture_and_whoever_waits_longest_comes_first(clients, snapshots):
    alike, other, later = (clients.add(lambda _: None) for _ in range(3))
    watch(clients, alike)
    watch(clients, later)
    watch(clients, other, PictureMode.TOKENS)
    clients.publish(snapshots[0])
    assert given_to(clients.next_job()) == {1, 3}
    assert given_to(clients.next_job()) == {2}
    for client in (other, alike, later):
        clients.take(client, Ack(1))
    clients.publish(snapshots[1])
    assert given_to(clients.next_job()) == {1, 3}


def test_another_mode_or_size_is_drawn_anew_though_nothing_moved(clients, snapshots):
    client = clients.add(lambda _: None)
    clients.publish(snapshots[0])
    clients.next_job()
    clients.take(client, Ack(1))
    assert clients._next() is None
    watch(clients, client, PictureMode.TOKENS, (320, 200))
    job = clients.next_job()
    assert (job.snapshot, job.mode, job.box) == (snapshots[0], PictureMode.TOKENS, (320, 200))
    clients.take(client, Ack(2))
    watch(clients, client, PictureMode.TOKENS, (320, 200))
    assert clients._next() is None


def test_a_new_client_is_told_everything_and_gets_the_picture_of_the_moment(clients, snapshots):
    clients.publish(snapshots[1])
    clients.tell({"layout": "rings"})
    clients.add(lambda _: None)
    job = clients.next_job()
    assert job.snapshot is snapshots[1]
    assert job.state == {"layout": "rings"}


def test_words_reach_the_one_who_asked_and_news_without_a_picture_go_out(clients):
    first, second = (clients.add(lambda _: None) for _ in range(2))
    clients.notice(second, "no such layout")
    job = clients.next_job()
    assert given_to(job) == {2}
    assert job.snapshot is None
    assert job.clients[0][1]["notices"] == ["no such layout"]
    clients.tell({"tokens": 40})
    job = clients.next_job()
    assert given_to(job) == {1}
    assert job.state == {"tokens": 40}
    clients.take(first, Ack(1))
    assert clients._next() is None


def test_an_answer_to_nothing_is_dropped_and_counted(clients, snapshots):
    client = clients.add(lambda _: None)
    clients.take(client, Ack(0))
    clients.publish(snapshots[0])
    clients.next_job()
    for number in (0, 2, 99):
        clients.take(client, Ack(number))
    assert clients._next() is None
    assert clients.traffic().malformed == 4


def test_of_several_moves_the_last_one_counts_and_the_wait_is_that_of_the_first(clients):
    first, second = (clients.add(lambda _: None) for _ in range(2))
    clients.take(first, Point(0.1, 0.1, 1), 100)
    clients.take(second, Point(0.9, 0.9, 5), 200)
    assert clients.take_requests().pointed == (second, Point(0.9, 0.9, 5), 100)
    assert clients.take_requests().pointed is None


def test_commands_wait_in_order_and_not_without_end(clients):
    client = clients.add(lambda _: None)
    for _ in range(MOST_COMMANDS):
        clients.take(client, Step())
    clients.take(client, Pause(True))
    assert clients.take_requests().commands == [(client, Step())] * MOST_COMMANDS
    assert clients.traffic().overflowed == 1
    assert clients.take_requests() == Requests([], None)


def test_each_is_told_how_many_of_its_commands_a_state_has_heard_of(clients):
    first, second = (clients.add(lambda _: None) for _ in range(2))
    heard = {first: None, second: None}

    def tell():
        clients.tell({})
        for client, fields in clients.next_job().clients:
            heard[client] = fields["heard"]
            clients.take(client, Ack(fields["packet"]))

    for _ in range(MOST_COMMANDS + 2):  # those that are dropped, too: nothing will come of them
        clients.take(first, Step())
    tell()
    assert heard == {first: 0, second: 0}
    clients.take_requests()
    clients.take(second, Pause(True))
    tell()
    assert heard == {first: MOST_COMMANDS + 2, second: 0}
    clients.take_requests()
    tell()
    assert heard[second] == 1
    clients.notice(first, "no state")
    ((_, fields),) = clients.next_job().clients
    assert "heard" not in fields


def test_nothing_is_copied_where_nobody_looks(clients, snapshots, monkeypatch):
    assert not clients.wants_picture
    client = clients.add(lambda _: None)
    assert clients.wants_picture
    clients.publish(snapshots[0])
    clients.next_job()
    assert clients.wants_picture
    monkeypatch.setattr(clients_module, "STALLED_S", 0.0)
    assert not clients.wants_picture
    clients.take(client, Ack(1))
    assert clients.wants_picture
    clients.remove(client)
    clients.remove(client)
    assert not clients.wants_picture
    assert clients.traffic().pictures == 1


def test_whoever_looks_but_once_waits_for_a_picture_of_now(clients, snapshots):
    clients.publish(snapshots[0])
    found = []
    thread = threading.Thread(target=lambda: found.append(clients.newest(5)))
    thread.start()
    while not clients.wants_picture:
        pass
    clients.publish(snapshots[1])
    thread.join()
    assert found == [snapshots[1]]
    assert clients.newest(0.01) is snapshots[1]  # nobody answers: the last one


def test_there_is_room_for_so_many_and_none_once_it_closes(clients):
    added = [clients.add(lambda _: None) for _ in range(MOST_CLIENTS)]
    with pytest.raises(ViewerUnavailable, match=f"{MOST_CLIENTS} clients look already; come back later"):
        clients.add(lambda _: None)
    clients.remove(added[3])
    clients.add(lambda _: None)
    clients.close()
    with pytest.raises(ViewerUnavailable, match="closing"):
        clients.add(lambda _: None)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(["publish", "ack", "tell", "watch", "job", "notice"]), st.integers(0, 2)), max_size=60
    )
)
def test_whatever_happens_nobody_has_two_packets_and_nobody_is_forgotten(snapshots, events):
    clients = Clients(lambda: None)
    everybody = [clients.add(lambda _: None) for _ in range(3)]
    under_way, newest = [0, 0, 0], None

    def serve():
        job = clients.next_job()
        for client, fields in job.clients:
            assert under_way[client.number - 1] == 0
            under_way[client.number - 1] = fields["packet"]
        assert job.snapshot in (None, newest)

    for event, k in events:
        if event == "publish":
            newest = snapshots[k]
            clients.publish(newest)
        elif event == "ack" and under_way[k]:
            clients.take(everybody[k], Ack(under_way[k]))
            under_way[k] = 0
        elif event == "tell":
            clients.tell({"k": k})
        elif event == "watch":
            watch(clients, everybody[k], list(PictureMode)[k])
        elif event == "notice":
            clients.notice(everybody[k], "hear")
        elif event == "job" and clients._next() is not None:
            serve()
    for _ in range(6):  # two packets are enough for anybody to have everything
        for k in range(3):
            if under_way[k]:
                clients.take(everybody[k], Ack(under_way[k]))
                under_way[k] = 0
        if clients._next() is not None:
            serve()
    assert clients._next() is None
    assert all(client.picture_seen == clients._pictures for client in everybody)
    assert all(client.state_seen == clients._states and not client.notices for client in everybody)
