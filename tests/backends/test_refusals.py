"""What every backend refuses: shapes that its kernels could only follow out of bounds."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch

from texvlm.backends.base import Backend, Normalisation, Texture
from texvlm.frames import Frame
from texvlm.layouts.table import make_table
from texvlm.pyramid import TextureSpec


@pytest.fixture
def texture(backend: Backend) -> Iterator[Texture]:
    texture = backend.create_texture(TextureSpec((40, 40)))
    yield texture
    backend.destroy_texture(texture)


def test_frames_and_masks_that_do_not_fit(backend, texture):
    frame = Frame(np.zeros((40, 40, 3), np.uint8))
    tiles = np.ones((3, 3), np.bool_)
    wide, deep = Frame(np.zeros((40, 41, 3), np.uint8)), Frame(np.zeros((40, 40, 4), np.uint8))
    floats = Frame(np.zeros((40, 40, 3), np.float32))
    for given, words in (
        (wide, "frame of 41 x 40; this texture takes up to 40 x 40"),
        (deep, "4 channels of uint8; this texture takes 3 of uint8"),
        (floats, "3 channels of float32; this texture takes 3 of uint8"),
    ):
        for call in (
            lambda given=given: backend.detect(texture, 0, given, 0),
            lambda given=given: backend.upload(texture, 0, tiles, given),
            lambda given=given: backend.refresh(texture, 0, given, 0),
        ):
            with pytest.raises(ValueError, match=words):
                call()
    for layer in (1, -1):
        for call in (
            lambda layer=layer: backend.detect(texture, layer, frame, 0),
            lambda layer=layer: backend.upload(texture, layer, tiles, frame),
            lambda layer=layer: backend.build_mips(texture, layer, tiles),
            lambda layer=layer: backend.refresh(texture, layer, frame, 0),
        ):
            with pytest.raises(ValueError, match=rf"layer {layer} is outside the texture array \(0\.\.0\)"):
                call()
    with pytest.raises(ValueError, match=r"tile mask of shape \(3, 2\)"):
        backend.upload(texture, 0, tiles[:, :2], frame)
    with pytest.raises(ValueError, match=r"tile mask of shape \(4, 3\)"):
        backend.build_mips(texture, 0, np.ones((4, 3), np.bool_))


def test_samples_that_do_not_fit(backend, texture):
    table = make_table([30.0, 20.0], [20.0, 20.0], 16.0, size=(40, 40))
    for shape in ((1, 3, 16, 16), (2, 4, 16, 16), (2, 3, 16, 8)):
        with pytest.raises(ValueError, match="2 rows of 3 channels need a contiguous"):
            backend.sample(texture, table, backend.empty(shape, torch.float32), Normalisation.identity(3))
    for layer in (1, -2):
        table["layer"][1] = layer
        with pytest.raises(ValueError, match=f"layer {layer} is outside the texture array"):
            backend.sample(texture, table, backend.empty((2, 3, 16, 16), torch.float32), Normalisation.identity(3))
