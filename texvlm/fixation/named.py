"""Policies by name: `saliency:count=2`, as `--look` takes them.

NAME, or NAME:OPTION=VALUE,... . A name with a dot is a user's own: `package.module.Policy:gain=2` is
imported and called with the options, numbers as numbers, to make the policy of each source.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from string import hexdigits
from typing import Any

from texvlm.errors import LookError, TexvlmError
from texvlm.fixation.choosing import Fixed, Follow, FollowMap, PeakRegions, Peaks, Regions, Saccades
from texvlm.fixation.evidence import Changes, Evidence, QueryRelevance, Saliency
from texvlm.fixation.gaze_track import GazeTrack
from texvlm.fixation.look import LookPolicy
from texvlm.fixation.paths import MovingFixation
from texvlm.fixation.pursuit import Pursuit
from texvlm.fixation.score_map import Region
from texvlm.fixation.targets import ColourTarget, TemplateTarget

Options = Mapping[str, str]
Readers = Mapping[str, Callable[[str], Any]]


@dataclass(frozen=True, slots=True)
class NamedLook:
    """A policy by its name and options, not yet made.

    Attributes:
        name: see LOOKS; or dotted, of a user's own.
        options: text of each option.
    """

    name: str
    options: tuple[tuple[str, str], ...] = ()

    def make(self) -> LookPolicy:
        """A new policy.

        Raises:
            ValueError, TypeError: the name, an option or a value is not accepted; says what is.
            SourceError, ModelError: a file or model that an option names cannot be read.
            LookError: a user's own policy failed as it was made.
        """
        options = dict(self.options)
        if "." in self.name:
            return _imported(self.name, options)
        if self.name not in LOOKS:
            raise ValueError(
                f"unknown look {self.name!r}; accepted: {', '.join(LOOKS)}, or package.module.Policy of your own"
            )
        try:
            return LOOKS[self.name](self.name, options)
        except (ValueError, TypeError) as error:
            words, kind = str(error), TypeError if isinstance(error, TypeError) else ValueError
            raise kind(words if words.startswith("look ") else f"look {self.name}: {words}") from error

    @property
    def files(self) -> tuple[str, ...]:
        """Files that the options name, or that stand in a model's folder: with other content, another look."""
        found = [value for name, value in self.options if name == "file"]
        for folder in (Path(value) for name, value in self.options if name == "model"):
            found += [str(path) for path in sorted(folder.glob("*")) if path.suffix in (".json", ".safetensors")]
        return tuple(found)


def parse_look(text: str) -> NamedLook:
    """A named look from NAME or NAME:OPTION=VALUE,...; nothing is read or imported yet.

    Raises:
        ValueError: not of that form, or an option twice.
    """
    name, _, rest = text.partition(":")
    options: dict[str, str] = {}
    for part in filter(None, rest.split(",")):
        key, equals, value = (piece.strip() for piece in part.partition("="))
        if not (key and equals and value):
            raise ValueError(f"look option {part!r}; accepted: OPTION=VALUE, as in saccades:of=saliency,rate_hz=3")
        if key in options:
            raise ValueError(f"look option {key!r} is given twice; give it once")
        options[key] = value
    if not name.strip():
        raise ValueError(f"look {text!r} has no name; accepted: {', '.join(LOOKS)}")
    return NamedLook(name.strip(), tuple(options.items()))


# ------------------------------------------------------------------ values


def _number(text: str) -> float:
    value = _guess(text)
    if isinstance(value, str) or not math.isfinite(value):
        raise ValueError("accepted: a finite number")
    return float(value)


def _whole(text: str) -> int:
    value = _guess(text)
    if not isinstance(value, int):
        raise ValueError("accepted: a whole number")
    return value


def _colour(text: str) -> tuple[float, ...]:
    """#rrggbb as three numbers 0..1."""
    digits = text.removeprefix("#")
    if len(digits) != 6 or not set(digits) <= set(hexdigits):
        raise ValueError("a colour is #rrggbb")
    return tuple(int(digits[k : k + 2], 16) / 255 for k in (0, 2, 4))


def _regions(text: str) -> tuple[Region, ...]:
    """Boxes u0 v0 u1 v1, a fifth number for the importance, with slashes between them."""
    found = []
    for box in text.split("/"):
        numbers = [_number(part) for part in box.split()]
        if len(numbers) not in (4, 5):
            raise ValueError("a box is four numbers, u0 v0 u1 v1, or five with its importance")
        found.append(Region((numbers[0], numbers[1], numbers[2], numbers[3]), *numbers[4:]))
    return tuple(found)


def _read(options: Options, readers: Readers) -> dict[str, Any]:
    """The options that these readers know, read; ValueError names one whose value is not accepted."""
    values: dict[str, Any] = {}
    for name, reader in readers.items():
        if name in options:
            try:
                values[name] = reader(options[name])
            except ValueError as error:
                raise ValueError(f"look option {name}={options[name]!r}: {error}") from error
    return values


def _refuse_others(look: str, options: Options, known: list[str]) -> None:
    for name in options:
        if name not in known:
            raise TypeError(f"look {look} has no option {name!r}; it has: {', '.join(known) or 'none'}")


# ------------------------------------------------------------------ evidence, and what chooses from it


def _template(**options: Any) -> Evidence:
    if "file" not in options:
        raise ValueError("look template needs a picture to look for: template:file=PICTURE.png")
    from texvlm.sources.images import open_images  # only here: looks stay light

    with open_images(options.pop("file"), channels=3) as pictures:
        return TemplateTarget(next(pictures).pixels, **options)


def _coloured(**options: Any) -> Evidence:
    if "rgb" not in options:
        raise ValueError("look colour needs a colour: colour:rgb=#ff0000")
    return ColourTarget(**options)


def _query(*, text: str = "", model: str = "", **options: Any) -> Evidence:
    if not (text and model):
        raise ValueError("look query needs words and a CLIP or SigLIP: query:text=a red car,model=FOLDER")
    # by its name: encoders stand above this part, and are loaded only where a look asks for one
    similarity = importlib.import_module("texvlm.encoders.similarity").similarity_of(model)
    return QueryRelevance(similarity, text, **options)


def _priorities(**options: Any) -> Evidence:
    # by its name: the temporal part stands above this one
    made: Evidence = importlib.import_module("texvlm.temporal.priorities").Priorities(**options)
    return made


EVIDENCE: dict[str, tuple[Callable[..., Evidence], Readers]] = {
    "changes": (Changes, {"decay_s": _number}),
    "saliency": (Saliency, {"longest": _whole}),
    "colour": (_coloured, {"rgb": _colour, "tolerance": _number}),
    "template": (_template, {"file": str, "least": _number}),
    "priorities": (
        _priorities,
        {"levels": _whole, "longest": _whole, "noise": _number, "decay_s": _number},
    ),
    "query": (_query, {"text": str, "model": str, "every_s": _number, "longest": _whole}),
}
"""Name -> what makes it, and the readers of its options."""

CHOICES: dict[str, tuple[Callable[..., LookPolicy], Readers]] = {
    "peaks": (Peaks, {"count": _whole, "spacing": _number, "loyalty": _number}),
    "map": (FollowMap, {"surround": _number}),
    "regions": (PeakRegions, {"most": _whole, "spacing": _number, "surround": _number}),
    "saccades": (Saccades, {"rate_hz": _number, "inhibition_s": _number, "reach": _number}),
}
"""How to look at evidence: the values of the option `follow`."""


def _over_evidence(look: str, options: Options, *, evidence: str, follow: str, extra: tuple[str, ...]) -> LookPolicy:
    """A policy that chooses from evidence; `extra` names the options that the caller has read."""
    if evidence not in EVIDENCE:
        raise ValueError(f"look {look} of {evidence!r}; accepted: {', '.join(EVIDENCE)}")
    if follow not in CHOICES:
        raise ValueError(f"look {look} with follow={follow!r}; accepted: {', '.join(CHOICES)}")
    make_evidence, evidence_readers = EVIDENCE[evidence]
    choose, choice_readers = CHOICES[follow]
    _refuse_others(look, options, [*evidence_readers, *choice_readers, *extra])
    return choose(make_evidence(**_read(options, evidence_readers)), **_read(options, choice_readers))


def _evidence(look: str, options: Options) -> LookPolicy:
    follow = options.get("follow", "peaks")
    return _over_evidence(look, options, evidence=look, follow=follow, extra=("follow",))


def _saccades(look: str, options: Options) -> LookPolicy:
    evidence = options.get("of", "saliency")
    return _over_evidence(look, options, evidence=evidence, follow="saccades", extra=("of",))


_PURSUIT: Readers = {"half": _whole, "search": _whole, "longest": _whole}


def _pursuit(look: str, options: Options) -> LookPolicy:
    own = _read(options, _PURSUIT)
    if "u" in options or "v" in options:
        _refuse_others(look, options, ["u", "v", *_PURSUIT])
        return Pursuit(_fixed(look, {name: options[name] for name in ("u", "v") if name in options}), **own)
    rest = {name: value for name, value in options.items() if name not in _PURSUIT}
    evidence = options.get("of", "changes")
    return Pursuit(_over_evidence(look, rest, evidence=evidence, follow="peaks", extra=("of", *_PURSUIT)), **own)


# ------------------------------------------------------------------ places known beforehand


def _fixed(look: str, options: Options) -> LookPolicy:
    _refuse_others(look, options, ["u", "v"])
    place = {"u": 0.5, "v": 0.5} | _read(options, {"u": _number, "v": _number})
    return Fixed(((place["u"], place["v"]),))


def _moving(look: str, options: Options) -> LookPolicy:
    _refuse_others(look, options, [])
    return Follow(MovingFixation(), look)


def _gaze(look: str, options: Options) -> LookPolicy:
    _refuse_others(look, options, ["file", "offset_s"])
    if "file" not in options:
        raise ValueError("look gaze needs a recording: gaze:file=GAZE.csv")
    offset = _read(options, {"offset_s": _number}).get("offset_s", 0.0)
    return Follow(GazeTrack.read(options["file"], offset=offset), look)


_REGIONS: Readers = {"boxes": _regions, "follow": str, "surround": _number}


def _boxes(look: str, options: Options) -> LookPolicy:
    _refuse_others(look, options, list(_REGIONS))
    if "boxes" not in options:
        raise ValueError('look regions needs boxes: "regions:boxes=0.1 0.1 0.3 0.4 2/0.5 0.5 0.9 0.9"')
    values = _read(options, _REGIONS)
    return Regions(values.pop("boxes"), **values)


def _imported(name: str, options: Options) -> LookPolicy:
    """A user's own policy: package.module.Name, called with the options."""
    module, _, attribute = name.rpartition(".")
    try:
        make = getattr(importlib.import_module(module), attribute)
    except Exception as error:  # a module that is being imported raises all kinds
        raise ValueError(
            f"look {name} cannot be imported: {error}; accepted: package.module.Policy, where Python finds it"
        ) from error
    try:
        made: LookPolicy = make(**{k: _guess(v) for k, v in options.items()})
    except (TypeError, ValueError, TexvlmError):
        raise
    except Exception as error:  # its own code, as all kinds
        raise LookError(
            f"look {name} cannot be made: {type(error).__name__}: {error}; mend it or choose another"
        ) from error
    if not callable(getattr(made, "look", None)) or not hasattr(made, "count"):
        raise TypeError(
            f"look {name} gave {type(made).__name__}, which is no LookPolicy; it needs name, count and look"
        )
    return made


def _guess(text: str) -> int | float | str:
    """A number where it is one."""
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


LOOKS: dict[str, Callable[[str, Options], LookPolicy]] = {
    "fixed": _fixed,
    "moving": _moving,
    "gaze": _gaze,
    "changes": _evidence,
    "saliency": _evidence,
    "priorities": _evidence,
    "colour": _evidence,
    "template": _evidence,
    "query": _evidence,
    "saccades": _saccades,
    "pursuit": _pursuit,
    "regions": _boxes,
}
"""Name -> constructor; `NamedLook.make` is the way in."""
