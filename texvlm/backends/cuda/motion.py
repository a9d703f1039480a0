"""Kept pictures of the cuda backend: keep_picture.cu and match_blocks.cu, queued as everything else is.

Pictures, displacements and records are torch's tensors on the device; only the records come to the host, and
bringing them there is what waits. Which windows changed is found by the kernels.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from texvlm.backends.base import Backend, Texture
from texvlm.backends.block_search import (
    NEAR,
    PAD,
    RECORD,
    STILL,
    STILL_SHIFT,
    STRAY,
    WINDOW,
    BlockLevel,
    BlockPlan,
    BlockSpec,
)
from texvlm.backends.cuda.api import Driver, Stream
from texvlm.backends.cuda.arrays import CudaTexture
from texvlm.backends.cuda.device_state import Queue
from texvlm.backends.cuda.ingest_kernels import texel_definitions
from texvlm.backends.cuda.kernels import Definitions, Kernels
from texvlm.backends.cuda.launch import use_on_current_stream
from texvlm.backends.motion_memory import Half, MotionMemory
from texvlm.errors import ClosedError
from texvlm.pyramid import TextureSpec

KEPT_LEVEL = np.dtype([("texels", "<u8"), ("width", "<i4"), ("height", "<i4"), ("stride", "<i4"), ("padding", "<i4")])
"""KeptLevel of cuda/kept_picture.cuh."""

KEEP_ARGUMENTS = np.dtype([("level", "<u8"), ("kept", KEPT_LEVEL), ("layer", "<i4"), ("padding", "<i4")])
"""KeepPictureArguments of cuda/keep_picture.cu."""

MATCH_ARGUMENTS = np.dtype(
    [
        ("ours", KEPT_LEVEL),
        ("theirs", "<u8"),
        ("vectors", "<u8"),
        ("parents", "<u8"),
        ("near", "<u8"),
        ("spiral", "<u8"),
        ("found", "<u8"),
        ("columns", "<i4"),
        ("rows", "<i4"),
        ("parent_columns", "<i4"),
        ("parent_rows", "<i4"),
        ("near_count", "<i4"),
        ("spiral_count", "<i4"),
        ("between", "<i4"),
        ("pitch", "<i4"),
    ]
)
"""MatchBlocksArguments of cuda/match_blocks.cu."""


class CudaMotion(MotionMemory):
    """Kept pictures on the device; `queue` is the scope of the backend's calls."""

    host_clock = False

    def __init__(
        self, backend: Backend, texture: Texture, spec: BlockSpec, driver: Driver, kernels: Kernels, queue: Queue
    ) -> None:
        super().__init__(backend, texture, spec)
        self._driver, self._kernels, self._queue = driver, kernels, queue
        self._pictures: dict[int, torch.Tensor] = {}
        self._near: torch.Tensor | None = None
        self._spiral: torch.Tensor | None = None
        self._used_on: Stream | None = None

    def _make(self, layer: int, plan: BlockPlan, half: Half) -> None:
        handle = self._handle()
        with self._queue("match") as stream:
            pictures = self._pictures.get(layer)
            if pictures is None or pictures.shape[1] != plan.picture_bytes:
                pictures = torch.empty((2, plan.picture_bytes), dtype=torch.uint8, device=self._driver.device)
                self._pictures[layer] = pictures
            self._use_here(stream)
            surfaces = handle.storage.objects(stream).surfaces
            kernel = self._kernels.get("keep_picture.cu", keep_definitions(handle.spec), KEEP_ARGUMENTS)
            for level in plan.levels:
                arguments = np.zeros(1, KEEP_ARGUMENTS)
                arguments["level"], arguments["layer"] = surfaces[level.level], layer
                arguments["kept"] = _kept_level(pictures[half], level)
                grid = (-(-level.stride // 4 // 32), -(-level.stored_rows // 8), 1)
                kernel.launch(grid, (32, 8, 1), arguments, stream)

    def _find(self, layer: int, plan: BlockPlan, new: Half, *, both: bool) -> list[NDArray[np.int32]]:
        self._handle()
        with self._queue("match") as stream:
            if self._driver.is_capturing(stream):
                raise ValueError("blocks cannot be matched inside a captured graph: what is found comes to the host")
            pictures = self._pictures[layer]
            self._use_here(stream)
            found = [self._search(plan, pictures[new], pictures[1 - new], stream)]
            if both:
                found.append(self._search(plan, pictures[1 - new], pictures[new], stream))
            return [np.ascontiguousarray(records.cpu().numpy()) for records in found]

    def _search(self, plan: BlockPlan, ours: torch.Tensor, theirs: torch.Tensor, stream: Stream) -> torch.Tensor:
        """Queue the search; RECORD of each block, int32, (rows, columns, 9), on the device."""
        device = self._driver.device
        if self._near is None or self._spiral is None:
            self._near, self._spiral = (torch.from_numpy(steps).to(device) for steps in (NEAR, plan.spiral))
        vectors = torch.empty((plan.blocks, 2), dtype=torch.int32, device=device)
        shape = (plan.finest.rows, plan.finest.columns, len(RECORD))
        found = torch.empty(shape, dtype=torch.int32, device=device)
        kernel = self._kernels.get("match_blocks.cu", match_definitions(), MATCH_ARGUMENTS)
        coarser: BlockLevel | None = None
        for level in plan.levels:
            arguments = np.zeros(1, MATCH_ARGUMENTS)
            a = arguments[0]
            a["ours"] = _kept_level(ours, level)
            a["theirs"] = theirs.data_ptr() + level.start
            a["vectors"] = vectors[level.first :].data_ptr()
            if coarser is not None:
                a["parents"] = vectors[coarser.first :].data_ptr()
                a["parent_columns"], a["parent_rows"] = coarser.columns, coarser.rows
            a["near"], a["near_count"] = self._near.data_ptr(), 0 if coarser is None else len(self._near)
            a["spiral"], a["spiral_count"] = self._spiral.data_ptr(), len(self._spiral)
            a["between"] = coarser is not None and level is not plan.finest
            a["found"] = found.data_ptr() if level is plan.finest else 0
            a["columns"], a["rows"], a["pitch"] = level.columns, level.rows, plan.pitch
            kernel.launch((level.columns, level.rows, 1), (32, 1, 1), arguments, stream)
            coarser = level
        return found

    def forget(self, layer: int | None = None) -> None:
        """See MotionMemory."""
        super().forget(layer)
        for one in [key for key in self._pictures if layer is None or key == layer]:
            del self._pictures[one]

    def close(self) -> None:
        """See MotionMemory. Torch frees the memory when the device is done with it."""
        super().close()
        self._pictures.clear()
        self._near = self._spiral = None

    def _handle(self) -> CudaTexture:
        if not isinstance(self._texture.handle, CudaTexture):
            raise ClosedError("this texture was destroyed")
        return self._texture.handle

    def _use_here(self, stream: Stream) -> None:
        """Tell torch of the stream that what is kept is used on."""
        if stream != self._used_on:
            self._used_on = stream
            steps = [tensor for tensor in (self._near, self._spiral) if tensor is not None]
            use_on_current_stream(*self._pictures.values(), *steps)


def variants() -> list[tuple[str, Definitions, np.dtype[Any]]]:
    """Every variant that is launched: (file, definitions, arguments)."""
    specs = [TextureSpec((16, 16), channels=channels) for channels in (1, 3, 4)]
    kept = [("keep_picture.cu", keep_definitions(spec), KEEP_ARGUMENTS) for spec in specs]
    return [*kept, ("match_blocks.cu", match_definitions(), MATCH_ARGUMENTS)]


def keep_definitions(spec: TextureSpec) -> Definitions:
    """Of keep_picture.cu."""
    return (*texel_definitions(spec), ("TEXVLM_PAD", PAD))


def match_definitions() -> Definitions:
    """Of match_blocks.cu, which sees no texture."""
    return (
        ("TEXVLM_PAD", PAD),
        ("TEXVLM_WINDOW", WINDOW),
        ("TEXVLM_STILL", STILL),
        ("TEXVLM_STILL_SHIFT", STILL_SHIFT),
        ("TEXVLM_STRAY", f"{STRAY}u"),
        ("TEXVLM_RECORD", len(RECORD)),
    )


def _kept_level(picture: torch.Tensor, level: BlockLevel) -> tuple[int, int, int, int, int]:
    """KEPT_LEVEL of one level of a kept picture."""
    return (picture.data_ptr() + level.start, *level.size, level.stride, 0)
