"""The configuration file: defaults of the command line's flags, in TOML.

    backend = "cpu"          # for every command that has the flag
    fixation = [0.5, 0.5]

    [encode]                 # for this command; wins over the lines above
    tokens = 172

Every flag is a field, spelled like the flag with or without dashes. A flag that is given wins over
the file, the file over the built-in default. An unknown name is an error: a misspelt field that is
silently ignored costs more than it saves.
"""

from __future__ import annotations

import tomllib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

CONFIG_NAME = "texvlm.toml"
"""Looked for in the working folder when no other file is named."""


@dataclass(frozen=True, slots=True)
class Field:
    """One value that the file gives.

    Attributes:
        value: True, False or text, as the command line would have it.
        origin: where it stands, for messages: "texvlm.toml [encode]".
    """

    value: bool | str
    origin: str


@dataclass(frozen=True, slots=True)
class Config:
    """The content of one configuration file.

    Attributes:
        path: the file; None when there is none, and everything is empty.
        fields: for each command its fields, lines for all commands included; name -> Field.
    """

    path: Path | None
    fields: Mapping[str, Mapping[str, Field]]

    def of(self, command: str) -> Mapping[str, Field]:
        """The fields of one command."""
        return self.fields.get(command, {})


def read_config(path: Path | None, known: Mapping[str, Collection[str]]) -> Config:
    """Read and check a configuration file.

    Args:
        path: the file; None for CONFIG_NAME in the working folder, if there is one.
        known: for each command the fields that it accepts, with underscores.
    Raises:
        OSError: the file that was named cannot be read.
        ValueError: not TOML, or it holds a name or a kind of value that is not accepted.
    """
    if path is None:
        path = Path(CONFIG_NAME)
        if not path.is_file():
            return Config(None, {})
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not TOML: {error}") from None
    everywhere: dict[str, Field] = {}
    tables: dict[str, dict[str, Field]] = {command: {} for command in known}
    anywhere = sorted(set().union(*known.values()))
    for key, value in content.items():
        if isinstance(value, dict) and key in known:
            for name, item in value.items():
                field = _checked_name(name, known[key], f"{path} [{key}]")
                tables[key][field] = Field(_as_text(item, f"{path} [{key}] {name}"), f"{path} [{key}]")
        else:
            name = _checked_name(key, [*anywhere, *known] if isinstance(value, dict) else anywhere, str(path))
            everywhere[name] = Field(_as_text(value, f"{path} {key}"), str(path))
    shared = {command: {n: f for n, f in everywhere.items() if n in names} for command, names in known.items()}
    return Config(path, {command: shared[command] | tables[command] for command in known})


def _checked_name(name: str, accepted: Collection[str], where: str) -> str:
    """The field's name with underscores; ValueError when there is none of that name."""
    field = name.replace("-", "_")
    if field not in accepted:
        near = get_close_matches(field, accepted, n=1)
        hint = f"did you mean {near[0]}?" if near else f"accepted: {', '.join(sorted(accepted))}"
        raise ValueError(f"{where}: unknown field {name!r}; {hint}")
    return field


def _as_text(value: Any, where: str) -> bool | str:
    """A TOML value in the spelling of the command line; a list becomes 0.5,0.5."""
    if isinstance(value, bool):
        return value
    if isinstance(value, list) and value and all(isinstance(v, int | float | str) for v in value):
        return ",".join(map(str, value))
    if isinstance(value, int | float | str):
        return str(value)
    raise ValueError(f"{where} is {value!r}; accepted: a text, a number, true or false, or a list of those")
