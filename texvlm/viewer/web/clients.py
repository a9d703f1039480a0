"""Who looks, what each may be given next, and what they ask for: the one place where three threads meet.

The engine's thread publishes and takes requests; the publisher's takes jobs and delivers packets; the
server's adds clients and hands on their messages. Nobody waits for a client: each has at most one packet
under way, and the newest picture is what it gets next.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from time import monotonic, perf_counter_ns
from typing import Any

from texvlm.errors import ViewerUnavailable
from texvlm.viewer.modes import PictureMode
from texvlm.viewer.web.messages import Ack, Command, Message, Point, Watch
from texvlm.viewer.web.snapshot import Snapshot

MOST_CLIENTS = 16

MOST_COMMANDS = 64
"""That wait for the engine's thread; further ones are dropped and counted."""

STALLED_S = 2.0
"""A client that has not acknowledged for so long counts as not looking: nothing is copied for it."""

FIRST_BOX = (1280, 720)


@dataclass(slots=True, eq=False)
class Client:
    """One browser. Its fields belong to Clients, which locks them.

    Attributes:
        number: of this client.
        deliver: puts a packet on its way; from any thread, never waits.
        mode, box: what it looks at.
        ready: it has no packet under way.
        given_s: when it was given the last one, on the monotonic clock.
        packets, pictures, skipped: packets and pictures given; pictures that it was too slow for.
        commands, taken, heard: that it gave; those the engine's thread has taken; those the newest state shows.
    """

    number: int
    deliver: Callable[[bytes], None]
    mode: PictureMode = PictureMode.BOTH
    box: tuple[int, int] = FIRST_BOX
    ready: bool = True
    given_s: float = 0.0
    packets: int = 0
    pictures: int = 0
    skipped: int = 0
    picture_seen: int = 0
    state_seen: int = 0
    commands: int = 0
    taken: int = 0
    heard: int = 0
    mode_changed: bool = False
    notices: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True, eq=False)
class Job:
    """Packets to be made: one picture, for all who look at it alike and have no packet under way.

    Attributes:
        clients: whom they are for, and for each the fields that only it is told.
        snapshot: what to draw; None where there is no new picture for them.
        mode, box: how.
        state: what has changed about the session; None when nothing has.
    """

    clients: list[tuple[Client, dict[str, Any]]]
    snapshot: Snapshot | None
    mode: PictureMode
    box: tuple[int, int]
    state: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True)
class Requests:
    """What clients asked of the engine's thread.

    Attributes:
        commands: in order, each with who gave it.
        pointed: the newest move, who made it, and when the first one came, by `time.perf_counter_ns`; None without any.
    """

    commands: list[tuple[Client, Command]]
    pointed: tuple[Client, Point, int] | None


@dataclass(frozen=True, slots=True)
class Traffic:
    """What came and went.

    Attributes:
        clients: connected now.
        connected: ever.
        malformed: messages that were dropped because they were none, or no answer to anything.
        overflowed: commands that were dropped because too many waited.
        packets, pictures: delivered to all clients.
        skipped: pictures that clients were too slow for.
    """

    clients: int
    connected: int
    malformed: int
    overflowed: int
    packets: int
    pictures: int
    skipped: int


class Clients:
    """All clients of one viewer. Any thread may call anything.

    Args:
        wake: called when there is something for the engine's thread to do.
    """

    def __init__(self, wake: Callable[[], None]) -> None:
        self._wake = wake
        self._changed = threading.Condition()
        self._clients: dict[int, Client] = {}
        self._gone = Client(0, lambda _: None)  # sums of those that left
        self._connected = self._malformed = self._overflowed = 0
        self._pointed: tuple[Client, Point, int] | None = None
        self._commands: deque[tuple[Client, Command]] = deque()
        self._snapshot: Snapshot | None = None
        self._pictures = 0
        self._state: Mapping[str, Any] = {}
        self._states = 0
        self._asked = self._closed = False

    # ------------------------------------------------------------------ the server's thread

    def add(self, deliver: Callable[[bytes], None]) -> Client:
        """Somebody looks.

        Raises:
            ViewerUnavailable: too many do, or the viewer is closing.
        """
        with self._changed:
            if self._closed or len(self._clients) >= MOST_CLIENTS:
                why = "the viewer is closing" if self._closed else f"{MOST_CLIENTS} clients look already"
                raise ViewerUnavailable(f"{why}; come back later")
            self._connected += 1
            client = Client(self._connected, deliver)
            self._clients[client.number] = client
            self._changed.notify_all()
        self._wake()
        return client

    def remove(self, client: Client) -> None:
        """Somebody went. May be called twice."""
        with self._changed:
            if self._clients.pop(client.number, None) is None:
                return
            for name in ("packets", "pictures", "skipped"):
                setattr(self._gone, name, getattr(self._gone, name) + getattr(client, name))

    def take(self, client: Client, message: Message, time_ns: int | None = None) -> None:
        """A client's message, received at a time of `time.perf_counter_ns`."""
        with self._changed:
            if isinstance(message, Ack):
                if client.ready or message.number != client.packets:
                    self._malformed += 1
                    return
                client.ready = True
                self._changed.notify_all()
                return
            if isinstance(message, Watch):
                client.mode_changed |= (client.mode, client.box) != (message.mode, message.box)
                client.mode, client.box = message.mode, message.box
                self._changed.notify_all()
                return
            if isinstance(message, Point):
                # of moves that no picture shows yet, the wait is that of the first
                first_ns = self._pointed[2] if self._pointed is not None else None
                now_ns = perf_counter_ns() if time_ns is None else time_ns
                self._pointed = (client, message, now_ns if first_ns is None else first_ns)
            else:
                client.commands += 1
                if len(self._commands) >= MOST_COMMANDS:
                    self._overflowed += 1
                    return
                self._commands.append((client, message))
        self._wake()

    def count_malformed(self) -> None:
        """A message was none."""
        with self._changed:
            self._malformed += 1

    def newest(self, timeout_s: float) -> Snapshot | None:
        """The newest picture, waiting so long where there is none yet; for who looks but once."""
        with self._changed:
            self._asked = True
        self._wake()
        with self._changed:
            self._changed.wait_for(lambda: not self._asked or self._closed, timeout_s)
            return self._snapshot

    # ------------------------------------------------------------------ the engine's thread

    def take_requests(self) -> Requests:
        """What was asked for since the last call.

        Commands and the move at once: a click that takes over from the policy is both, and between two
        calls the one could come without the other.
        """
        with self._changed:
            taken = Requests(list(self._commands), self._pointed)
            self._commands.clear()
            self._pointed = None
            for client in self._clients.values():
                client.taken = client.commands
            return taken

    @property
    def wants_picture(self) -> bool:
        """Somebody looks, and not only clients that have stalled."""
        with self._changed:
            return self._asked or any(map(_is_lively, self._clients.values()))

    def publish(self, snapshot: Snapshot) -> None:
        """There is a new picture."""
        with self._changed:
            self._snapshot = snapshot
            self._pictures += 1
            self._asked = False
            self._changed.notify_all()

    def publish_nothing(self) -> None:
        """The picture published last is still the newest."""
        with self._changed:
            if self._asked:
                self._asked = False
                self._changed.notify_all()

    def tell(self, state: Mapping[str, Any]) -> None:
        """What is known about the session now, all that was taken done; must not be written to any more."""
        with self._changed:
            for client in self._clients.values():
                client.heard = client.taken
            self._state = state
            self._states += 1
            self._changed.notify_all()

    def notice(self, client: Client, words: str) -> None:
        """Say something to one client."""
        with self._changed:
            client.notices = [*client.notices[-3:], words]
            self._changed.notify_all()

    # ------------------------------------------------------------------ the publisher's thread

    def next_job(self) -> Job | None:
        """Wait until somebody can be given something new; None when the viewer closes.

        Whoever waits longest comes first, with all who look at the same picture.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._next() is not None)
            first = self._next()
            if self._closed or first is None:
                return None
            has_picture = self._has_picture(first)
            mode, box = first.mode, first.box
            alike = [
                client
                for client in self._clients.values()
                if client.ready and (client.mode, client.box) == (mode, box) and self._has_news(client)
            ]
            same = [client for client in alike if self._has_picture(client) == has_picture]
            oldest_state = min(client.state_seen for client in same)
            return Job(
                [(client, self._give(client, has_picture)) for client in same],
                self._snapshot if has_picture else None,
                mode,
                box,
                self._state if oldest_state < self._states else None,
            )

    # ------------------------------------------------------------------ state

    def traffic(self) -> Traffic:
        """What came and went."""
        with self._changed:
            everybody = [*self._clients.values(), self._gone]
            return Traffic(
                len(self._clients),
                self._connected,
                self._malformed,
                self._overflowed,
                *(sum(getattr(one, name) for one in everybody) for name in ("packets", "pictures", "skipped")),
            )

    def close(self) -> None:
        """Wake whoever waits; nobody is given anything any more. May be called twice."""
        with self._changed:
            self._closed = True
            self._snapshot = None
            self._changed.notify_all()

    # ------------------------------------------------------------------ inside

    def _next(self) -> Client | None:
        waiting = [client for client in self._clients.values() if client.ready and self._has_news(client)]
        return min(waiting, key=lambda client: client.given_s, default=None)

    def _has_news(self, client: Client) -> bool:
        return self._has_picture(client) or client.state_seen < self._states or bool(client.notices)

    def _has_picture(self, client: Client) -> bool:
        return self._snapshot is not None and (client.picture_seen < self._pictures or client.mode_changed)

    def _give(self, client: Client, has_picture: bool) -> dict[str, Any]:
        """Mark a client as given everything that there is; the fields that only it is told."""
        client.packets += 1
        fields: dict[str, Any] = {"packet": client.packets}
        if client.notices:
            fields["notices"], client.notices = client.notices, []
        if has_picture:
            assert self._snapshot is not None, "there is a picture"
            client.pictures += 1
            if client.picture_seen:
                client.skipped += max(0, self._pictures - client.picture_seen - 1)
            client.picture_seen, client.mode_changed = self._pictures, False
            fields |= {"seen": self._snapshot.seen.get(client.number, 0), "skipped": client.skipped}
        if client.state_seen < self._states:
            fields["heard"] = client.heard
        client.state_seen = self._states
        client.ready, client.given_s = False, monotonic()
        return fields


def _is_lively(client: Client) -> bool:
    return client.ready or monotonic() - client.given_s < STALLED_S
