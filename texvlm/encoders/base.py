"""Encoder: a pretrained vision model that takes any TokenBatch.

    pixels -> embed + positions (+ scale) -> class token, registers | tokens -> run -> read -> Features

An adapter says how one family of models does each step, with the model's own modules; what tokens and
geometry mean, padding, read-outs and refusals are here. A uniform layout at `native_size` gives what
the model's own forward gives.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from inspect import signature
from typing import Any, NamedTuple, cast

import torch
from torch import nn

from texvlm.encoders.attention import Attention, check_takes_masks, plan_attention
from texvlm.encoders.features import Features
from texvlm.encoders.geometry import Geometry
from texvlm.encoders.positions import Grid, PositionMethod, ScaleEmbedding, check_method, token_scales
from texvlm.encoders.readout import Readout
from texvlm.errors import ModelError
from texvlm.tokens import TokenBatch


class Encoded(NamedTuple):
    """Tensors of one forward pass; see Features."""

    tokens: torch.Tensor
    prefix: torch.Tensor
    pooled: torch.Tensor | None
    regions: torch.Tensor | None


class Encoder(nn.Module, ABC):
    """Tokens in, features out. An nn.Module: `.to`, `.eval`, `.parameters` and torch's gradient modes apply.

    Args:
        model: the pretrained model, used as it is; its device and dtype are the encoder's.
        name: for messages and stored features.
        patch: pixels along a token's side.
        width: numbers a token.
        native_grid: (rows, columns) of tokens of the model's own picture.
        mean, std: per channel, in units of full scale: what `Engine(mean=, std=)` should be given.
        prefix_tokens: class token and registers, which come before the tokens; 0 for a model without.
        positions: how a position table is read, see texvlm.encoders.positions.

    Raises:
        ValueError: an unknown way to read positions.
        ModelError: the model's attention takes no masks.
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        name: str,
        patch: int,
        width: int,
        native_grid: Grid,
        mean: Sequence[float],
        std: Sequence[float],
        prefix_tokens: int = 1,
        positions: PositionMethod = "bilinear",
    ) -> None:
        super().__init__()
        check_method(positions)
        check_takes_masks(model)
        self.model = model
        self.name = name
        self.patch = patch
        self.width = width
        self.native_grid = native_grid
        self.mean, self.std = tuple(mean), tuple(std)
        self.prefix_tokens = prefix_tokens
        self.position_method = positions
        self.scale: ScaleEmbedding | None = None
        self._compiled: Callable[..., Encoded] | None = None

    # ------------------------------------------------------------------ what an adapter supplies

    @abstractmethod
    def embed(self, pixels: torch.Tensor) -> torch.Tensor:
        """(n, width) of n token pictures, (n, channels, patch, patch), with the model's own module.

        See `side_by_side` for modules that convolve.
        """

    @abstractmethod
    def positions(self, geometry: Geometry) -> torch.Tensor | None:
        """What is added to each token, (views, tokens, width); None for a model with rotary positions only."""

    @abstractmethod
    def prefix(self) -> torch.Tensor | None:
        """Class token and registers with their positions, (1, prefix_tokens, width); None without."""

    @abstractmethod
    def run(self, hidden: torch.Tensor, geometry: Geometry, attention: Attention) -> torch.Tensor:
        """The model's blocks, and the norm behind them where features are taken after it.

        See `attention.run_blocks`, which most adapters call.

        Args:
            hidden: (views, prefix + tokens, width).
            geometry: of the tokens, for rotary positions.
            attention: who sees whom.
        Returns:
            (views, prefix + read-outs + tokens, width).
        """

    def pool(self, states: torch.Tensor) -> torch.Tensor:
        """What the model answers, (..., pooled width), from class token states (..., width)."""
        return states

    def pool_tokens(self, tokens: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor | None:
        """Answers of a model without a class token; None for one that has no answer.

        Args:
            tokens: (views, tokens, width).
            bias: log weight of each token for each answer, (views, answers, tokens); None for one
                answer from all tokens alike.
        Returns:
            (views, answers, pooled width).
        """
        return None

    def head(self, pooled: torch.Tensor) -> torch.Tensor:
        """Class logits from answers, (..., labels), with the model's own `classifier`.

        Raises:
            ModelError: the model has no classifier.
        """
        if self.classifier is None:
            raise ModelError(f"{self.name} has no classifier; load a folder of a model for image classification")
        return cast(torch.Tensor, self.classifier(pooled))

    @property
    def classifier(self) -> nn.Module | None:
        """Where models of transformers keep what classifies their answers; None without."""
        return getattr(self.model, "classifier", None)

    @property
    def labels(self) -> dict[int, str]:
        """Name of each class of `classify`; empty without."""
        named = getattr(getattr(self.model, "config", None), "id2label", None) if self.classifier is not None else None
        return {int(number): str(label) for number, label in (named or {}).items()}

    # ------------------------------------------------------------------ what a caller uses

    def forward(self, batch: TokenBatch, *, readout: Readout | None = None) -> Features:
        """Features of a batch.

        Args:
            batch: of this encoder's patch and channels, on its device. Float pixels are taken as
                normalised with `mean` and `std`; uint8 pixels are normalised here.
            readout: regions to answer for besides the whole view.
        Raises:
            ValueError: a batch of another patch, channel count or device, or one without tokens; or
                a read-out that does not fit it, see Readout.token_weights.
            TypeError: something else than a TokenBatch, or than a Readout.
            ModelError: a read-out of a model that has no answers.
        """
        self.check(batch)
        if not isinstance(readout, Readout | None):
            raise TypeError(f"readout is a {type(readout).__name__}; make one with Readout.inside or Readout.near")
        geometry = Geometry.of(batch)
        weights = None if readout is None else readout.token_weights(batch)
        from_block = 0 if readout is None else readout.from_block
        found = (self._compiled or self.encode)(batch.pixels, geometry, weights, from_block)
        return Features.of(
            batch,
            found.tokens,
            padding=geometry.padding,
            prefix=found.prefix,
            pooled=found.pooled,
            regions=found.regions,
        )

    def __call__(self, batch: TokenBatch, *, readout: Readout | None = None) -> Features:
        """See `forward`."""
        features: Features = super().__call__(batch, readout=readout)
        return features

    def encode(
        self, pixels: torch.Tensor, geometry: Geometry, weights: torch.Tensor | None = None, from_block: int = 0
    ) -> Encoded:
        """The arithmetic of `forward` alone: tensors in, tensors out, nothing read back from the device.

        Args:
            pixels: (views, tokens, channels, patch, patch).
            geometry: of the tokens.
            weights: of the read-outs, (views, regions, tokens).
            from_block: first block with read-outs.
        """
        views, tokens = pixels.shape[:2]
        padding = None if geometry.full else geometry.padding[..., None]
        pixels = self.normalise(pixels)
        if padding is not None:  # a hidden row still meets a weight of zero, and zero times NaN is NaN
            pixels = pixels.masked_fill(padding[..., None, None], 0)
        hidden = self.embed(pixels.flatten(0, 1)).reshape(views, tokens, -1)
        for added in self.placement(geometry):
            hidden = hidden + added.to(hidden.dtype)
        prefix = self.prefix()
        if prefix is not None:
            hidden = torch.cat([prefix.expand(views, -1, -1).to(hidden.dtype), hidden], dim=1)
        attention = plan_attention(
            geometry, prefix=self.prefix_tokens, dtype=hidden.dtype, weights=weights, from_block=from_block
        )
        return self.read(self.run(hidden, geometry, attention), geometry, attention)

    def placement(self, geometry: Geometry) -> list[torch.Tensor]:
        """What is added to each embedded token for where it lies and how large it is, (views, tokens, width) each."""
        position = self.positions(geometry)
        added = [] if position is None else [position]
        if self.scale is not None:
            added.append(self.scale(token_scales(geometry, self.native_grid)))
        return added

    def read(self, hidden: torch.Tensor, geometry: Geometry, attention: Attention) -> Encoded:
        """What `run` left, (views, prefix + read-outs + tokens, width), told apart, with the answers."""
        before = hidden.shape[1] - geometry.padding.shape[1]
        found = hidden[:, before:]
        if not geometry.full:
            found = found.masked_fill(geometry.padding[..., None], 0)
        pooled, regions = self._answers(hidden[:, :before], found, attention)
        return Encoded(found, hidden[:, : self.prefix_tokens], pooled, regions)

    def _answers(
        self, before: torch.Tensor, tokens: torch.Tensor, attention: Attention
    ) -> tuple[torch.Tensor | None, torch.Tensor | None]:
        """Answers for the views, and for their regions."""
        if self.prefix_tokens:
            regions = self.pool(before[:, self.prefix_tokens :]) if attention.regions else None
            return self.pool(before[:, 0]), regions
        whole = None if attention.hidden is None else attention.hidden[:, 0]
        answer = self.pool_tokens(tokens, whole)
        pooled = None if answer is None else answer[:, 0]
        if attention.reading is None:
            return pooled, None
        regions = self.pool_tokens(tokens, attention.reading)
        if regions is None:
            raise ModelError(f"{self.name} has no pooling head, which read-outs need; load a model with one")
        return pooled, regions

    def classify(self, answers: Features | torch.Tensor) -> torch.Tensor:
        """Class logits of each view, (views, labels), or of any answers (..., pooled width), such as `regions`.

        Raises:
            ModelError: the model has no classifier.
            TypeError: no answers, such as the `regions` of features without a read-out.
        """
        if not isinstance(answers, Features | torch.Tensor):
            raise TypeError(f"{type(answers).__name__} to classify; give Features, or answers: regions need a readout")
        if isinstance(answers, Features):
            if answers.pooled is None:
                raise ModelError(f"{self.name} gives no answer for a view, so there is nothing to classify")
            answers = answers.pooled
        return self.head(answers)

    def add_scale_embedding(self, *, finest: int = -4, coarsest: int = 3) -> ScaleEmbedding:
        """Tell the model how large each token is, from now on; train the parameters of what is returned.

        It starts at zero: features change only as it learns.
        """
        self.scale = ScaleEmbedding(self.width, finest=finest, coarsest=coarsest).to(self.device, self.dtype)
        return self.scale

    def compile(self, **options: Any) -> None:
        """Run `encode` through torch.compile from now on; worth it where shapes stay the same."""
        if "isolate_recompiles" in signature(torch.compile).parameters:  # else all encoders share one limit of shapes
            options = {"isolate_recompiles": True} | options
        self._compiled = torch.compile(self.encode, **options)

    @property
    def native_size(self) -> tuple[int, int]:
        """(width, height) of the model's own picture, pixels."""
        return self.native_grid[1] * self.patch, self.native_grid[0] * self.patch

    @property
    def device(self) -> torch.device:
        """Where batches must lie."""
        return next(self.model.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        """Element type of the model."""
        return next(self.model.parameters()).dtype

    def normalise(self, pixels: torch.Tensor) -> torch.Tensor:
        """Pixels (..., channels, patch, patch) in the model's type; uint8 is normalised with `mean` and `std`."""
        if pixels.dtype != torch.uint8:
            return pixels.to(self.dtype)
        mean = torch.tensor(self.mean, dtype=torch.float32, device=pixels.device)[:, None, None]
        std = torch.tensor(self.std, dtype=torch.float32, device=pixels.device)[:, None, None]
        return ((pixels.float() / 255 - mean) / std).to(self.dtype)

    def check(self, batch: TokenBatch) -> None:
        """ValueError or TypeError, of one line, unless the batch is one that this encoder takes."""
        if not isinstance(batch, TokenBatch):
            raise TypeError(f"a {type(batch).__name__} for {self.name}; give a TokenBatch, as Engine.tokens makes it")
        channels, patch = int(batch.pixels.shape[2]), batch.patch
        if patch != self.patch:
            raise ValueError(
                f"tokens of {patch} x {patch} pixels; {self.name} takes {self.patch} x {self.patch}: "
                f"sample with patch={self.patch}"
            )
        if channels != len(self.mean):
            raise ValueError(
                f"tokens of {channels} channel{'s' * (channels != 1)}; {self.name} takes {len(self.mean)}: "
                "submit frames with as many"
            )
        if batch.pixels.device != self.device:
            raise ValueError(
                f"tokens on {batch.pixels.device}, {self.name} on {self.device}; move one of them: "
                f"Engine(device={str(self.device)!r}) or encoder.to({str(batch.pixels.device)!r})"
            )
        if 0 in batch.pixels.shape[:2]:
            raise ValueError(f"a batch of {batch.pixels.shape[0]} views of {batch.pixels.shape[1]} tokens; give tokens")


def square_side(value: int | Sequence[int], *, what: str) -> int:
    """The side of a square given as one number or as (height, width).

    Raises:
        ModelError: it is no square.
    """
    if isinstance(value, int):
        return value
    if len(value) != 2 or value[0] != value[1]:
        raise ModelError(f"{what} of {tuple(value)}; tokens are square, and so must it be")
    return int(value[0])


def side_by_side(pixels: torch.Tensor) -> torch.Tensor:
    """Token pictures (n, channels, patch, patch) as one picture, (1, channels, patch, n * patch).

    A model's patch convolution takes that as a row of n patches: one call, as on the model's own
    picture, instead of n small ones; the bits are the same.
    """
    n, channels, patch, _ = pixels.shape
    return pixels.permute(1, 2, 0, 3).reshape(1, channels, patch, n * patch)
