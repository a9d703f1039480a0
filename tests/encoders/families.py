"""Small models of every family with random weights, and what each adapter must keep to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn

from texvlm.encoders import Encoder, Features, Readout
from texvlm.layouts import TOKEN_RECORD, make_layout
from texvlm.layouts.quadtree import Quadtree
from texvlm.layouts.rings import Rings
from texvlm.tokens import TokenBatch

BOUND = 1e-5
WIDTH = 32
BLOCKS: dict[str, Any] = {"hidden_size": WIDTH, "num_hidden_layers": 3, "num_attention_heads": 4}
VISION: dict[str, Any] = {**BLOCKS, "intermediate_size": 48, "image_size": 48, "patch_size": 8}
"""A vision tower of three blocks over a grid of 6 x 6 tokens."""

TABLE: dict[str, Any] = {**BLOCKS, "image_size": 48, "patch_size": 8, "num_labels": 5}
TEXT: dict[str, Any] = {**BLOCKS, "intermediate_size": 48, "vocab_size": 20, "max_position_embeddings": 12}
BACKBONE: dict[str, Any] = {
    **BLOCKS,
    "model_type": "dinov2",
    "num_hidden_layers": 5,
    "image_size": 48,
    "patch_size": 8,
    "out_indices": [1, 2, 3, 4],
    "reshape_hidden_states": False,
}
HEAD: dict[str, Any] = {
    "patch_size": 8,
    "reassemble_hidden_size": WIDTH,
    "neck_hidden_sizes": [8, 12, 16, 20],
    "fusion_hidden_size": 8,
    "head_hidden_size": 4,
}

OFF_GRID = {
    "quadtree": Quadtree(tokens=28, patch=8),
    "rings": Rings((1, 2, 4), (4, 4, 4), patch=8),
    "crops": make_layout("crops", tokens=40, patch=8),
}
"""Layouts for a frame of 96 x 64."""


def made(kind: str, config: Any) -> nn.Module:
    """A model of transformers in evaluation mode, its parameters moved: zeros and ones would hide a mistake."""
    import transformers

    torch.manual_seed(11)
    model: nn.Module = getattr(transformers, kind)(config)
    for parameter in model.parameters():
        parameter.data += 0.05 * torch.randn_like(parameter)
    return model.eval()


def dinov2(kind: str = "Model", **options: Any) -> nn.Module:
    from transformers import Dinov2Config

    return made(f"Dinov2{kind}", Dinov2Config(**(TABLE | options)))


def dinov2_with_registers(kind: str = "Model", **options: Any) -> nn.Module:
    from transformers import Dinov2WithRegistersConfig

    settings = TABLE | {"num_register_tokens": 3} | options
    return made(f"Dinov2WithRegisters{kind}", Dinov2WithRegistersConfig(**settings))


def dinov3(**options: Any) -> nn.Module:
    from transformers import DINOv3ViTConfig

    return made("DINOv3ViTModel", DINOv3ViTConfig(**(VISION | {"num_register_tokens": 3} | options)))


def clip_vision(kind: str = "CLIPVisionModel") -> nn.Module:
    from transformers import CLIPVisionConfig

    return made(kind, CLIPVisionConfig(**VISION, projection_dim=24))


def clip(kind: str = "CLIPModel", **options: Any) -> nn.Module:
    from transformers import CLIPConfig

    return made(kind, CLIPConfig(text_config=TEXT, vision_config=VISION, projection_dim=24, **options))


def siglip_vision(**options: Any) -> nn.Module:
    from transformers import SiglipVisionConfig

    return made("SiglipVisionModel", SiglipVisionConfig(**(VISION | options)))


def siglip(kind: str = "SiglipModel", **options: Any) -> nn.Module:
    from transformers import SiglipConfig

    text = TEXT | {"projection_size": WIDTH}
    return made(kind, SiglipConfig(text_config=text, vision_config=VISION, **options))


def depth_anything(*, backbone: dict[str, Any] | None = None, **options: Any) -> nn.Module:
    from transformers import DepthAnythingConfig

    config = DepthAnythingConfig(backbone_config=BACKBONE | (backbone or {}), **(HEAD | options))
    model: Any = made("DepthAnythingForDepthEstimation", config)
    # fresh weights make a flat picture, and a relu an empty one; either would agree with anything
    for module in (*model.neck.modules(), *model.head.modules()):
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.kaiming_normal_(module.weight)
    model.head.conv3.weight.data *= 0.02
    model.head.conv3.bias.data += 1.0
    return model


def close(found: torch.Tensor, own: torch.Tensor) -> None:
    """Equal to the bound."""
    torch.testing.assert_close(found, own, rtol=0, atol=BOUND)


def padded(batch: TokenBatch, rows: int, *, poison: float) -> TokenBatch:
    """The batch with padding rows full of poison behind its tokens."""
    views, count = batch.dirty.shape
    pixels = torch.full((views, rows, *batch.pixels.shape[2:]), poison)
    table = np.zeros((views, rows), TOKEN_RECORD)
    table["layer"], table["side"] = -1, 1
    pixels[:, :count], table[:, :count] = batch.pixels, batch.table
    dirty = torch.zeros(views, rows, dtype=torch.bool)
    return TokenBatch(pixels, table, dirty, batch.sizes, batch.sources, batch.pts)


def assert_padding_never_matters(encoder: Encoder, batch: TokenBatch, *, readout: Readout | None = None) -> None:
    """Neither its rows nor what stands in them change tokens or answers."""
    plain = encoder(batch, readout=readout)
    count = batch.pixels.shape[1]
    for poison in (float("nan"), 1e30):
        found = encoder(padded(batch, count + 9, poison=poison), readout=readout).check_finite()
        close(found.tokens[:, :count], plain.tokens)
        assert not found.tokens[found.padding].any()
        for name in ("pooled", "regions"):
            one, other = getattr(found, name), getattr(plain, name)
            assert (one is None) == (other is None)
            if one is not None:
                close(one, other)


def assert_takes_every_layout(
    encoder: Encoder, make_batch: Callable[..., TokenBatch], make_pictures: Callable[..., Any], *, readouts: bool = True
) -> None:
    """Finite features of the right shape for tokens off the grid, which depend on where tokens lie."""
    frames = make_pictures(2, (96, 64))
    readout = Readout.near([(0.3, 0.4), (0.7, 0.6)], eccentricity_deg=12) if readouts else None
    for layout in OFF_GRID.values():
        batch = make_batch(encoder, frames, layout=layout, fixations=[(0.3, 0.4), (0.7, 0.6)])
        features: Features = encoder(batch, readout=readout).check_finite()
        assert features.tokens.shape[:2] == batch.pixels.shape[:2]
        assert features.sources.tolist() == [0, 1]
        assert not torch.equal(features.tokens[0], features.tokens[1])
        if readouts:
            assert features.pooled is not None
            assert features.regions is not None
            assert features.regions.shape == (2, 1, features.pooled.shape[-1])
            assert (features.regions[:, 0] - features.pooled).abs().max() > 1e-4


def assert_whole_view_reads_as_the_plain_answer(encoder: Encoder, batch: TokenBatch) -> None:
    """A region that holds every token gives what the model itself answers."""
    features = encoder(batch, readout=Readout.inside([[-9, -9, 10, 10], [0, 0, 0.5, 0.5]]))
    assert features.pooled is not None
    assert features.regions is not None
    close(features.regions[:, 0], features.pooled)
    assert (features.regions[:, 1] - features.pooled).abs().max() > 1e-4
    close(features.pooled, encoder(batch).pooled)
