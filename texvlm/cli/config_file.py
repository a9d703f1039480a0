"""The configuration file meets the flags: every option of every command is a field of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

from texvlm.cli.settings import Config, Field, read_config

NOT_FIELDS = frozenset({"help", "config", "json", "version", "verbose", "traceback"})
"""Flags of one call; they are no settings."""


def load_config(context: typer.Context, path: Path | None) -> Path | None:
    """Callback of `--config`: makes the file's fields the defaults of this command's flags.

    Eager, so that it runs before any other flag takes its default.
    """
    if context.resilient_parsing:
        return path
    config = config_of(context, path)
    given = config.of(context.info_name or "")
    context.default_map = {name: field.value for name, field in given.items()}
    for name, option in options_of(context.command):
        if name in given:
            typed(context, option, given[name])
    return config.path


def config_of(context: typer.Context, path: Path | None) -> Config:
    """The file that holds for this call, checked against the options of all commands."""
    commands = commands_of(context)
    return read_config(path, {name: {n for n, _ in options_of(command)} for name, command in commands.items()})


def commands_of(context: typer.Context) -> dict[str, Any]:
    """Every command that has settings, by name."""
    commands: dict[str, Any] = context.find_root().command.commands  # type: ignore[attr-defined]
    return {name: command for name, command in commands.items() if any(True for _ in options_of(command))}


def options_of(command: Any) -> Iterator[tuple[str, Any]]:
    """(field, option) of each option of a command that is a setting."""
    if hasattr(command, "commands"):
        return
    for param in command.params:
        if param.param_type_name == "option" and param.name not in NOT_FIELDS:
            yield param.name, param


def typed(context: typer.Context, option: Any, field: Field) -> Any:
    """A field's value as the flag would give it; ValueError, with its place in the file, for a wrong kind."""
    try:
        return option.process_value(context, field.value)
    except typer.BadParameter as error:
        raise ValueError(f"{field.origin}: {option.name} = {field.value!r}: {error.message}") from None
