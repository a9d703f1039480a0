"""From an exception to an exit code: the one place that decides what a failure looks like.

0    done, or stopped by the first Ctrl-C after everything was written
1    a bug in texvlm: the traceback is shown
2    bad input, or an environment that cannot do it: one line, `texvlm: <message>`, on stderr
130  interrupted (for `encode`, by the second Ctrl-C)
141  nobody reads the output any more (`texvlm ... | head`); as if SIGPIPE had ended the program
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable

import typer

from texvlm.errors import TexvlmError

OK, BAD_INPUT, INTERRUPTED, BROKEN_PIPE = 0, 2, 130, 141

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EIO)
"""What the disk behind stdout says; an error with a file of ours names the file."""

_USAGE_ERRORS = typer.BadParameter.__bases__  # UsageError, which typer does not name in public


def exit_code_of(action: Callable[[], object], *, show_traceback: Callable[[], bool] = lambda: False) -> int:
    """Run an action and say on stderr, in one line, why it could not be done.

    Args:
        action: what to run.
        show_traceback: asked when bad input was met; True lets the exception through instead.
    Returns:
        The exit code. Exceptions that are bugs are not caught.
    """
    try:
        action()
        sys.stdout.flush()
    except typer.Exit as request:
        return request.exit_code
    except (KeyboardInterrupt, typer.Abort):
        say("stopped")
        return INTERRUPTED
    except BrokenPipeError:
        _drop_stdout()
        return BROKEN_PIPE
    except Exception as error:
        if isinstance(error, OSError) and error.filename is None and error.errno in _FULL:
            say(f"cannot write to stdout: {error.strerror}")
            _drop_stdout()
            return BAD_INPUT
        reason = reason_of(error)
        if reason is None or show_traceback():
            raise
        say(reason)
        return BAD_INPUT
    return OK


def reason_of(error: Exception) -> str | None:
    """What to tell the person at the keyboard; None when the error is a bug and not theirs to mend."""
    if isinstance(error, _USAGE_ERRORS):
        return str(error.format_message())  # type: ignore[attr-defined]
    if isinstance(error, OSError):
        if error.filename is None:
            return None
        return f"{error.filename}: {error.strerror or type(error).__name__}"
    if isinstance(error, MemoryError):
        return f"out of memory: {error}" if str(error) else "out of memory"
    if isinstance(error, TexvlmError | ValueError | TypeError):
        return _one_line(error)
    return None


def _drop_stdout() -> None:
    """Python flushes stdout once more as it ends, and would complain."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def say(message: str) -> None:
    """One line on stderr."""
    print("texvlm:", " ".join(message.split()), file=sys.stderr)


def _one_line(error: Exception) -> str:
    """The message of an error; of a pydantic ValidationError its first complaint, with the field's name."""
    complaints = getattr(error, "errors", None)
    if callable(complaints):
        first = complaints()[0]
        field = ".".join(str(part) for part in first["loc"])
        why = str(first["msg"]).removeprefix("Value error, ")
        return f"{field}: {why} (got {first['input']!r})" if field else why
    return str(error) or type(error).__name__
