"""Motion sources by name, as options and presets give them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from texvlm.motion.block_matching import BlockMatcher
from texvlm.motion.codec import CodecMotion
from texvlm.motion.dis import DisFlow
from texvlm.motion.field import MotionField
from texvlm.motion.source import Moment, MotionSource


class NoMotion:
    """Measures nothing: no frame has a field."""

    name: ClassVar[str] = "none"

    def __call__(self, moment: Moment) -> MotionField | None:
        """See MotionSource."""
        return None

    def reset(self, source: int | None = None) -> None:
        """See MotionSource."""


MOTION_SOURCES: dict[str, Callable[..., MotionSource]] = {
    "dis": DisFlow,
    "blocks": BlockMatcher,
    "codec": CodecMotion,
    "none": NoMotion,
}
"""What makes each of them."""


def open_motion(name: str, **options: Any) -> MotionSource:
    """A motion source by name.

    Args:
        name: "dis" (OpenCV, the extra `flow`), "blocks" (block matching), "codec" (vectors of the file) or "none".
        options: keyword arguments of DisFlow, BlockMatcher or CodecMotion.
    Raises:
        ValueError: no such name, or an option that is not accepted.
        FlowUnavailable: what it needs is not installed.
    """
    if name not in MOTION_SOURCES:
        raise ValueError(f"motion is {name!r}; accepted: {', '.join(MOTION_SOURCES)}")
    try:
        return MOTION_SOURCES[name](**options)
    except TypeError as refusal:
        raise ValueError(f"motion {name!r} does not take {', '.join(options)}: {refusal}") from refusal
