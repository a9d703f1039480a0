"""The text of a kernel: its file under cuda/, and every file that it includes."""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib.resources.abc import Traversable

from texvlm.errors import KernelBuildError
from texvlm.resources import cuda_folder

_INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]+"([^"]+)"', re.MULTILINE)


@dataclass(frozen=True, slots=True)
class KernelSource:
    """One kernel file with what it includes.

    Attributes:
        file: name under cuda/, such as "refresh.cu".
        text: of the file.
        headers: (name, text) of every file that it or one of these includes, sorted by name.
    """

    file: str
    text: str
    headers: tuple[tuple[str, str], ...]


def read_source(file: str, folder: Traversable | None = None) -> KernelSource:
    """Read a kernel file; `folder` is cuda/ when None.

    An include that a condition leaves out is read all the same: its text only counts for the cache.

    Raises:
        KernelBuildError: the file, or one that it includes, is not there.
    """
    folder = folder or cuda_folder()
    headers: dict[str, str] = {}
    text = _read(folder, file, file)
    waiting = [(file, text)]
    while waiting:
        including, body = waiting.pop()
        for name in _INCLUDE.findall(body):
            if name not in headers:
                headers[name] = _read(folder, name, including)
                waiting.append((name, headers[name]))
    return KernelSource(file, text, tuple(sorted(headers.items())))


def _read(folder: Traversable, name: str, including: str) -> str:
    path = folder / name
    if not path.is_file():
        asked = "" if name == including else f", included by {including},"
        raise KernelBuildError(f"kernel file {name}{asked} is not in {folder}; install texvlm again")
    return path.read_text(encoding="utf-8")
