"""Folders of small vision models with random weights, for tests that go through a command or a job."""

from __future__ import annotations

from pathlib import Path

import torch

LABELS = ["ladle", "hat", "arch", "sign", "bus"]


def save_vit(folder: Path, *, seed: int = 7, classifier: bool = True, patch: int = 16) -> Path:
    """A ViT of two blocks over a grid of 3 x 3 tokens, with LABELS where it classifies."""
    from transformers import ViTConfig, ViTForImageClassification, ViTModel

    torch.manual_seed(seed)
    config = ViTConfig(
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=48,
        image_size=3 * patch,
        patch_size=patch,
        id2label=dict(enumerate(LABELS)),
    )
    model = ViTForImageClassification(config) if classifier else ViTModel(config)
    for parameter in model.parameters():  # far from 0 and 1, so that frames and places matter
        parameter.data += 0.1 * torch.randn_like(parameter)
    model.save_pretrained(folder)
    return folder
