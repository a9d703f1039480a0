"""The command line: one module a command, and the only part of texvlm that prints.

The modules read flags, call the library and print what it reports; nothing is computed here.
Whatever is heavy (torch, Numba, PyAV) is imported inside the commands, so that `texvlm --help`
answers at once. How failures look is decided in `outcome`, and nowhere else.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, NoReturn

import typer

from texvlm import __version__
from texvlm.cli import (
    auto_tune,
    bench,
    classify,
    config,
    demo,
    doctor,
    encode,
    eval,
    inspect,
    layouts,
    similar,
    train,
    view,
)
from texvlm.cli.console import logs_on_stderr
from texvlm.cli.outcome import exit_code_of


@dataclass(slots=True)
class _Call:
    """One call of the program.

    Attributes:
        arguments: what followed the program's name.
        traceback: bad input, too, is to be shown with its traceback.
    """

    arguments: list[str]
    traceback: bool = False


app = typer.Typer(
    add_completion=False,
    invoke_without_command=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"texvlm {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_print_version, help="Print the version.")
    ] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log what happens in passing, on stderr.")] = False,
    traceback: Annotated[bool, typer.Option("--traceback", help="Show where an error of exit code 2 arose.")] = False,
) -> None:
    """Video in, foveated vision tokens out."""
    context.obj.traceback = traceback
    context.with_resource(logs_on_stderr(verbose=verbose))
    if context.invoked_subcommand is None:
        print(context.get_help())


app.command("encode")(encode.encode)
app.command("classify")(classify.classify)
app.command("similar")(similar.similar)
app.command("demo")(demo.demo)
app.command("view")(view.view)
app.command("layouts")(layouts.layouts)
app.command("inspect")(inspect.inspect)
app.command("auto-tune")(auto_tune.auto_tune)
app.command("train")(train.train)
app.command("doctor")(doctor.doctor)
app.command("bench")(bench.bench)
app.command("eval")(eval.evaluate)
app.add_typer(config.app, name="config")


def run(arguments: Sequence[str]) -> int:
    """Do what the arguments say, as after the program's name, and return the exit code; see `outcome`."""
    call = _Call(list(arguments))
    command = typer.main.get_command(app)

    def act() -> None:
        with command.make_context("texvlm", list(arguments), obj=call) as context:
            command.invoke(context)

    return exit_code_of(act, show_traceback=lambda: call.traceback)


def main() -> NoReturn:
    """Entry point of the `texvlm` program."""
    sys.exit(run(sys.argv[1:]))
