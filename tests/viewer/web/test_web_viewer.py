"""The engine's thread of the browser viewer: what it does with what clients ask, and what it tells them."""

from __future__ import annotations

from contextlib import closing

import pytest
from viewer.films import Film
from viewer.web.web_rig import wait_until

from texvlm.viewer import ViewSettings
from texvlm.viewer import settings as settings_module
from texvlm.viewer.web.messages import Follow, Point
from texvlm.viewer.web.viewer import WebViewer, name_for_pages


class Interposed:
    """A lock after whose first release something happens, as another thread may make it happen."""

    def __init__(self, lock, then):
        self._lock, self._then = lock, then

    def __enter__(self):
        return self._lock.__enter__()

    def __exit__(self, *error):
        self._lock.__exit__(*error)
        then, self._then = self._then, lambda: None
        then()

    def __getattr__(self, name):
        return getattr(self._lock, name)


def test_a_click_that_takes_over_from_a_policy_is_not_lost_between_the_two(monkeypatch):
    monkeypatch.setattr(settings_module, "open_source", lambda name: Film([0.0]))
    with closing(WebViewer(ViewSettings("film", backend="cpu", tokens=40, patch=8, look="changes"))) as viewer:
        client = viewer.clients.add(lambda _: None)
        wait_until(lambda: viewer.turn() or viewer.session.shown)
        assert viewer.session.follows_policy

        def click():
            viewer.clients.take(client, Follow(False))
            viewer.clients.take(client, Point(0.2, 0.9, 1))

        viewer.clients._changed = Interposed(viewer.clients._changed, click)
        viewer.turn()
        viewer.turn()
        assert not viewer.session.follows_policy
        assert viewer.session.shown.fixations.tolist() == [[0.2, 0.9]]


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("rtsp://me:p@ss@camera.example:554/live?key=1", "rtsp://camera.example:554/live"),
        ("/home/me/clips/a.mp4", "a.mp4"),
        ("scene:1280x720", "scene:1280x720"),
        (".", "."),
    ],
)
def test_pages_are_told_no_folders_and_no_passwords(given, told):
    assert name_for_pages(given) == told
