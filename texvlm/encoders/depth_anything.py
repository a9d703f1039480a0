"""Depth Anything: a DINOv2 that takes any tokens, and the model's own dense head on the grid that they fill.

    features = encoder(batch)            # stages of the backbone at each token, one behind the other
    depth = encoder.depth(features)      # (views, height, width)

Takes DepthAnythingForDepthEstimation of transformers with a DINOv2 backbone. Tokens are all that the
head needs, so features kept from earlier frames, or read from a folder, serve as well as fresh ones:

    dense = scatter(encoder(batch), grid)                                  # the first frame
    dense = scatter(encoder(changed_tokens(later)), grid, onto=dense)      # then what changed
    depth = encoder.decode(dense)

Tokens that are encoded without the rest of their frame do not see it: that depth is an approximation,
and exact only where every token changed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import nn
from torch.nn import functional

from texvlm.encoders.attention import Attention
from texvlm.encoders.dense import scatter
from texvlm.encoders.dinov2 import DINOv2Encoder
from texvlm.encoders.features import Features
from texvlm.encoders.geometry import Geometry
from texvlm.encoders.positions import Grid, PositionMethod
from texvlm.errors import ModelError
from texvlm.tokens import TokenBatch


class DepthAnythingEncoder(DINOv2Encoder):
    """The backbone of a Depth Anything of transformers, with its neck and head. See Encoder for arguments.

    Features hold what the head reads: the states of `stages`, `len(stages) * width` numbers a token.
    `pooled` is the class token of the last stage.

    Attributes:
        stages: blocks done when each stage is taken, ascending.

    Raises:
        ModelError: the backbone is no DINOv2, or its stages are not those that the neck reads.
    """

    inner_names = ("backbone",)

    def __init__(
        self,
        model: nn.Module,
        *,
        name: str = "depth-anything",
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        positions: PositionMethod = "bilinear",
    ) -> None:
        config = cast(Any, model).config
        backbone = getattr(model, "backbone", None)
        kind = getattr(getattr(backbone, "config", None), "model_type", type(backbone).__name__)
        if kind != "dinov2":
            raise ModelError(f"{name}: a backbone of type {kind!r}; a Depth Anything over dinov2 is accepted")
        super().__init__(model, name=name, mean=mean, std=std, positions=positions)
        named, taken = self.body.stage_names, set(self.body.out_features)
        self.stages = tuple(number for number, stage in enumerate(named) if stage in taken)
        if len(self.stages) != len(config.neck_hidden_sizes):
            raise ModelError(
                f"{name}: {len(self.stages)} stages of the backbone for a neck of {len(config.neck_hidden_sizes)}; "
                "give the configuration that the weights were made with"
            )

    def run(self, hidden: torch.Tensor, geometry: Geometry, attention: Attention) -> torch.Tensor:
        """See Encoder. The model records the stages, as it does for itself.

        Raises:
            ValueError: a read-out was asked for.
        """
        if attention.regions:
            raise ValueError(f"{self.name} answers at every pixel and has no read-outs; leave readout out")
        hidden = self.body.embeddings.dropout(hidden)
        states = self.body.encoder(hidden, attention_mask=attention.hidden, output_hidden_states=True).hidden_states
        found = torch.stack([states[stage] for stage in self.stages], dim=-2)
        return cast(torch.Tensor, self.body.layernorm(found) if self.body.config.apply_layernorm else found).flatten(-2)

    def pool(self, states: torch.Tensor) -> torch.Tensor:
        """See Encoder."""
        return states[..., -self.width :]

    def depth(
        self, tokens: Features | TokenBatch, *, grid: Grid | None = None, onto: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Depth of each view's whole frame, (views, rows * patch, columns * patch), as the model gives it.

        Args:
            tokens: features of this encoder, or a batch to encode first.
            grid: (rows, columns) of patches of the picture of depth; None for the model's own.
            onto: see scatter.
        Raises:
            ValueError: see scatter and `decode`.
        """
        features = tokens if isinstance(tokens, Features) else self(tokens)
        return self.decode(scatter(features, self.native_grid if grid is None else grid, onto=onto))

    def decode(self, dense: torch.Tensor) -> torch.Tensor:
        """Depth from dense features, with the model's own neck and head.

        Args:
            dense: (views, rows, columns, len(stages) * width), see texvlm.encoders.dense.
        Raises:
            ValueError: features of another width.
        """
        expected = len(self.stages) * self.width
        if dense.ndim != 4 or dense.shape[-1] != expected:
            raise ValueError(
                f"dense features of shape {tuple(dense.shape)}; {self.name} reads (views, rows, columns, {expected})"
            )
        rows, columns = dense.shape[1:3]
        model = cast(Any, self.model)
        # the neck takes the class token off each stage: give it a row to take
        states = functional.pad(dense.flatten(1, 2), (0, 0, 1, 0)).to(self.dtype)
        stages = list(torch.split(states, self.width, dim=-1))
        return cast(torch.Tensor, model.head(model.neck(stages, rows, columns), rows, columns))
