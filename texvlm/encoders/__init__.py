"""Encoders: TokenBatches into the vision models that people use, with the model's own modules.

    from texvlm import encoders
    encoder = encoders.load("path/to/vit-base-patch16-224")      # pip install "texvlm[hf]"
    engine = Engine(patch=encoder.patch, mean=encoder.mean, std=encoder.std)
    features = encoder(engine.tokens(gaze), readout=encoders.Readout.near(gaze))

This package never sees frames or textures, and imports transformers only when a model is loaded.
"""

from __future__ import annotations

from texvlm.encoders.attention import Attention, plan_attention, run_blocks
from texvlm.encoders.base import Encoder, side_by_side
from texvlm.encoders.block_encoder import BlockEncoder
from texvlm.encoders.features import Features
from texvlm.encoders.geometry import Geometry
from texvlm.encoders.handover import hand_over
from texvlm.encoders.loading import ADAPTERS, load, register
from texvlm.encoders.merging import MergedFeatures
from texvlm.encoders.packed import PackedTokens
from texvlm.encoders.positions import ScaleEmbedding, look_up, table_of
from texvlm.encoders.readout import Readout

__all__ = [
    "ADAPTERS",
    "Attention",
    "BlockEncoder",
    "Encoder",
    "Features",
    "Geometry",
    "MergedFeatures",
    "PackedTokens",
    "Readout",
    "ScaleEmbedding",
    "hand_over",
    "load",
    "look_up",
    "plan_attention",
    "register",
    "run_blocks",
    "side_by_side",
    "table_of",
]
