"""What a viewer can show of one frame."""

from __future__ import annotations

from enum import StrEnum


class PictureMode(StrEnum):
    """One way to show a frame; the value is its name on the command line."""

    FRAME = "frame"
    RECONSTRUCTION = "reconstruction"
    TOKENS = "tokens"
    CHANGED = "changed"
    REENCODED = "reencoded"
    BOTH = "both"

    @property
    def words(self) -> str:
        """What people read."""
        return _WORDS[self]

    @property
    def parts(self) -> tuple[PictureMode, ...]:
        """The pictures side by side, left to right."""
        return (PictureMode.TOKENS, PictureMode.RECONSTRUCTION) if self is PictureMode.BOTH else (self,)

    def next(self) -> PictureMode:
        """The one after it, round and round."""
        modes = list(PictureMode)
        return modes[(modes.index(self) + 1) % len(modes)]


def parse_mode(text: str) -> PictureMode:
    """A mode by its name; ValueError lists them."""
    try:
        return PictureMode(text)
    except ValueError:
        raise ValueError(f"mode is {text!r}; accepted: {', '.join(PictureMode)}") from None


_WORDS = {
    PictureMode.FRAME: "frame",
    PictureMode.RECONSTRUCTION: "from tokens alone",
    PictureMode.TOKENS: "token squares by LOD",
    PictureMode.CHANGED: "changed tiles",
    PictureMode.REENCODED: "tokens sampled anew",
    PictureMode.BOTH: "tokens, and from tokens alone",
}
