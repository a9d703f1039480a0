"""Tokens out: one launch for every row of a call, whatever sources, fixations and regions it serves.

Two filters. "hardware" lets the texture units mix, with their 8-bit weights; "exact" fetches texels
and mixes them in 32-bit floats, as the other backends do, for users who need parity with them.
Where a token lies on texel centres at a whole LOD (every token of an aligned quadtree), both copy.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from texvlm.backends.base import Filtering, Normalisation
from texvlm.backends.cuda.api import Driver, Stream
from texvlm.backends.cuda.arrays import SURFACES, CudaTexture, stored_channels, surface_field
from texvlm.backends.cuda.kernels import Definitions, Kernels
from texvlm.backends.cuda.launch import Launch
from texvlm.backends.cuda.upload import Upload
from texvlm.layouts.table import TABLE_FIELDS, TOKEN_RECORD, Table
from texvlm.pyramid import ElementType, TextureSpec

OUT_TYPES = {torch.uint8: 8, torch.float16: 16, torch.bfloat16: 17, torch.float32: 32}
"""Element type of token pixels -> TEXVLM_OUT."""

MOST_THREADS = 256

ARGUMENTS = np.dtype(
    [
        ("surfaces", SURFACES),
        ("texture", "<u8"),
        ("table", "<u8"),
        ("rows", "<u8"),
        ("out", "<u8"),
        ("frame_sizes", "<u8"),
        ("kept", "<u8"),
        ("sampled_at", "<u8"),
        ("versions", "<u8"),
        ("clock", "<u8"),
        ("dirty", "<u8"),
        ("totals", "<u8"),
        ("scale", "<f4", (4,)),
        ("bias", "<f4", (4,)),
        ("inverse_size", "<f4", (2,)),
        ("storage_size", "<i4", (2,)),
        ("layers", "<i4"),
        ("last_level", "<i4"),
        ("tile_columns", "<i4"),
        ("tile_rows", "<i4"),
    ]
)
"""SampleArguments of cuda/sample.cu."""


@dataclass(frozen=True, slots=True, eq=False)
class KeptTokens:
    """Tokens of one texture array kept on the device, and what they were made from.

    Attributes:
        pixels: (rows, channels, patch, patch).
        rows: bits of TOKEN_RECORD of each token when it was sampled last, int32, (rows, 6).
        sampled_at: clock of its layer up to which each token is right, int64, (rows,).
    """

    pixels: torch.Tensor
    rows: torch.Tensor
    sampled_at: torch.Tensor

    @classmethod
    def fresh(cls, pixels: torch.Tensor) -> KeptTokens:
        """Room for as many tokens as `pixels` has, none of which was sampled yet."""
        count, device = len(pixels), pixels.device
        never = torch.full((count, len(TABLE_FIELDS)), -1, dtype=torch.int32, device=device)  # the bits of no row
        return cls(pixels, never, torch.zeros(count, dtype=torch.int64, device=device))


class Sampler:
    """Samples tokens from texture arrays.

    Args:
        driver: the device.
        kernels: where compiled kernels come from.
        filtering: who mixes texels; see the module.
    """

    def __init__(self, driver: Driver, kernels: Kernels, filtering: Filtering) -> None:
        if filtering not in ("hardware", "exact"):
            raise ValueError(f"filtering is {filtering!r}; accepted: 'hardware', 'exact'")
        self._driver = driver
        self._kernels = kernels
        self._filtering: Filtering = filtering
        self._upload = Upload(driver)

    def sample(
        self,
        texture: CudaTexture,
        table: Table | torch.Tensor,
        out: torch.Tensor,
        normalisation: Normalisation,
        rows: NDArray[np.int32] | torch.Tensor | None = None,
        *,
        stream: Stream,
        totals: torch.Tensor,
    ) -> None:
        """Queue the sampling of rows of a table into `out`; other rows are not touched.

        Args:
            texture: what to read.
            table: TOKEN_RECORD, (n,), or its bits on the device, int32, (n, 6). A layer that the
                texture does not have counts as padding; padding gives zeros.
            out: on the device, (n, channels, patch, patch), contiguous.
            normalisation: applied to float outputs; identity for uint8.
            rows: int32, (m,), on the host or the device; None for all.
            stream: torch's current one.
            totals: work counts on the device, int64, (5,); adds to 3, tokens sampled.
        """
        table = self.on_device(table, stream)
        if isinstance(rows, np.ndarray):
            rows = self._upload.send(np.ascontiguousarray(rows, np.int32), stream).view(torch.int32)
        self.launch(texture, table, out, normalisation, rows, stream=stream, totals=totals).run(stream)

    def resample(
        self,
        texture: CudaTexture,
        table: Table | torch.Tensor,
        kept: KeptTokens,
        normalisation: Normalisation,
        *,
        stream: Stream,
        totals: torch.Tensor,
        dirty: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Queue the sampling of those rows that lie elsewhere than before, or read updated tiles.

        Args:
            texture: what to read.
            table: as for `sample`, as many rows as are kept.
            kept: brought up to date. It belongs to one texture array and one normalisation.
            normalisation: as for `sample`.
            stream: torch's current one.
            totals: as for `sample`; adds to 3, tokens sampled, and 4, tokens reused.
            dirty: where to put the result, bool, (rows,), on the device; None for a new tensor.
        Returns:
            Rows that were sampled, bool, (rows,), on the device. Never set for padding.
        """
        table = self.on_device(table, stream)
        if len(table) != len(kept.rows):
            raise ValueError(
                f"table of {len(table)} rows for {len(kept.rows)} kept tokens; keep as many as the table has"
            )
        if dirty is None:
            dirty = torch.empty(len(table), dtype=torch.bool, device=self._driver.device)
        self.launch(
            texture, table, kept.pixels, normalisation, kept=kept, dirty=dirty, stream=stream, totals=totals
        ).run(stream)
        return dirty

    def on_device(self, table: Table | torch.Tensor, stream: Stream) -> torch.Tensor:
        """The bits of a table as a tensor on the device, int32, (n, 6); no copy of one that is there."""
        fields = len(TABLE_FIELDS)
        if not isinstance(table, torch.Tensor):
            if table.dtype != TOKEN_RECORD or table.ndim != 1:
                raise TypeError(f"table of {table.dtype}, shape {table.shape}; accepted: TOKEN_RECORD, (rows,)")
            return self._upload.send(table, stream).view(torch.int32).view(-1, fields)
        if table.dtype != torch.int32 or table.ndim != 2 or table.shape[1] != fields or not table.is_contiguous():
            raise TypeError(
                f"table of {table.dtype}, shape {tuple(table.shape)}; accepted on the device: the bits of "
                f"TOKEN_RECORD, contiguous torch.int32, (rows, {fields})"
            )
        return table

    def launch(
        self,
        texture: CudaTexture,
        table: torch.Tensor,
        out: torch.Tensor,
        normalisation: Normalisation,
        rows: torch.Tensor | None = None,
        *,
        kept: KeptTokens | None = None,
        dirty: torch.Tensor | None = None,
        stream: Stream,
        totals: torch.Tensor,
    ) -> Launch:
        """The launch for tensors that are all on the device; nothing is queued."""
        spec = texture.spec
        patch = _check_out(out, len(table), spec)
        definitions, threads = _variant(self._filtering, out.dtype, spec, patch, _unit(patch, out))
        objects = texture.storage.objects(stream)
        arguments = np.zeros(1, ARGUMENTS)
        a = arguments[0]
        a["surfaces"] = surface_field(objects)
        a["texture"] = objects.texture
        a["table"], a["out"] = table.data_ptr(), out.data_ptr()
        a["rows"] = 0 if rows is None else rows.data_ptr()
        a["frame_sizes"] = texture.frame_sizes.data_ptr()
        if kept is not None and dirty is not None:
            a["kept"], a["sampled_at"], a["dirty"] = kept.rows.data_ptr(), kept.sampled_at.data_ptr(), dirty.data_ptr()
        a["versions"], a["clock"] = texture.versions.data_ptr(), texture.clock.data_ptr()
        a["totals"] = totals.data_ptr()
        a["scale"][: spec.channels] = 1 / np.asarray(normalisation.std)
        a["bias"][: spec.channels] = -np.asarray(normalisation.mean) / np.asarray(normalisation.std)
        a["inverse_size"] = 1 / np.asarray(spec.padded_size)
        a["storage_size"] = spec.padded_size
        a["layers"], a["last_level"] = spec.layers, spec.levels - 1
        a["tile_rows"], a["tile_columns"] = texture.versions.shape[1:]
        kernel = self._kernels.get("sample.cu", definitions, ARGUMENTS)
        memory = [table, out, texture.frame_sizes, texture.versions, texture.clock, totals]
        memory += [tensor for tensor in (rows, dirty) if tensor is not None]
        memory += [] if kept is None else [kept.rows, kept.sampled_at]
        count = len(table) if rows is None else len(rows)
        return Launch(kernel, (count, 1, 1), (threads, 1, 1), arguments, tuple(memory))

    def close(self) -> None:
        """Free the staging memory. May be called twice."""
        self._upload.close()


def variants() -> list[tuple[str, Definitions, np.dtype[Any]]]:
    """(file, definitions, argument record) of what is used: every combination at patch 16, some at others."""
    specs = [_spec(channels, dtype) for channels in (1, 3, 4) for dtype in ("uint8", "float32")]
    rgb = _spec(3, "uint8")
    chosen = [(dtype, spec, 16, 4) for dtype in OUT_TYPES for spec in specs]
    chosen += [(torch.float16, rgb, 14, 2), (torch.float32, rgb, 15, 1), (torch.float16, rgb, 64, 4)]
    filters: tuple[Filtering, ...] = ("hardware", "exact")
    return [("sample.cu", _variant(way, *choice)[0], ARGUMENTS) for way in filters for choice in chosen]


def _spec(channels: int, dtype: str) -> TextureSpec:
    element: ElementType = "uint8" if dtype == "uint8" else "float32"
    return TextureSpec((16, 16), channels=channels, dtype=element)


def _variant(
    filtering: Filtering, dtype: torch.dtype, spec: TextureSpec, patch: int, unit: int
) -> tuple[Definitions, int]:
    """Definitions of one variant of the kernel, and the threads of its blocks: whole warps for one token."""
    threads = min(MOST_THREADS, -(-patch * patch // (unit * 32)) * 32)
    definitions: Definitions = (
        ("TEXVLM_EXACT", int(filtering == "exact")),
        ("TEXVLM_FLOAT", int(spec.dtype == "float32")),
        ("TEXVLM_STORED", stored_channels(spec)),
        ("TEXVLM_CHANNELS", spec.channels),
        ("TEXVLM_PATCH", patch),
        ("TEXVLM_OUT", OUT_TYPES[dtype]),
        ("TEXVLM_UNIT", unit),
        ("TEXVLM_THREADS", threads),
    )
    return definitions, threads


def _unit(patch: int, out: torch.Tensor) -> int:
    """Pixels that a thread writes at once: as many as divide a row and keep every write aligned."""
    for unit in (4, 2):
        if patch % unit == 0 and out.data_ptr() % (unit * out.element_size()) == 0:
            return unit
    return 1


def _check_out(out: torch.Tensor, rows: int, spec: TextureSpec) -> int:
    """The patch of an output; ValueError or TypeError when it does not fit."""
    if out.dtype not in OUT_TYPES:
        raise TypeError(f"out is {out.dtype}; accepted: {', '.join(map(str, OUT_TYPES))}")
    patch = int(out.shape[-1])
    if tuple(out.shape) != (rows, spec.channels, patch, patch) or not out.is_contiguous():
        raise ValueError(
            f"out of shape {tuple(out.shape)}, strides {out.stride()}; accepted: contiguous "
            f"({rows}, {spec.channels}, patch, patch)"
        )
    return patch
