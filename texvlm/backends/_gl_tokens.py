"""Tokens on their way out: sample.comp, and the tensors that it writes.

Everything here runs where the context is current.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from texvlm.backends import _gl_api as names
from texvlm.backends._gl_buffers import Fence, MappedBuffer, Staging
from texvlm.backends._gl_context import GlContext
from texvlm.backends._gl_frames import MAX_GROUPS
from texvlm.backends._gl_programs import Definitions, Program
from texvlm.backends._gl_texture import GlTexture
from texvlm.backends.base import Normalisation
from texvlm.layouts.table import PADDING_LAYER, Table

GROUP_THREADS = 64
"""Of sample.comp, in one workgroup."""


class TokenSampler:
    """Filters tokens into mapped buffers."""

    def __init__(self, context: GlContext, staging: Staging) -> None:
        self._context = context
        self._staging = staging

    def sample(
        self,
        texture: GlTexture,
        frame_sizes: NDArray[np.int32],
        table: Table,
        rows: NDArray[np.int32],
        normalisation: Normalisation,
        out: torch.Tensor,
        buffer: MappedBuffer,
        start: int,
    ) -> None:
        """Write the given rows of the table, and return when they are there.

        Args:
            texture: what to read.
            frame_sizes: (width, height) of each layer's frame, (layers, 2).
            table: TOKEN_RECORD, (n,).
            rows: which rows, ascending, at least one.
            normalisation: applied to the values.
            out: (n, channels, patch, patch); only its shape and element type are used.
            buffer: the memory behind `out`.
            start: the byte of the buffer at which `out` starts.
        """
        gl, info = self._context.gl, self._context.info
        patch, bits = int(out.shape[-1]), out.dtype.itemsize * 8
        unit = 4 if patch % 2 == 0 else 1
        program = self._context.programs.use(
            "sample.comp", sample_definitions(patch, texture.spec.channels, out.dtype, unit)
        )
        gl.glProgramUniform1i(program.name, program.location("last_level"), texture.spec.levels - 1)
        self._set_vector(program, "mean", normalisation.mean, 0.0)
        self._set_vector(program, "inverse_std", [1 / s for s in normalisation.std], 1.0)
        gl.glBindTextureUnit(0, texture.name)
        self._stage(table, frame_sizes, rows)
        gl.glMemoryBarrier(names.TEXTURE_FETCH_BARRIER)
        # drivers limit the bytes that one shader sees, and the workgroups along an axis
        row_bytes = out.nbytes // len(table)
        batch = min(MAX_GROUPS, (info.max_block_bytes - info.block_alignment) // row_bytes)
        for first in range(0, len(table), batch):
            low, high = (int(i) for i in np.searchsorted(rows, (first, first + batch)))
            if low == high:
                continue
            begin = start + first * row_bytes
            window = begin // info.block_alignment * info.block_alignment
            size = min(batch, len(table) - first) * row_bytes + begin - window
            buffer.bind(self._context, 3, window, min(-(-size // 4) * 4, buffer.size - window))
            gl.glProgramUniform1i(program.name, program.location("first_row"), first)
            gl.glProgramUniform1i(program.name, program.location("rows_start"), low)
            gl.glProgramUniform1ui(program.name, program.location("out_start"), (begin - window) * 8 // (bits * unit))
            gl.glDispatchCompute(-(-patch * patch // (GROUP_THREADS * unit)), high - low, 1)
        gl.glMemoryBarrier(names.CLIENT_MAPPED_BUFFER_BARRIER)
        self._staging.done()
        fence = Fence(self._context)
        gl.check("sample: glDispatchCompute")
        fence.wait()

    def _stage(self, table: Table, frame_sizes: NDArray[np.int32], rows: NDArray[np.int32]) -> None:
        """Put the inputs where bindings 0, 1 and 2 read them."""
        parts: tuple[NDArray[Any], ...] = (table, frame_sizes, rows)
        starts = [0]
        for part in parts:
            starts.append(self._context.info.aligned(starts[-1] + part.nbytes))
        block = self._staging.take(starts[-1])
        for index, part in enumerate(parts):
            block.write(starts[index], part)
            block.bind(self._context, index, starts[index], part.nbytes)

    def _set_vector(self, program: Program, uniform: str, values: Sequence[float], rest: float) -> None:
        """A vec4 uniform from one value for each channel."""
        x, y, z, w = (*values, rest, rest, rest)[:4]
        self._context.gl.glProgramUniform4f(program.name, program.location(uniform), x, y, z, w)


def sample_definitions(patch: int, channels: int, dtype: torch.dtype, unit: int) -> Definitions:
    """What makes one variant of sample.comp; `unit` is the output pixels that one thread writes."""
    return (
        ("TEXVLM_PATCH", patch),
        ("TEXVLM_CHANNELS", f"{channels}u"),
        ("TEXVLM_OUT_BITS", dtype.itemsize * 8),
        ("TEXVLM_OUT_BFLOAT", int(dtype == torch.bfloat16)),
        ("TEXVLM_UNIT", unit),
        ("TEXVLM_PADDING_LAYER", f"({PADDING_LAYER})"),
    )
