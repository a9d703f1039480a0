"""Every kernel variant that is launched, gathered from the modules that launch them.

What the compile proof, the table of registers and a warm-up of the cache go through.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

import numpy as np

from texvlm.backends.cuda.kernels import Definitions

LAUNCHERS = ("ingest_kernels", "sampler", "planner", "quadtree", "gl_context", "motion")
"""Modules of this package with a `variants()` of their own: [(file, definitions, arguments)]."""

Variant = tuple[str, Definitions]
"""A file under cuda/ and all of its definitions, the size of its arguments among them."""


def shipped_variants() -> list[Variant]:
    """Each variant once, as the compiler takes it, sorted by file."""
    found: dict[Variant, None] = {}
    for name in LAUNCHERS:
        for file, definitions, arguments in import_module(f"texvlm.backends.cuda.{name}").variants():
            found[file, complete(definitions, arguments)] = None
    return sorted(found, key=lambda variant: (variant[0], str(variant[1])))


def complete(definitions: Definitions, arguments: np.dtype[Any]) -> Definitions:
    """Definitions of a variant with what `kernels.Kernels` adds to them."""
    return (*definitions, ("TEXVLM_ARGUMENT_BYTES", arguments.itemsize))
