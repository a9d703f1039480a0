"""`texvlm config show`: the values that hold here, and where each comes from."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from texvlm.cli.config_file import commands_of, config_of, options_of, typed
from texvlm.cli.console import print_json, print_line, print_table
from texvlm.cli.settings import Field

app = typer.Typer(help="Settings: what holds, and where it comes from.", no_args_is_help=True)


@app.callback()
def config() -> None:
    """Settings: what holds, and where it comes from."""


@app.command("show")
def show(
    context: typer.Context,
    command: Annotated[str | None, typer.Argument(help="Only the settings of this command.")] = None,
    config: Annotated[Path | None, typer.Option("--config", metavar="FILE", help="Instead of texvlm.toml.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Show the value of every setting of every command, and where it comes from.

    A flag wins over the file, the file over the built-in default.
    """
    file = config_of(context, config)
    commands = commands_of(context)
    if command is not None and command not in commands:
        raise ValueError(f"no command {command!r} with settings; accepted: {', '.join(commands)}")
    shown = {
        name: _settings(context, entry, file.of(name)) for name, entry in commands.items() if command in (None, name)
    }
    if json:
        print_json({"config": None if file.path is None else str(file.path), "commands": shown})
        return
    print_line(f"file: {file.path or 'none (texvlm.toml in this folder, or --config FILE)'}")
    for name, settings in shown.items():
        rows = [(key, _text(entry["value"]), entry["from"]) for key, entry in settings.items()]
        print_table(f"[{name}]", rows, header=("setting", "value", "from"))


def _settings(context: typer.Context, command: Any, given: Mapping[str, Field]) -> dict[str, dict[str, object]]:
    """Each setting of a command: its value and its origin."""
    settings: dict[str, dict[str, object]] = {}
    for name, option in options_of(command):
        field = given.get(name)
        value = option.default if field is None else typed(context, option, field)
        settings[name] = {"value": _plain(value), "from": "default" if field is None else field.origin}
    return settings


def _plain(value: object) -> object:
    return str(value) if isinstance(value, Path) else value


def _text(value: object) -> str:
    return "-" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
