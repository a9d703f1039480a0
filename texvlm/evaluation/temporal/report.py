"""What each part of an evaluation over time hands back: plain records that go to JSON, one file a part.

Times are milliseconds of wall time. "Saved" is a ratio: what the full forward takes or counts over what
the method does. The first frame, which every method encodes in full, counts in nothing.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import BaseModel, ValidationError

from texvlm.errors import StoreError
from texvlm.evaluation.report import Origin, Record
from texvlm.files import write_whole


class Played(Record):
    """Which clip, which tokens, which method."""

    clip: str
    kind: str
    layout: str
    tokens: int
    method: str


class Curves(Record):
    """One number a frame, the first left out: class-token cosine."""

    class_cosine: list[float]


class Closeness(Played):
    """How close a method stays to the full forward of the same tokens.

    Attributes:
        encoded: share of tokens encoded.
        work_saved: multiply-adds of the full forward over those spent.
        class_mean, class_p1: cosine of class tokens, over frames.
        patch_mean, patch_p1: cosine of tokens, over frames and tokens.
        patch_frame_p1: first percentile over frames of a frame's mean.
        sure: frames where the full forward is confident.
        top1: share of these on which both name one class; None where there are none.
        worst_mean, worst_max: of any reused token, mean and largest |pixels now - pixels encoded|, in 1/255,
            checked from outside; tokens that were moved are left out.
        claimed: the method's own largest deviation, in 1/255; None where it names none.
        worst_age: most frames since a reused token was encoded.
        after_cut: tokens reused in the first frames of shots, all together; None without labelled cuts.
        levels: frames by what was done.
        state_bytes: most that the method kept.
    """

    frames: int
    encoded: float
    work_saved: float
    class_mean: float
    class_p1: float
    patch_mean: float
    patch_p1: float
    patch_frame_p1: float
    sure: int
    top1: float | None
    worst_mean: float
    worst_max: float
    claimed: float | None
    worst_age: int
    after_cut: int | None
    levels: dict[str, int]
    state_bytes: int
    curves: Curves


class AgreementPart(Record):
    """Every method against the full forward."""

    part: Literal["agreement"] = "agreement"
    origin: Origin
    rows: list[Closeness]


class Spent(Record):
    """Wall time of many frames."""

    total_ms: float
    p50_ms: float
    p95_ms: float

    @classmethod
    def of(cls, seconds: list[float]) -> Spent:
        """Summary of measured times, seconds."""
        p50, p95 = (round(float(q) * 1e3, 4) for q in np.percentile(seconds, [50, 95]))
        return cls(total_ms=round(sum(seconds) * 1e3, 3), p50_ms=p50, p95_ms=p95)


class Pace(Played):
    """Time of a method and of the full forward on the same batches, in turns.

    Attributes:
        model: whose time it is.
        sources: in one batch.
        frames: timed, of every source.
        make: submit and tokens, which both need.
        full: the full forward.
        ours: the method: finding out what changed, and encoding it.
        saved: total of `full` over total of `ours`.
        saved_median: the same of medians.
        saved_with_make: the same of totals, `make` counted on both sides.
        work_saved: multiply-adds, on the timed frames.
        encoded: share of tokens.
        state_bytes: most that the method kept, for one source.
    """

    model: str
    sources: int
    frames: int
    make: Spent
    full: Spent
    ours: Spent
    saved: float
    saved_median: float
    saved_with_make: float
    work_saved: float
    encoded: float
    state_bytes: int


class TimePart(Record):
    """Every method's time."""

    part: Literal["time"] = "time"
    origin: Origin
    load_after: float
    rows: list[Pace]


class Way(Played):
    """From a coded frame to features: decode, submit, tokens, encode."""

    frames: int
    decode_ms: float
    make_ms: float
    encode_ms: float
    frame_ms: float
    faster_than_dense: float


class Dense(Record):
    """Decode, resize to a square, normalise, cut, encode all; means over the frames measured."""

    clip: str
    side: int
    tokens: int
    frames: int
    decode_ms: float
    make_ms: float
    encode_ms: float
    frame_ms: float


class EndToEndPart(Record):
    """Against a dense picture."""

    part: Literal["end-to-end"] = "end-to-end"
    origin: Origin
    load_after: float
    model: str
    dense: list[Dense]
    rows: list[Way]


Part = AgreementPart | TimePart | EndToEndPart
KINDS: dict[str, type[AgreementPart] | type[TimePart] | type[EndToEndPart]] = {
    "agreement": AgreementPart,
    "time": TimePart,
    "end-to-end": EndToEndPart,
}
"""Record of each part."""


def part_path(folder: Path, name: str) -> Path:
    """Where a part's result lies."""
    return folder / f"eval-temporal-{name}.json"


def write_part(part: Part, folder: Path) -> Path:
    """Write a part's result; whole or not at all."""
    path = part_path(folder, part.part)
    write_whole(path, (part.model_dump_json(indent=1) + "\n").encode())
    return path


def read_parts(folder: Path) -> dict[str, Part]:
    """Results that a folder holds, by name of the part.

    Raises:
        StoreError: a file that is none.
    """
    return {name: found for name in KINDS if (found := read_part(part_path(folder, name), name)) is not None}


def read_part(path: Path, name: str) -> Part | None:
    """A part's result, or None where there is no such file.

    Raises:
        StoreError: a file that is none.
    """
    if not path.exists():
        return None
    try:
        return KINDS[name].model_validate_json(path.read_text(encoding="utf-8"))
    except ValidationError as error:
        raise StoreError(
            f"{path} is no result of this version ({error.error_count()} fields do not fit); "
            f"delete it and run `texvlm eval temporal --only {name}`"
        ) from None


def shorten(numbers: BaseModel) -> None:
    """Round every float of a record to six significant digits: more is noise, and files are committed."""
    for name, value in numbers:
        if isinstance(value, float):
            setattr(numbers, name, float(f"{value:.6g}"))
