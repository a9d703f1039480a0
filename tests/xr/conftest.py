"""The test runtime, built once, and a rig for each test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from gl_app import App, app_context
from headset_rig import Rig
from required import unavailable
from xr_runtime import build_runtime

from texvlm.errors import HeadsetUnavailable
from texvlm.xr.calls import load_xr


@pytest.fixture(scope="session")
def manifest(tmp_path_factory) -> Path:
    """The runtime's manifest."""
    try:
        return build_runtime(tmp_path_factory.mktemp("xr"), load_xr())
    except (HeadsetUnavailable, FileNotFoundError) as refusal:
        unavailable("xr", str(refusal))


@pytest.fixture
def rig(manifest, tmp_path, monkeypatch) -> Rig:
    """The headset of one test."""
    return Rig(manifest, tmp_path, monkeypatch)


@pytest.fixture
def app(gl_backend) -> Iterator[App]:
    """The application's context, current here."""
    with app_context() as app:
        yield app
