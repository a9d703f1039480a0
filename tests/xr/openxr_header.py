"""The part of openxr.h that the test runtime needs, written from the binding's own declarations.

So the runtime needs a compiler and no headers, and both sides of the loader agree on every structure.
"""

from __future__ import annotations

import ctypes
import re
from typing import Any

SCALARS = {
    ctypes.c_int: "int32_t",
    ctypes.c_uint: "uint32_t",
    ctypes.c_long: "int64_t",
    ctypes.c_ulong: "uint64_t",
    ctypes.c_float: "float",
    ctypes.c_ubyte: "uint8_t",
    ctypes.c_char: "char",
    ctypes.c_void_p: "void*",
    ctypes.c_char_p: "const char*",
    None: "void",
}
ENUMS = ("Result", "StructureType", "SessionState", "ReferenceSpaceType", "ViewConfigurationType", "ActionType")
FLAGS = ("SpaceLocationFlags", "ViewStateFlags")
BASES = ("BaseInStructure", "SwapchainImageBaseHeader", "CompositionLayerBaseHeader")
CHAINED = (
    "EventDataSessionStateChanged",
    "EventDataInstanceLossPending",
    "SystemEyeGazeInteractionPropertiesEXT",
    "EyeGazeSampleTimeEXT",
    "GraphicsBindingEGLMNDX",
    "GraphicsBindingOpenGLXlibKHR",
    "SwapchainImageOpenGLKHR",
    "CompositionLayerProjection",
)


def openxr_header(xr: Any, functions: list[str]) -> str:
    """The header for a runtime with these functions, of the module `xr`."""
    header = Header()
    header.constants(xr)
    for name in BASES + CHAINED:
        header.type_of(getattr(xr, name))
    for name in functions:
        call = getattr(xr, f"PFN_{name}")
        arguments = ", ".join(map(header.type_of, call._argtypes_))
        header.lines.append(f"XrResult {name}({arguments});")
    return "\n".join(["#pragma once", "#include <stdint.h>", "typedef int32_t XrResult;", *header.lines, ""])


class Header:
    """Declarations so far, each after those that it needs."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.known: set[str] = set()

    def constants(self, xr: Any) -> None:
        for kind in ENUMS + FLAGS:
            words = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", kind.removesuffix("Flags")).upper()
            prefix = {"RESULT": "", "STRUCTURE_TYPE": "TYPE_"}.get(words, f"{words}_")
            for member in getattr(xr, kind).__members__.values():
                self.lines.append(f"#define XR_{prefix}{member.name} {member.value}")

    def type_of(self, kind: Any) -> str:
        """C's name of a type, which is declared if need be."""
        if kind in SCALARS:
            return SCALARS[kind]
        if issubclass(kind, ctypes._Pointer) and kind.__name__.startswith("LP_"):
            return f"{self.type_of(kind._type_)}*"
        name = f"Xr{kind.__name__}"
        if issubclass(kind, ctypes.Structure):
            self.declare(name, lambda: f"typedef struct {name} {{ {self.fields_of(kind)} }} {name};")
            return name
        if issubclass(kind, ctypes._Pointer):  # a class of its own: a handle
            self.declare(name, lambda: f"typedef struct {name}_T* {name};")
            return name
        return "void*"  # a function

    def declare(self, name: str, declaration: Any) -> None:
        if name not in self.known:
            self.known.add(name)
            self.lines.append(declaration())

    def fields_of(self, kind: Any) -> str:
        fields = [field for base in reversed(kind.__mro__) for field in base.__dict__.get("_fields_", ())]
        return " ".join(self.field(name, part) for name, part in fields)

    def field(self, name: str, kind: Any) -> str:
        first, *rest = name.lstrip("_").split("_")
        name = first + "".join(word[:1].upper() + word[1:] for word in rest)  # api_version: apiVersion
        if issubclass(kind, ctypes.Array):
            return f"{self.type_of(kind._type_)} {name}[{kind._length_}];"
        return f"{self.type_of(kind)} {name};"
