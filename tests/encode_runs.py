"""One small encode job that the tests of the encode job vary, disturb and compare."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from texvlm.encode import EncodeSettings

FRAMES = 22
SETTINGS = EncodeSettings(
    input="scene:160x96", frames=FRAMES, tokens=24, moving=True, backend="cpu", shard_frames=8, dtype="float16"
)


def shard_bytes(folder: Path) -> dict[str, bytes]:
    """Content of each shard file of a folder."""
    return {path.name: path.read_bytes() for path in sorted(folder.glob("tokens-*"))}


def with_(**changes: Any) -> EncodeSettings:
    """The job with other settings."""
    return EncodeSettings(**(SETTINGS.model_dump() | changes))


def after_calls(calls: int) -> Callable[[], bool]:
    """A stop callable that is True from its n-th call on."""
    left = iter(range(calls - 1))
    return lambda: next(left, None) is None
