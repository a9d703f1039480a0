"""Compute programs: read from shaders/, specialised by definitions, compiled on first use.

A definition becomes a #define after the #version line. `#include "file"` takes files of the same
folder. Errors name the file and line that they are in.
"""

from __future__ import annotations

import ctypes
import re
from collections.abc import Callable
from ctypes import byref, c_char_p, c_int
from dataclasses import dataclass, field

from texvlm.backends._gl_api import COMPILE_STATUS, COMPUTE_SHADER, INFO_LOG_LENGTH, LINK_STATUS, GlApi
from texvlm.errors import KernelBuildError
from texvlm.resources import read_shader

VERSION_LINE = "#version 450 core"
_INCLUDE = re.compile(r'^\s*#include\s+"([^"]+)"\s*$')
_LOG_PLACE = re.compile(r"^(\d+)(?::(\d+)\(\d+\)|\((\d+)\)\s*|:(\d+))", re.MULTILINE)

Definitions = tuple[tuple[str, str | int], ...]
"""Names and values, in a fixed order; with the file name, what makes one program."""


@dataclass(slots=True)
class Program:
    """One linked program and where its uniforms are."""

    gl: GlApi
    name: int
    locations: dict[str, int] = field(default_factory=dict)

    def location(self, uniform: str) -> int:
        """Where a uniform is; -1 (which OpenGL ignores) for one that the compiler found unused."""
        if uniform not in self.locations:
            self.locations[uniform] = self.gl.glGetUniformLocation(self.name, uniform.encode())
        return self.locations[uniform]


class Programs:
    """Every program of one context. All methods run where it is current."""

    def __init__(self, gl: GlApi) -> None:
        self._gl = gl
        self._programs: dict[tuple[str, Definitions], Program] = {}

    def __len__(self) -> int:
        return len(self._programs)

    def use(self, file: str, definitions: Definitions) -> Program:
        """The program, made on first use, put in use.

        Raises:
            KernelBuildError: it does not compile; carries the log.
        """
        key = (file, definitions)
        if key not in self._programs:
            text, files = assemble(file, definitions)
            self._programs[key] = Program(self._gl, build(self._gl, text, files))
        program = self._programs[key]
        self._gl.glUseProgram(program.name)
        return program

    def close(self) -> None:
        """Delete them all."""
        for program in self._programs.values():
            self._gl.glDeleteProgram(program.name)
        self._programs.clear()


def assemble(file: str, definitions: Definitions, *, text: str | None = None) -> tuple[str, list[str]]:
    """Complete source of a shader, and the files that its line directives number.

    Args:
        file: name inside shaders/.
        definitions: what to #define.
        text: source to use instead of the file's; it may include files of shaders/.
    """
    files: list[str] = []
    lines = [VERSION_LINE, *(f"#define {name} {value}" for name, value in definitions)]
    lines += _with_includes(file, read_shader(file) if text is None else text, files)
    return "\n".join(lines) + "\n", files


def _with_includes(file: str, text: str, files: list[str]) -> list[str]:
    number = len(files)
    files.append(file)
    lines = [f"#line 1 {number}"]
    for index, line in enumerate(text.splitlines(), start=1):
        match = _INCLUDE.match(line)
        if match is None:
            lines.append(line)
        elif match[1] in files:
            raise KernelBuildError(f"{file}:{index}: {match[1]} is included twice")
        else:
            lines += _with_includes(match[1], read_shader(match[1]), files)
            lines.append(f"#line {index + 1} {number}")
    return lines


def build(gl: GlApi, text: str, files: list[str]) -> int:
    """Compile and link one compute shader; the program's name.

    Raises:
        KernelBuildError: with the compiler's log, places given as file:line.
    """
    shader = gl.glCreateShader(COMPUTE_SHADER)
    program: int = 0
    try:
        gl.glShaderSource(shader, 1, byref(c_char_p(text.encode())), None)
        gl.glCompileShader(shader)
        if not _status(gl.glGetShaderiv, shader, COMPILE_STATUS):
            log = _log(gl.glGetShaderiv, gl.glGetShaderInfoLog, shader)
            raise KernelBuildError(f"{files[0]} does not compile: {name_places(log, files)}")
        program = gl.glCreateProgram()
        gl.glAttachShader(program, shader)
        gl.glLinkProgram(program)
        if not _status(gl.glGetProgramiv, program, LINK_STATUS):
            log = _log(gl.glGetProgramiv, gl.glGetProgramInfoLog, program)
            raise KernelBuildError(f"{files[0]} does not link: {name_places(log, files)}")
    except KernelBuildError:
        if program:
            gl.glDeleteProgram(program)
        raise
    finally:
        gl.glDeleteShader(shader)
    return program


def name_places(log: str, files: list[str]) -> str:
    """A compiler's log with `0:12(5)` (Mesa), `0(12)` (NVIDIA) or `0:12` turned into file:line."""

    def named(match: re.Match[str]) -> str:
        number, line = int(match[1]), match[2] or match[3] or match[4]
        return f"{files[number]}:{line}" if number < len(files) else match[0]

    return _LOG_PLACE.sub(named, log.strip())


def _status(get: Callable[..., None], name: int, what: int) -> int:
    value = c_int()
    get(name, what, byref(value))
    return value.value


def _log(get: Callable[..., None], get_log: Callable[..., None], name: int) -> str:
    length = max(1, _status(get, name, INFO_LOG_LENGTH))
    buffer = ctypes.create_string_buffer(length)
    get_log(name, length, None, buffer)
    return buffer.value.decode(errors="replace") or "the driver gave no log"
