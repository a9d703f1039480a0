"""What browsers and the viewer say to each other: small JSON in, one packet out.

In: an object with one of the keys of `read_message`. Out: the length of a header (4 bytes, little endian),
the header (JSON), and the bytes of a JPEG, or none.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from texvlm.viewer.modes import PictureMode, parse_mode

LONGEST_MESSAGE = 1024
"""Bytes of a message from a client; a connection that sends a longer one is closed."""

LARGEST_NUMBER = 2**53
"""Numbers of packets and moves are those that a double holds exactly."""

LONGEST_NAME = 40


@dataclass(frozen=True, slots=True)
class Ack:
    """The client has shown a packet and can take another."""

    number: int


@dataclass(frozen=True, slots=True)
class Point:
    """The fixation moved to (u, v); `number` comes back with the first picture that shows it."""

    u: float
    v: float
    number: int


@dataclass(frozen=True, slots=True)
class Watch:
    """What this client wants to see, and the (width, height) in pixels that it has room for."""

    mode: PictureMode
    box: tuple[int, int]


@dataclass(frozen=True, slots=True)
class SetLayout:
    """Another layout, for everybody."""

    name: str


@dataclass(frozen=True, slots=True)
class ChangeTokens:
    """A larger (1) or smaller (-1) token budget."""

    step: int


@dataclass(frozen=True, slots=True)
class ChangeThreshold:
    """A looser (1) or stricter (-1) threshold."""

    step: int


@dataclass(frozen=True, slots=True)
class Pause:
    """Hold the picture, or go on."""

    on: bool


@dataclass(frozen=True, slots=True)
class Step:
    """Hold, and one more frame."""


@dataclass(frozen=True, slots=True)
class Follow:
    """Let the look policy move the fixation, or the pointer."""

    policy: bool


Command = SetLayout | ChangeTokens | ChangeThreshold | Pause | Step | Follow
"""What the engine's thread does, for everybody who looks."""

Message = Ack | Point | Watch | Command


def read_message(text: str) -> Message:
    """A client's message.

    Raises:
        ValueError: it is none; says why.
    """
    if len(text) > LONGEST_MESSAGE:
        raise ValueError(f"message of {len(text)} characters; accepted: {LONGEST_MESSAGE}")
    try:
        fields = json.loads(text)
    except RecursionError:
        raise ValueError("message is nested too deeply; send one object") from None
    if not isinstance(fields, dict):
        raise ValueError(f"message is a {type(fields).__name__}; send one object")
    for kind, read in _KINDS.items():
        if kind in fields:
            return read(fields)
    raise ValueError(f"message has none of the keys {', '.join(_KINDS)}")


def write_packet(header: Mapping[str, Any], picture: bytes = b"") -> bytes:
    """A packet for a client."""
    words = json.dumps(header, separators=(",", ":"), allow_nan=False).encode()
    return len(words).to_bytes(4, "little") + words + picture


def read_packet(packet: bytes) -> tuple[dict[str, Any], bytes]:
    """(header, picture) of a packet; ValueError when it is cut short."""
    length = int.from_bytes(packet[:4], "little")
    if len(packet) < 4 + length:
        raise ValueError(f"packet of {len(packet)} bytes with a header of {length}; it was cut short")
    header: dict[str, Any] = json.loads(packet[4 : 4 + length])
    return header, packet[4 + length :]


def _integer(value: Any, least: int, most: int) -> int:
    if type(value) is not int or not least <= value <= most:
        raise ValueError(f"{value!r:.40} is no integer of {least}..{most}")
    return value


def _flag(value: Any) -> bool:
    if type(value) is not bool:
        raise ValueError(f"{value!r:.40} is neither true nor false")
    return value


def _step(value: Any) -> int:
    if type(value) is not int or value not in (-1, 1):
        raise ValueError(f"{value!r:.40} is neither 1 nor -1")
    return value


def _name(value: Any) -> str:
    if type(value) is not str or not 0 < len(value) <= LONGEST_NAME:
        raise ValueError(f"{value!r:.40} is no name of 1..{LONGEST_NAME} characters")
    return value


def _pair(value: Any) -> tuple[Any, Any]:
    if not isinstance(value, list) or len(value) != 2:
        raise ValueError(f"{value!r:.40} is no list of two")
    return value[0], value[1]


def _coordinate(value: Any) -> float:
    if type(value) not in (int, float) or not abs(value) <= LARGEST_NUMBER or not math.isfinite(value):
        raise ValueError(f"{value!r:.40} is no finite number")
    return float(value)


def _number(value: Any) -> int:
    return _integer(value, 0, LARGEST_NUMBER)


def _point(fields: dict[str, Any]) -> Point:
    u, v = map(_coordinate, _pair(fields["point"]))
    return Point(u, v, _number(fields.get("number", 0)))


def _watch(fields: dict[str, Any]) -> Watch:
    width, height = (_integer(side, 1, 1 << 16) for side in _pair(fields.get("box")))
    return Watch(parse_mode(_name(fields["watch"])), (width, height))


_KINDS: dict[str, Callable[[dict[str, Any]], Message]] = {
    "ack": lambda fields: Ack(_number(fields["ack"])),
    "point": _point,
    "watch": _watch,
    "layout": lambda fields: SetLayout(_name(fields["layout"])),
    "tokens": lambda fields: ChangeTokens(_step(fields["tokens"])),
    "threshold": lambda fields: ChangeThreshold(_step(fields["threshold"])),
    "pause": lambda fields: Pause(_flag(fields["pause"])),
    "step": lambda fields: Step(),
    "policy": lambda fields: Follow(_flag(fields["policy"])),
}
