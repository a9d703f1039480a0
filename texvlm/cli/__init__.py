"""The command line: one module a command, and the only part of texvlm that prints.

The modules read flags, call the library and print what it reports; nothing is computed here.
Whatever is heavy (torch, Numba, PyAV) is imported inside the commands, so that `texvlm --help`
answers at once. How failures look is decided in `outcome`, and nowhere else.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from texvlm import __version__
from texvlm.cli import bench, config, demo, doctor, encode, layouts
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


class _Commands(TyperGroup):
    """The root of all commands; runs one and turns its outcome into an exit code."""

    def main(  # type: ignore[override]
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        **extra: Any,
    ) -> int:
        """Run the command that `args` name, and exit; without `standalone_mode` return the exit code."""
        call = _Call(list(sys.argv[1:] if args is None else args))

        def run() -> None:
            with self.make_context("texvlm", list(call.arguments), obj=call, **extra) as context:
                self.invoke(context)

        code = exit_code_of(run, show_traceback=lambda: call.traceback)
        if standalone_mode:
            sys.exit(code)
        return code


app = typer.Typer(
    cls=_Commands,
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
app.command("demo")(demo.demo)
app.command("layouts")(layouts.layouts)
app.command("doctor")(doctor.doctor)
app.command("bench")(bench.bench)
app.add_typer(config.app, name="config")


def main() -> None:
    """Entry point of the `texvlm` program."""
    app()
