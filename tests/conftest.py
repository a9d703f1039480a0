"""Fixtures shared by all tests: backends, real footage, seeds.

Skipping is legal on a laptop and a failure where the environment variable TEXVLM_REQUIRE names what
is needed: `TEXVLM_REQUIRE=gl,data`. Real footage is found through TEXVLM_DATA.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from texvlm.backends import open_backend
from texvlm.backends.base import Backend
from texvlm.errors import BackendUnavailable

REQUIRED = set(filter(None, os.environ.get("TEXVLM_REQUIRE", "").split(",")))


def unavailable(what: str, reason: str) -> None:
    """Skip, or fail where this machine was said to have it."""
    if what in REQUIRED:
        pytest.fail(f"TEXVLM_REQUIRE names {what}, but: {reason}", pytrace=False)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def gl_backend() -> Iterator[Backend]:
    """One gl backend for the whole run: contexts are meant to live that long."""
    try:
        backend = open_backend("gl").backend
    except BackendUnavailable as refusal:
        unavailable("gl", str(refusal))
    yield backend
    backend.close()


@pytest.fixture(params=["cpu", pytest.param("gl", marks=pytest.mark.gl)])
def backend(request: pytest.FixtureRequest) -> Iterator[Backend]:
    """Each backend in turn; the conformance suite runs on all of them."""
    if request.param == "gl":
        yield request.getfixturevalue("gl_backend")
        return
    backend = open_backend(request.param).backend
    yield backend
    backend.close()


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """The folder of real footage."""
    folder = os.environ.get("TEXVLM_DATA")
    if not folder:
        unavailable("data", "TEXVLM_DATA is not set; it names the folder of real footage")
    path = Path(str(folder))
    if not (path / "manifest.json").is_file():
        pytest.fail(f"TEXVLM_DATA={folder} holds no manifest.json", pytrace=False)
    return path


@pytest.fixture
def rng() -> np.random.Generator:
    """Random numbers that are the same on every run."""
    return np.random.default_rng(20261121)
