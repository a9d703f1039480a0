"""Files that travel with the code: GLSL under shaders/, CUDA under cuda/.

A wheel carries both folders inside the package; a checkout has them beside it. Package data wins.
"""

from __future__ import annotations

from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

FOLDERS = ("shaders", "cuda")


def resource_folder(folder: str) -> Traversable:
    """The folder `shaders` or `cuda`, wherever this installation has it.

    Raises:
        ValueError: not one of FOLDERS.
        FileNotFoundError: neither place has it; the installation is incomplete.
    """
    if folder not in FOLDERS:
        raise ValueError(f"resource folder {folder!r}; accepted: {', '.join(FOLDERS)}")
    package = files("texvlm")
    packaged = package / folder
    if packaged.is_dir():
        return packaged
    checkout = Path(str(package)).parent / folder
    if checkout.is_dir():
        return checkout
    raise FileNotFoundError(f"{packaged} and {checkout} are both missing; install texvlm again")


def read_resource(folder: str, name: str) -> str:
    """Text of one file, such as ("shaders", "sample.comp").

    Raises:
        ValueError: not one of FOLDERS.
        FileNotFoundError: no such file; names it.
    """
    path = resource_folder(folder) / name
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing; install texvlm again")
    return path.read_text(encoding="utf-8")
