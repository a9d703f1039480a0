"""What a machine must have, by TEXVLM_REQUIRE; a module of its own, since every folder's conftest has one name."""

from __future__ import annotations

import os
from typing import NoReturn

import pytest

REQUIRED = set(filter(None, os.environ.get("TEXVLM_REQUIRE", "").split(",")))


def unavailable(what: str, reason: str) -> NoReturn:
    """Skip, or fail where this machine was said to have it."""
    if what in REQUIRED:
        pytest.fail(f"TEXVLM_REQUIRE names {what}, but: {reason}", pytrace=False)
    pytest.skip(reason)
