"""A plain ViT with random weights: for timings, which do not depend on them, and for trying things out."""

from __future__ import annotations

import torch

from texvlm.encoders.base import Encoder
from texvlm.encoders.loading import load
from texvlm.errors import ModelError


def untrained_vit(
    width: int, blocks: int, heads: int, *, image: int = 224, patch: int = 16, labels: int = 0, seed: int = 0
) -> Encoder:
    """An encoder on ViTModel, or with labels on ViTForImageClassification; the same for the same arguments.

    Args:
        width: numbers a token; the MLP is four times as wide.
        blocks: how many.
        heads: of attention; divides the width.
        image: side of the model's own picture, pixels.
        patch: pixels along a token's side.
        labels: classes of a classifier; 0 for none.
        seed: of the weights.
    Raises:
        ModelError: transformers is not installed.
    """
    try:
        from transformers import ViTConfig, ViTForImageClassification, ViTModel
    except ImportError as error:
        raise ModelError("transformers is not installed; pip install 'texvlm[hf]'") from error
    config = ViTConfig(
        hidden_size=width,
        num_hidden_layers=blocks,
        num_attention_heads=heads,
        intermediate_size=4 * width,
        image_size=image,
        patch_size=patch,
        id2label={index: f"class {index}" for index in range(labels)} if labels else None,
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return load(ViTForImageClassification(config) if labels else ViTModel(config, add_pooling_layer=False))
