"""Files that travel with the code: GLSL under shaders/, CUDA under cuda/.

A wheel carries both folders inside the package; a checkout has them beside it. Package data wins.
"""

from __future__ import annotations

from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path


def shader_folder() -> Traversable:
    """The folder of GLSL files. FileNotFoundError when the installation is incomplete."""
    return _folder("shaders")


def cuda_folder() -> Traversable:
    """The folder of CUDA files. FileNotFoundError when the installation is incomplete."""
    return _folder("cuda")


def read_shader(name: str) -> str:
    """Text of one GLSL file, such as "sample.comp". FileNotFoundError names a file that is not there."""
    path = shader_folder() / name
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing; install texvlm again")
    return path.read_text(encoding="utf-8")


def _folder(name: str) -> Traversable:
    package = files("texvlm")
    packaged = package / name
    if packaged.is_dir():
        return packaged
    checkout = Path(str(package)).parent / name
    if checkout.is_dir():
        return checkout
    raise FileNotFoundError(f"{packaged} and {checkout} are both missing; install texvlm again")
