"""Peers: what others do, written from their papers, as methods of the evaluation.

    cached      a token is encoded again when its mean |change| since it was last encoded exceeds tau: the first
                experiment. Bounded, but the other tokens never learn of the change.
    adjacent    the same against the frame before (the reference of run-length methods): no bound over time.
    dropped     Choudhury et al., Don't Look Twice: Faster Video Transformers with Run-Length Tokenization,
                NeurIPS 2024, on single frames: the model sees only the tokens that differ from the frame before;
                a dropped token keeps the features of the run's first frame.
    gated       Eventful Transformers with a fixed k, see `gated_blocks`.

    held        no contestant but a ceiling: the full forward of the pixels that `cached` last encoded. What it loses,
                the threshold loses, however well features are reused.

All encode the first frame in full and have no cut detector, no age limit and no refresh.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import torch

from texvlm.encoders import Encoder
from texvlm.encoders.features import Features
from texvlm.evaluation.temporal.cached_rows import CachedRows
from texvlm.evaluation.temporal.gated_blocks import GatedBlocks
from texvlm.evaluation.temporal.methods import Methods, Moment, Step, tensor_bytes
from texvlm.evaluation.temporal.vit_blocks import PlainViT
from texvlm.layouts.table import PADDING_LAYER
from texvlm.tokens import TokenBatch

CHANGE = 2 / 255
"""tau of the first experiment, mean absolute change, fraction of full scale."""

RUN_LENGTH_CHANGE = 0.1 * 0.2255
"""tau of the run-length paper, 0.1 of pixels normalised with ImageNet's deviation, as a fraction of full scale."""


def mean_change(now: torch.Tensor, before: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """Mean absolute change of each token, fraction of full scale, (views, tokens).

    Args:
        now: normalised pixels, (views, tokens, channels, patch, patch).
        before: the same of another time.
        scale: deviation that each channel was divided by, (channels, 1, 1).
    """
    return ((now - before).abs() * scale).mean(dim=(2, 3, 4))


class Full:
    """Every token of every frame: what all others are compared with."""

    name = "full"

    def begin(self, encoder: Encoder, sources: int) -> None:
        """See Method."""
        self._encoder = encoder

    def step(self, batch: TokenBatch, moment: Moment) -> Step:
        """See Method."""
        return Step(self._encoder(batch), (~batch.is_padding).cpu().numpy(), 1, 1, "full")

    def state_bytes(self) -> int:
        """See Method."""
        return 0


class _PixelGate:
    """Which tokens changed by more than tau, against the pixels last encoded or the frame before."""

    def __init__(self, encoder: Encoder, tau: float, *, adjacent: bool) -> None:
        self._tau = tau
        self._adjacent = adjacent
        self._scale = torch.tensor(encoder.std)[:, None, None]
        self.pixels: torch.Tensor | None = None

    def held(self, batch: TokenBatch) -> torch.Tensor:
        """The pixels that the next frame is measured against, after `stale`."""
        return batch.pixels if self.pixels is None else self.pixels

    def stale(self, batch: TokenBatch) -> torch.Tensor:
        """bool, (views, tokens); all but padding the first time."""
        used = ~batch.is_padding
        if self.pixels is None:
            self.pixels = batch.pixels.clone()
            return used
        stale = (mean_change(batch.pixels, self.pixels, self._scale) > self._tau) & used
        if self._adjacent:
            self.pixels = batch.pixels.clone()
        else:
            self.pixels[stale] = batch.pixels[stale]
        return stale


class CachedRowsMethod:
    """Changed tokens and the class token against cached keys and values.

    Args:
        name: for reports.
        tau: mean absolute change above which a token is encoded, fraction of full scale.
        adjacent: measured against the frame before instead of what was last encoded.
    """

    def __init__(self, name: str, *, tau: float, adjacent: bool = False) -> None:
        self.name = name
        self._tau = tau
        self._adjacent = adjacent

    def begin(self, encoder: Encoder, sources: int) -> None:
        """See Method."""
        self._gate = _PixelGate(encoder, self._tau, adjacent=self._adjacent)
        self._rows = CachedRows(encoder)

    def step(self, batch: TokenBatch, moment: Moment) -> Step:
        """See Method."""
        stale = self._gate.stale(batch)
        features, work = self._rows.run(batch, stale)
        return Step(features, stale.numpy(), work, _full_work(self._rows.vit, batch), "L2")

    def state_bytes(self) -> int:
        """See Method."""
        return tensor_bytes(self._gate.pixels) + self._rows.state_bytes()


class DroppedInputMethod:
    """Only tokens that differ from the frame before enter the model; arguments as for CachedRowsMethod."""

    def __init__(self, name: str, *, tau: float) -> None:
        self.name = name
        self._tau = tau

    def begin(self, encoder: Encoder, sources: int) -> None:
        """See Method."""
        self._vit = PlainViT(encoder)
        self._gate = _PixelGate(encoder, self._tau, adjacent=True)
        self._kept: torch.Tensor | None = None

    def step(self, batch: TokenBatch, moment: Moment) -> Step:
        """See Method."""
        encoder = self._vit.encoder
        stale = self._gate.stale(batch)
        counts = stale.sum(dim=1)
        if self._kept is None:
            self._kept = batch.pixels.new_zeros(len(batch), stale.shape[1] + 1, encoder.width)
        busy = counts.nonzero()[:, 0]
        if len(busy):
            part, index, used = _only(batch, stale, busy)
            found = encoder(part)
            self._kept[busy, 0] = found.prefix[:, 0]
            view = busy[:, None].expand_as(index)
            self._kept[view[used], 1 + index[used]] = found.tokens[used]
        kept = self._kept.clone()
        features = Features.of(batch, kept[:, 1:], prefix=kept[:, :1], pooled=encoder.pool(kept[:, 0]))
        work = sum(self._vit.work.full(count) for count in counts.tolist() if count)
        return Step(features, stale.numpy(), work, _full_work(self._vit, batch), "L1")

    def state_bytes(self) -> int:
        """See Method."""
        return tensor_bytes(self._gate.pixels, self._kept)


class GatedBlocksMethod:
    """Eventful Transformers, top-k.

    Args:
        name: for reports.
        share: of the rows that pass each gate.
    """

    def __init__(self, name: str, *, share: float) -> None:
        self.name = name
        self._share = share

    def begin(self, encoder: Encoder, sources: int) -> None:
        """See Method."""
        self._blocks = GatedBlocks(encoder, self._share)

    def step(self, batch: TokenBatch, moment: Moment) -> Step:
        """See Method."""
        features, passed, work = self._blocks.run(batch)
        return Step(features, passed.numpy(), work, _full_work(self._blocks.vit, batch), "L2")

    def state_bytes(self) -> int:
        """See Method."""
        return self._blocks.state_bytes()


class HeldPixelsMethod:
    """The full forward of pixels that are taken over as CachedRowsMethod encodes them; arguments as there."""

    def __init__(self, name: str, *, tau: float) -> None:
        self.name = name
        self._tau = tau

    def begin(self, encoder: Encoder, sources: int) -> None:
        """See Method."""
        self._encoder = encoder
        self._gate = _PixelGate(encoder, self._tau, adjacent=False)

    def step(self, batch: TokenBatch, moment: Moment) -> Step:
        """See Method."""
        stale = self._gate.stale(batch)
        features = self._encoder(replace(batch, pixels=self._gate.held(batch)))
        return Step(features, stale.numpy(), 1, 1, "full")

    def state_bytes(self) -> int:
        """See Method."""
        return tensor_bytes(self._gate.pixels)


PEERS: Methods = {
    "cached": partial(CachedRowsMethod, "cached", tau=CHANGE),
    "adjacent": partial(CachedRowsMethod, "adjacent", tau=CHANGE, adjacent=True),
    "dropped": partial(DroppedInputMethod, "dropped", tau=RUN_LENGTH_CHANGE),
    "gated-10": partial(GatedBlocksMethod, "gated-10", share=0.10),
    "gated-25": partial(GatedBlocksMethod, "gated-25", share=0.25),
}
"""By name; see the top of this file."""

CEILINGS: Methods = {"held": partial(HeldPixelsMethod, "held", tau=CHANGE)}
"""Methods that save nothing and show what could be kept at best; their time is not measured."""


def _full_work(vit: PlainViT, batch: TokenBatch) -> int:
    return sum(vit.work.full(count) for count in (~batch.is_padding).sum(dim=1).tolist())


def _only(
    batch: TokenBatch, chosen: torch.Tensor, views: torch.Tensor
) -> tuple[TokenBatch, torch.Tensor, torch.Tensor]:
    """Chosen tokens of some views as a batch of their own, padded to the longest.

    Returns:
        The batch; which token each row is, (views, most); and whether it is one, bool.
    """
    counts = chosen[views].sum(dim=1)
    most = int(counts.max())
    index = chosen[views].to(torch.uint8).argsort(dim=1, descending=True, stable=True)[:, :most]
    used = torch.arange(most) < counts[:, None]
    table = batch.table[views[:, None].numpy(), index.numpy()]
    table["layer"][~used.numpy()] = PADDING_LAYER
    part = replace(
        batch,
        pixels=batch.pixels[views[:, None], index],
        rows=table,
        dirty=used,
        sizes=batch.sizes[views.numpy()],
        sources=batch.sources[views.numpy()],
        pts=batch.pts[views.numpy()],
    )
    return part, index, used
