"""TemporalSettings: all that can be chosen about reuse over time, as one value that files hold."""

from __future__ import annotations

import json
import math
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal, get_args

from texvlm.temporal.change import ChangeRule, Measure
from texvlm.temporal.reports import Level

Flash = Literal["encode", "hold"]
"""What becomes of the frames of a flash: encoded as they are, or the features from before it are given again."""


@dataclass(frozen=True, slots=True)
class TemporalSettings:
    """How much is reused, and what is watched meanwhile.

    Attributes:
        name: for reports.
        level: the most that is done: "L3" follows a moving camera, "L2" stays in place, "L1" keeps tokens
            out of the model, "L0" encodes every frame.
        threshold: steps of 255; see ChangeRule.
        measure: see ChangeRule.
        moving_threshold: instead of `threshold` for a view whose tokens follow a moving camera: to sample
            content anew between texels changes it.
        max_age: frames; see ChangeRule.
        refresh: tokens that get a turn in each frame; see ChangeRule.
        gate: share by which a row in a block may move before it is computed again; see gates.Threshold.
        full_share: stale share of a view, 0..1, beyond which frames are encoded plainly; 1 for never.
        cut_bar: score of a cut, see CutSettings.bar; None looks for no cuts.
        flash: what becomes of a flash's frames.
        warp_error: share of tokens that should have moved along and were found stale, 0..1, beyond which
            motion is not believed.
        motion_ms: milliseconds that measuring motion may take for a view; None for any time.
        check_every: frames of a source between two exact checks; None for none.
        target_cosine: what the checks' patch cosine should be; gates follow it. None leaves them alone.
        deadline_ms: milliseconds that a call may take; None for any time.

    Raises:
        ValueError: a value that is not accepted.
    """

    name: str = "custom"
    level: Level = "L3"
    threshold: float = 0.5
    measure: Measure = "mean"
    moving_threshold: float = 2.0
    max_age: int | None = 600
    refresh: int = 0
    gate: float = 0.08
    full_share: float = 0.7
    cut_bar: float | None = 0.42
    flash: Flash = "encode"
    warp_error: float = 0.6
    motion_ms: float | None = 100.0
    check_every: int | None = None
    target_cosine: float | None = None
    deadline_ms: float | None = None

    def __post_init__(self) -> None:
        for choice, accepted in (("level", get_args(Level)), ("flash", get_args(Flash))):
            if getattr(self, choice) not in accepted:
                raise ValueError(f"{choice} is {getattr(self, choice)!r}; accepted: {', '.join(accepted)}")
        self.rule(moving=False)
        self.rule(moving=True)
        for share in ("full_share", "warp_error"):
            if not 0 <= getattr(self, share) <= 1:
                raise ValueError(f"{share} is {getattr(self, share)}; accepted: a share, 0..1")
        for number in ("gate", "cut_bar"):
            value = getattr(self, number)
            if value is not None and not 0 <= value < math.inf:
                raise ValueError(f"{number} is {value}; accepted: a finite number, 0 or above")
        for time in ("motion_ms", "deadline_ms"):
            value = getattr(self, time)
            if value is not None and not 0 < value < math.inf:
                raise ValueError(f"{time} is {value}; accepted: milliseconds above 0, or None")
        if self.check_every is not None and self.check_every < 1:
            raise ValueError(f"check_every is {self.check_every}; accepted: frames, 1 or more, or None")
        if self.target_cosine is not None and not 0 < self.target_cosine < 1:
            raise ValueError(f"target_cosine is {self.target_cosine}; accepted: between 0 and 1, or None")

    def rule(self, *, moving: bool, refresh: bool = True) -> ChangeRule:
        """Which tokens are stale.

        Args:
            moving: the view's tokens follow the camera.
            refresh: whether tokens get their turns in this frame.
        """
        threshold = self.moving_threshold if moving else self.threshold
        return ChangeRule(threshold, self.measure, self.max_age, self.refresh if refresh else 0)


def settings_from(values: Mapping[str, Any]) -> TemporalSettings:
    """Settings from names and values, as files hold them; what is missing keeps its default.

    Raises:
        ValueError: an unknown name, or a value that is not accepted.
    """
    known = {field.name for field in fields(TemporalSettings)}
    for name in values:
        if name not in known:
            raise ValueError(f"no temporal setting {name!r}; accepted: {', '.join(sorted(known))}")
    try:
        return TemporalSettings(**values)
    except TypeError as wrong:  # a text where a number belongs
        raise ValueError(f"temporal settings: a value of the wrong kind: {wrong}") from None


def read_settings(path: str | Path) -> TemporalSettings:
    """Settings from a TOML file, such as `texvlm auto-tune` writes.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is not TOML, or holds a name or value that is not accepted.
    """
    path = Path(path)
    try:
        found = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not TOML: {error}") from None
    # TOML has no null, which some settings take
    values = {name: None if value == "none" and name not in _WORDS else value for name, value in found.items()}
    try:
        return settings_from(values)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def settings_text(settings: TemporalSettings) -> str:
    """The settings as TOML, which `read_settings` reads."""
    found = {name: "none" if value is None else value for name, value in asdict(settings).items()}
    return "".join(f"{name} = {json.dumps(value)}\n" for name, value in found.items())


_WORDS = frozenset({"name", "level", "measure", "flash"})
"""Settings that are texts."""
