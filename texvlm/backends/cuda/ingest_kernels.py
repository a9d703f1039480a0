"""The kernels that bring frames in: what they are told to do, their arguments, their variants."""

from __future__ import annotations

from enum import IntFlag
from typing import Any

import numpy as np

from texvlm.backends.cuda.arrays import stored_channels
from texvlm.backends.cuda.frame_pixels import FRAME_FIELDS, Access, Source, sources_of
from texvlm.backends.cuda.kernels import Definitions
from texvlm.pyramid import COLUMN_LEVELS, ElementType, TextureSpec
from texvlm.regions import TILE


class Mode(IntFlag):
    """Steps of an update."""

    COMPARE = 1  # find the tiles that changed; without it, and without ALL, they are given
    ALL = 2  # take every tile for changed
    WRITE = 4  # level 0 from the frame
    BUILD = 8  # levels 1 and up
    STAMP = 16  # tile versions, and the layer's clock


REFRESH_ARGUMENTS = np.dtype(
    [
        ("frame", FRAME_FIELDS),
        ("surfaces", "<u8", (COLUMN_LEVELS + 1,)),
        ("tiles", "<u8"),
        ("versions", "<u8"),
        ("clock", "<u8"),
        ("columns", "<i4"),
        ("rows", "<i4"),
        ("version_columns", "<i4"),
        ("layer", "<i4"),
        ("limit", "<f4"),
        ("mode", "<i4"),
    ]
)
TAIL_ARGUMENTS = np.dtype(
    [
        ("level4", "<u8"),
        ("above", "<u8", (4,)),
        ("flags", "<u8"),
        ("sums", "<u8"),
        ("block_flags", "<u8"),
        ("block_sums", "<u8"),
        ("totals", "<u8"),
        ("clock", "<u8"),
        ("frame_size", "<u8"),
        ("columns", "<i4"),
        ("rows", "<i4"),
        ("levels", "<i4"),
        ("shift", "<i4"),
        ("layer", "<i4"),
        ("width", "<i4"),
        ("height", "<i4"),
        ("texel_bytes", "<i4"),
        ("mode", "<i4"),
        ("padding", "<i4"),
    ]
)
READ_ARGUMENTS = np.dtype(
    [
        ("level", "<u8"),
        ("target", "<u8"),
        ("width", "<i4"),
        ("height", "<i4"),
        ("layer", "<i4"),
        ("padding", "<i4"),
    ]
)


def variants() -> list[tuple[str, Definitions, np.dtype[Any]]]:
    """Every variant that is launched: (file, definitions, arguments)."""
    found: dict[tuple[str, Definitions], np.dtype[Any]] = {}
    dtypes: tuple[ElementType, ...] = ("uint8", "float32")
    for dtype in dtypes:
        for channels in (1, 3, 4):
            spec = TextureSpec((TILE, TILE), channels=channels, dtype=dtype)
            for source in sources_of(spec):
                found["refresh.cu", refresh_definitions(spec, source)] = REFRESH_ARGUMENTS
            found["build_tail.cu", tail_definitions(spec)] = TAIL_ARGUMENTS
            found["read_level.cu", texel_definitions(spec)] = READ_ARGUMENTS
    return [(file, definitions, arguments) for (file, definitions), arguments in found.items()]


def texel_definitions(spec: TextureSpec) -> Definitions:
    """How texels are stored: what texels.cuh needs, and all that read_level.cu does."""
    return (
        ("TEXVLM_FLOAT", int(spec.dtype == "float32")),
        ("TEXVLM_STORED", stored_channels(spec)),
        ("TEXVLM_CHANNELS", spec.channels),
    )


def refresh_definitions(spec: TextureSpec, source: Source) -> Definitions:
    """Of refresh.cu, for one kind of frame."""
    access = tuple((f"TEXVLM_ACCESS_{access.name}", int(access)) for access in Access)
    return (*texel_definitions(spec), ("TEXVLM_SOURCE", f"SOURCE_{source.name}"), *access, *_mode_definitions())


def tail_definitions(spec: TextureSpec) -> Definitions:
    """Of build_tail.cu, which knows no third channel from a fourth: one variant serves both."""
    stored = stored_channels(spec)
    texels = (("TEXVLM_FLOAT", int(spec.dtype == "float32")), ("TEXVLM_STORED", stored), ("TEXVLM_CHANNELS", stored))
    return (*texels, *_mode_definitions())


def _mode_definitions() -> Definitions:
    return tuple((f"TEXVLM_MODE_{mode.name}", int(mode)) for mode in Mode)
