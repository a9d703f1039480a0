"""Presets: settings for kinds of footage, and how one of them is told from the first seconds.

The numbers were set on footage of each kind against the full forward pass of the same tokens.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean, median
from typing import Literal, get_args

from texvlm.temporal.settings import TemporalSettings, read_settings
from texvlm.temporal.temporal_reports import TemporalReport

PresetName = Literal["webcam", "conversation", "surveillance", "sports", "movie", "screen"]
AUTO = "auto"

PRESETS: dict[PresetName, TemporalSettings] = {
    # someone before a resting camera, sensor noise throughout
    "webcam": TemporalSettings("webcam", level="L2", threshold=0.75, max_age=300),
    # faces that move in much of the frame, where the answer hangs on detail
    "conversation": TemporalSettings("conversation", level="L2", gate=0.07, max_age=300),
    # almost nothing happens, for hours
    "surveillance": TemporalSettings("surveillance", level="L2", max_age=900),
    # the camera follows, objects are fast
    "sports": TemporalSettings("sports", max_age=150),
    # shots of all kinds with cuts between them
    "movie": TemporalSettings("movie", max_age=150),
    # exact pixels: what did not change did not change at all
    "screen": TemporalSettings("screen", level="L2", threshold=0.25, gate=0.06, max_age=None, refresh=1),
}
"""By name; `dataclasses.replace` changes one."""

UNSETTLED = TemporalSettings(AUTO)
"""What `auto` begins with: careful, and ready for anything."""


def settings_of(preset: str | Path | TemporalSettings) -> TemporalSettings:
    """Settings by the name of a preset ("auto": what it begins with), or from a TOML file.

    Raises:
        ValueError: no preset of that name, or a file that does not hold settings.
        OSError: a file that cannot be read.
    """
    if isinstance(preset, TemporalSettings):
        return preset
    if str(preset) == AUTO:
        return UNSETTLED
    for name in get_args(PresetName):
        if name == str(preset):
            return PRESETS[name]
    if Path(preset).suffix == ".toml":
        return read_settings(preset)
    raise ValueError(f"preset {str(preset)!r}; accepted: {AUTO}, {', '.join(PRESETS)}, or a .toml file of settings")


@dataclass(frozen=True, slots=True)
class FrameFacts:
    """What is measured of one frame of one source.

    Attributes:
        stale: share of its tokens that changed by more than the threshold, 0..1.
        noise: median change of the others, steps of 255; None where there were none.
        unchanged: share of the others that did not change at all, 0..1.
        moving: the camera moved; None where nobody looked.
        cut: it is the first frame of a shot.
    """

    stale: float
    noise: float | None = None
    unchanged: float = 0.0
    moving: bool | None = None
    cut: bool = False

    @classmethod
    def of(cls, report: TemporalReport) -> FrameFacts:
        """What a report tells. Reads it from the device."""
        quiet = report.deviation[~report.encoded & (report.ages > 0)]
        return cls(
            report.tokens_encoded / max(report.tokens, 1),
            noise=float(quiet.median()) if len(quiet) else None,
            unchanged=float((quiet == 0).float().mean()) if len(quiet) else 0.0,
            moving=report.camera not in ("static", "unknown") if report.camera else None,
            cut=report.transition == "cut",
        )


@dataclass(slots=True)
class AutoPreset:
    """Tells which preset fits a source, from windows of its frames. Another one must win twice in a row.

    Attributes:
        window: frames of a window.
        first: frames before anything is decided.
        name: the preset in force; None while nothing is decided.
    """

    window: int = 60
    first: int = 20
    name: PresetName | None = field(default=None, init=False)
    _facts: deque[FrameFacts] = field(default_factory=deque, init=False, repr=False)
    _rival: PresetName | None = field(default=None, init=False, repr=False)

    def observe(self, facts: FrameFacts) -> PresetName | None:
        """Take a frame; the preset from the next one on, None while nothing is decided."""
        self._facts.append(facts)
        if self.name is None and len(self._facts) >= self.first:
            self.name = kind_of(self._facts)
        elif len(self._facts) >= self.window:
            found = kind_of(self._facts)
            if found == self.name:
                self._rival = None
            elif found == self._rival:
                self.name, self._rival = found, None
            else:
                self._rival = found
        else:
            return self.name
        self._facts.clear()
        return self.name


def kind_of(facts: deque[FrameFacts] | list[FrameFacts]) -> PresetName:
    """The preset that fits some frames.

    Cuts say movie (one in 100 frames, and two at least); a camera that moves in a third of the frames says
    sports; pixels that stay exactly what they were say screen; then it is a matter of how much changes.
    """
    cuts = sum(frame.cut for frame in facts)
    if cuts >= max(2, len(facts) / 100):
        return "movie"
    seen = [frame.moving for frame in facts if frame.moving is not None]
    if seen and 3 * sum(seen) > len(facts):
        return "sports"
    calm = [frame for frame in facts if frame.noise is not None]
    stale = fmean(min(frame.stale, 1.0) for frame in facts)
    if calm and median(frame.unchanged for frame in calm) > 0.8 and stale < 0.5:
        return "screen"
    if stale < 0.25:
        return "surveillance"
    if stale < 0.45:
        return "webcam"
    return "conversation" if stale < 0.75 else "sports"
