"""Level L1: tokens that did not change stay out of the model; their features are those of the time they were in.

The model sees the stale tokens and, so that they are not alone, the oldest of the others. It works with
any encoder and keeps only pixels and features, but a token's features know of the rest of the picture
as it was when that was last seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from texvlm.encoders.base import Encoded, Encoder
from texvlm.encoders.geometry import Geometry
from texvlm.errors import ModelError


@dataclass(slots=True, eq=False)
class _Kept:
    tokens: torch.Tensor
    prefix: torch.Tensor
    pooled: torch.Tensor | None


class InputReuse:
    """Kept features of any number of sources.

    Args:
        encoder: of one feature a token.

    Raises:
        ModelError: the encoder merges tokens.
    """

    def __init__(self, encoder: Encoder) -> None:
        self._encoder = encoder
        self._kept: dict[int, _Kept] = {}

    @property
    def sources(self) -> frozenset[int]:
        """Sources of which something is kept."""
        return frozenset(self._kept)

    def forget(self, source: int) -> None:
        """Keep nothing more of a source."""
        self._kept.pop(source, None)

    def bytes_of(self, source: int) -> int:
        """Bytes kept for a source."""
        kept = self._kept.get(source)
        parts = () if kept is None else (kept.tokens, kept.prefix, kept.pooled)
        return sum(part.nbytes for part in parts if part is not None)

    @torch.no_grad()
    def encode(
        self,
        pixels: torch.Tensor,
        geometry: Geometry,
        sources: Sequence[int],
        taken: Sequence[torch.Tensor],
        orders: Sequence[torch.Tensor],
    ) -> Encoded:
        """Encode some tokens of each view, and give the kept features for the others.

        Args:
            pixels: (views, tokens, channels, patch, patch).
            geometry: of the views.
            sources: of the views, all different.
            taken: bool, (tokens,) each: who goes into the model; all tokens of a source that is new.
            orders: int64, (tokens,) each: where each row is kept.
        """
        counts = [int(mask.sum()) for mask in taken]
        # a new view without any token still has a prefix
        running = [number for number, count in enumerate(counts) if count or sources[number] not in self._kept]
        fresh = self._run(pixels, geometry, taken, running, max(*counts, 1)) if running else None
        found = []
        for number, (source, order) in enumerate(zip(sources, orders, strict=True)):
            kept = self._kept.get(source)
            if number in running and fresh is not None:
                at = running.index(number)
                rows = fresh.tokens[at, : counts[number]]
                tokens = torch.zeros(len(order), rows.shape[-1], dtype=rows.dtype, device=rows.device)
                if kept is not None:
                    tokens.copy_(kept.tokens)
                tokens[order[taken[number]]] = rows
                pooled = None if fresh.pooled is None else fresh.pooled[at]
                kept = self._kept[source] = _Kept(tokens, fresh.prefix[at], pooled)
            assert kept is not None, "all tokens of a new source are taken"
            found.append((kept.tokens[order], kept.prefix, kept.pooled))
        tokens = torch.stack([of_view[0] for of_view in found]).masked_fill(geometry.padding[..., None], 0)
        answers = [answer for _, _, answer in found if answer is not None]
        return Encoded(
            tokens,
            torch.stack([of_view[1] for of_view in found]),
            torch.stack(answers) if len(answers) == len(found) else None,
            None,
        )

    def _run(
        self,
        pixels: torch.Tensor,
        geometry: Geometry,
        taken: Sequence[torch.Tensor],
        running: Sequence[int],
        width: int,
    ) -> Encoded:
        """The encoder on the tokens taken alone, those of each view first, padded to as many."""
        rows = torch.stack([torch.argsort(~taken[number], stable=True)[:width] for number in running])
        padding = torch.stack([~taken[number] for number in running]).gather(1, rows)
        views = torch.tensor(list(running), device=pixels.device)[:, None]
        chosen = Geometry(
            centres=geometry.centres[views, rows].masked_fill(padding[..., None], 0),
            sides=geometry.sides[views, rows].masked_fill(padding, 1),
            valid=geometry.valid[views, rows].masked_fill(padding, 0),
            padding=padding,
            sizes=geometry.sizes[views[:, 0]],
            full=geometry.full and not bool(padding.any()),
        )
        found = self._encoder.encode(pixels[views, rows], chosen)
        if found.tokens.shape[1] != rows.shape[1]:
            raise ModelError(f"{self._encoder.name} merges tokens, so none of them can be left out; use level L0")
        return found
