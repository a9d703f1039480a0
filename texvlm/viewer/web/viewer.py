"""The engine's thread of the browser viewer: moves and commands in, snapshots out. It waits for no client."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import PurePath
from time import perf_counter, perf_counter_ns
from typing import Any
from urllib.parse import urlsplit

from texvlm.layouts import LAYOUTS
from texvlm.viewer.modes import PictureMode
from texvlm.viewer.session import ViewSession
from texvlm.viewer.settings import ViewSettings
from texvlm.viewer.web import messages
from texvlm.viewer.web.clients import Client, Clients
from texvlm.viewer.web.publisher import Publisher
from texvlm.viewer.web.snapshot import take_snapshot

TELL_EVERY_S = 0.25
"""Numbers that change faster cannot be read."""

LONGEST_WAIT_S = 0.25
"""A signal is noticed within this."""


class WebViewer:
    """Plays a session for clients. Owns the session, the clients and the publisher; one thread calls it.

    Args:
        settings: what to look at, and how.
        mode: what clients show first.
        frames: stop after so many frames; None for no end.
        stop: asked again and again; True ends the viewer.
    Raises:
        SourceError, ValueError, TypeError, BackendUnavailable, LookError, ModelError: see ViewSession.

    Attributes:
        session: what is shown.
        clients: who looks; servers add to it.
        publisher: makes their pictures.
        copies: pictures that were copied out of the engine's memory.
    """

    def __init__(
        self,
        settings: ViewSettings,
        *,
        mode: PictureMode = PictureMode.BOTH,
        frames: int | None = None,
        stop: Callable[[], bool] = lambda: False,
    ) -> None:
        self._mode, self._frames, self._stop = mode, frames, stop
        self._woken = threading.Event()
        self._seen: dict[int, int] = {}
        self._copied: object = None
        self._tell_due_s = 0.0
        self.copies = 0
        self.session = ViewSession(settings, wake=self._woken.set)
        self.clients = Clients(self._woken.set)
        self.publisher = Publisher(self.clients)

    def run(self) -> None:
        """Play until the end of the input, of the frames wanted, or of somebody's patience.

        Raises:
            SourceError: the input failed.
            LookError: the look policy failed.
        """
        while not self._stop():
            due = self.session.due_in_s()
            self._woken.wait(LONGEST_WAIT_S if due is None else min(due, LONGEST_WAIT_S))
            self._woken.clear()
            self.turn()
            if self.publisher.error is not None:
                raise self.publisher.error
            frame = 0 if self.session.shown is None else self.session.shown.frame
            ended = self.session.finished and not self.session.settings.loop  # else the last picture stays
            if ended or (self._frames is not None and frame >= self._frames):
                break

    def turn(self) -> None:
        """Do what was asked for, make the picture that is due, and let clients have it."""
        session = self.session
        asked = self.clients.take_requests()
        for client, command in asked.commands:
            try:
                self._act(command)
            except (ValueError, TypeError) as refusal:
                self.clients.notice(client, str(refusal))
        if asked.pointed is not None:
            self._point(*asked.pointed)
        shown = session.advance()
        if shown is not None:
            session.presented()
        if session.shown is not None and session.shown is self._copied:
            self.clients.publish_nothing()
        elif session.shown is not None and self.clients.wants_picture:
            with session.stages.stage("copy"):
                self.clients.publish(take_snapshot(session.engine, session.shown, self._seen))
            self._copied = session.shown
            self.copies += 1
        if asked.commands or perf_counter() >= self._tell_due_s:
            self.clients.tell(self.state())
            self._tell_due_s = perf_counter() + TELL_EVERY_S

    def close(self) -> None:
        """Let clients go and free everything. May be called twice."""
        self.clients.close()
        self.publisher.close()
        self.session.close()

    def state(self) -> dict[str, Any]:
        """What clients are told about the session; JSON-compatible."""
        session = self.session
        statistics, traffic = session.statistics(perf_counter_ns()), self.clients.traffic()
        return {
            "first_mode": self._mode,
            "input": name_for_pages(session.settings.input),
            "size": list(session.player.info.size),
            "backend": session.engine.backend_name,
            "layout": session.layout_name,
            "layouts": list(LAYOUTS),
            "tokens": statistics.tokens,
            "tokens_sampled": statistics.tokens_sampled,
            "threshold": 255 * session.threshold,
            "paused": session.player.paused,
            "live": session.player.live,
            "finished": session.finished,
            "has_policy": session.settings.look is not None,
            "policy": session.follows_policy,
            "frames": statistics.frames,
            "frames_per_s": statistics.frames_per_s,
            "dropped": statistics.dropped,
            "tiles_share": statistics.tiles_share,
            "bytes_uploaded": statistics.bytes_uploaded,
            "stages_ms": statistics.stages_ms | self.publisher.stages_ms,
            "clients": traffic.clients,
            "malformed": traffic.malformed,
        }

    def _point(self, client: Client, point: messages.Point, time_ns: int) -> None:
        self.session.point(point.u, point.v, time_ns)
        if not self.session.follows_policy:  # which shows what it likes, and when
            self._seen = {client.number: point.number}  # the last one to move is the only one who waits for it

    def _act(self, command: messages.Command) -> None:
        session = self.session
        match command:
            case messages.SetLayout(name):
                if session.settings.make_layout(name) and name != session.layout_name:
                    with suppress(ValueError, TypeError):  # with this budget, where it can have that
                        return session.set_layout(name, session.tokens)
                    session.set_layout(name)
            case messages.ChangeTokens(step):
                session.change_tokens(step)
            case messages.ChangeThreshold(step):
                session.change_threshold(step)
            case messages.Pause(on):
                session.player.pause(on)
            case messages.Step():
                session.player.step()
            case messages.Follow(policy):
                session.follow_policy(policy)


def name_for_pages(source: str) -> str:
    """What pages are told that an input is called: without this machine's folders, or a camera's password or key."""
    if "://" not in source:
        return PurePath(source).name or source
    parts = urlsplit(source)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
