"""Uniform layouts at a model's own size give what the model's processor and patch embedding would see.

The arithmetic of the Hugging Face image processors on pixels that are already at model size is
rescale by 1/255, subtract the mean, divide by the standard deviation. It is written out here in
float64; `benchmarks/parity.py` compares with the real processors.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from texvlm.engine import Engine
from texvlm.layouts import UniformGrid

HALF = (0.5, 0.5, 0.5)
CLIP = ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
MODELS = {
    "ViT-B/16": (224, 16, HALF, HALF),
    "CLIP ViT-L/14": (224, 14, *CLIP),
    "CLIP ViT-B/32": (224, 32, *CLIP),
    "SigLIP B/16": (224, 16, HALF, HALF),
    "DINOv2 /14": (224, 14, *IMAGENET),
}


def processed(pixels, mean, std):
    """(3, height, width) float64: what a processor hands to the model."""
    values = pixels.astype(np.float64) / 255
    return ((values - np.array(mean)) / np.array(std)).transpose(2, 0, 1)


def patchified(image, patch):
    """(tokens, 3, patch, patch), row by row: what a patch embedding multiplies with its weights."""
    channels, height, width = image.shape
    blocks = image.reshape(channels, height // patch, patch, width // patch, patch)
    return blocks.transpose(1, 3, 0, 2, 4).reshape(-1, channels, patch, patch)


@pytest.mark.parametrize("model", MODELS)
def test_float_tokens_are_the_processors_values(backend, rng, model):
    size, patch, mean, std = MODELS[model]
    pixels = rng.integers(0, 256, (size, size, 3), dtype=np.uint8)
    with Engine(layout=UniformGrid(patch=patch), backend=backend, mean=mean, std=std) as engine:
        engine.submit(pixels)
        tokens = engine.tokens().pixels[0]
    expected = patchified(processed(pixels, mean, std), patch)
    assert tokens.shape == expected.shape
    # 1e-6 is 2 to 4 units in the last place of float32 at the values' greatest magnitude
    np.testing.assert_allclose(tokens.cpu().numpy(), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("patch", [14, 16])
def test_byte_tokens_are_the_pixels(backend, rng, patch):
    pixels = rng.integers(0, 256, (224, 224, 3), dtype=np.uint8)
    with Engine(layout=UniformGrid(patch=patch), backend=backend, dtype=torch.uint8) as engine:
        engine.submit(pixels)
        tokens = engine.tokens().pixels[0]
    np.testing.assert_array_equal(tokens.cpu().numpy(), patchified(pixels.transpose(2, 0, 1), patch))


@pytest.mark.parametrize("patch", [14, 16])
def test_a_patch_embedding_gives_the_same_features(rng, patch):
    """A convolution with stride = patch on the processed image is a matrix product with the tokens."""
    pixels = rng.integers(0, 256, (224, 224, 3), dtype=np.uint8)
    weight = torch.from_numpy(rng.normal(0, 0.02, (32, 3, patch, patch)))
    with Engine(layout=UniformGrid(patch=patch), backend="cpu", mean=CLIP[0], std=CLIP[1]) as engine:
        engine.submit(pixels)
        tokens = engine.tokens().flat()[0].double()
    image = torch.from_numpy(processed(pixels, *CLIP))[None]
    features = torch.nn.functional.conv2d(image, weight, stride=patch)[0].flatten(1).T
    torch.testing.assert_close(tokens @ weight.flatten(1).T, features, rtol=0, atol=1e-5)


@settings(max_examples=25, deadline=None)
@given(
    columns=st.integers(1, 6),
    rows=st.integers(1, 6),
    patch=st.sampled_from([8, 14, 16]),
    seed=st.integers(0, 2**32 - 1),
)
def test_any_whole_number_of_patches_is_cut_without_filtering(columns, rows, patch, seed):
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 256, (rows * patch, columns * patch, 3), dtype=np.uint8)
    with Engine(layout=UniformGrid(patch=patch), backend="cpu", dtype=torch.uint8) as engine:
        engine.submit(pixels)
        tokens = engine.tokens().pixels[0].numpy()
    np.testing.assert_array_equal(tokens, patchified(pixels.transpose(2, 0, 1), patch))
