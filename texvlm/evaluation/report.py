"""What each part of an evaluation hands back: plain records that go to JSON, one file a part.

Times are milliseconds of wall time. Intervals are 95 %, over frames drawn again and again.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, Protocol, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from texvlm.bench.machine import Machine, load_average, probe_machine, source_commit
from texvlm.bench.report import Timing
from texvlm.errors import StoreError
from texvlm.files import write_whole


class Record(BaseModel):
    """Base of all records."""

    model_config = ConfigDict(extra="forbid")


class RunSettings(Protocol):
    """What an evaluation was told to run; a pydantic model."""

    @property
    def command(self) -> str:
        """What reports name as the command that made them."""

    def model_dump(self, *, mode: str, exclude: set[str]) -> dict[str, Any]:
        """The settings as JSON values."""


class Origin(Record):
    """Where a part was run."""

    machine: Machine
    commit: str
    command: str
    date: str
    threads: int
    load_before: float
    model: str
    settings: dict[str, Any]

    @classmethod
    def now(cls, settings: RunSettings, model: str, threads: int) -> Origin:
        """Of a part that begins now; names of folders are left out of the settings."""
        return cls(
            machine=probe_machine(),
            commit=source_commit(),
            command=settings.command,
            date=datetime.now(UTC).isoformat(timespec="seconds"),
            threads=threads,
            load_before=load_average(),
            model=model,
            settings=settings.model_dump(mode="json", exclude={"model", "data", "command", "parts"}),
        )


class Share(Record):
    """A share or a ratio with its interval."""

    value: float
    low: float
    high: float


class SizeBin(Record):
    """Targets of one range of sides, texels, [least, most)."""

    least: int
    most: int
    targets: int
    right: float


class Reading(Record):
    """What the probe reads from one method's tokens on one set of test frames.

    `of_dense` is its accuracy over that of the dense tokens, the same read-out, fixation on the target.
    """

    method: str
    tokens: int
    side_at_fixation: float
    fixation: Literal["on", "near", "away"]
    positions: Literal["absolute", "centred"]
    readout: str
    test: str
    targets: int
    penalty: float
    accuracy: Share
    of_dense: Share | None
    by_size: list[SizeBin]


class FoveationPart(Record):
    """Planted targets."""

    part: Literal["foveation"] = "foveation"
    origin: Origin
    chance: float
    train_targets: int
    equal_time: dict[str, float]
    readings: list[Reading]


class Tuned(Record):
    """Accuracy before and after the fine-tune; `losses` are means of each epoch."""

    method: str
    tokens: int
    frozen: Share
    tuned: Share
    losses: list[float]
    seconds: float


class FinetunePart(Record):
    """A short fine-tune of the last blocks."""

    part: Literal["finetune"] = "finetune"
    origin: Origin
    readout: str
    blocks: int
    parameters: int
    train_frames: int
    epochs: int
    targets: int
    rows: list[Tuned]


class Agreement(Record):
    """Share of targets whose class by the crop is among the five best by the tokens, read near the fixation."""

    layout: str
    tokens: int
    e2_deg: float | None
    readout: str
    agreement: Share


class AgreementPart(Record):
    """Agreement with a full-resolution crop of the target."""

    part: Literal["agreement"] = "agreement"
    origin: Origin
    pictures: str
    frames: int
    targets: int
    rows: list[Agreement]


class Band(Record):
    """Quality inside one range of eccentricities, degrees, [least, most)."""

    least_deg: float
    most_deg: float
    psnr: float | None
    ssim: float | None
    covered: float


class TokenPicture(Record):
    """How close the picture that one layout's tokens show is to the frame; `covered` is the share of texels seen."""

    layout: str
    tokens: int
    bands: list[Band]


class PicturesPart(Record):
    """Reconstruction by eccentricity."""

    part: Literal["pictures"] = "pictures"
    origin: Origin
    size: tuple[int, int]
    views: int
    rows: list[TokenPicture]


class EncoderTime(Record):
    """One forward pass of a model with random weights; `ms` is None where it was left out, `note` says why."""

    model: str
    tokens: int
    batch: int
    gmacs: float
    ms: Timing | None
    gmacs_per_s: float | None
    note: str = ""


class EndToEnd(Record):
    """From a host frame that changed as a whole to features."""

    model: str
    way: str
    frame: tuple[int, int]
    tokens: int
    ms: Timing
    tokenize_ms: float
    faster_than_dense: float


class CostPart(Record):
    """What it costs."""

    part: Literal["cost"] = "cost"
    origin: Origin
    load_after: float
    encoders: list[EncoderTime]
    ways: list[EndToEnd]


Part = FoveationPart | FinetunePart | AgreementPart | PicturesPart | CostPart
KINDS: dict[str, type[Part]] = {
    "foveation": FoveationPart,
    "finetune": FinetunePart,
    "agreement": AgreementPart,
    "pictures": PicturesPart,
    "cost": CostPart,
}
"""Record of each part."""

_P = TypeVar("_P", bound=BaseModel)


def part_path(folder: Path, name: str) -> Path:
    """Where a part's result lies."""
    return folder / f"eval-{name}.json"


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
    found: dict[str, Part] = {}
    for name, kind in KINDS.items():
        path = part_path(folder, name)
        if not path.exists():
            continue
        try:
            found[name] = kind.model_validate_json(path.read_text(encoding="utf-8"))
        except ValidationError as error:
            raise StoreError(
                f"{path} is no result of this version ({error.error_count()} fields do not fit); "
                f"delete it and run `texvlm eval --only {name}`"
            ) from None
    return found
