"""A sampler for each filter on the emulated device, with textures that no kernel has filled."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import reference
import torch
from cuda_device import open_host_device
from required import unavailable

from texvlm.backends.base import Normalisation
from texvlm.backends.cuda.arrays import CudaTexture, OwnArray, create_texture
from texvlm.backends.cuda.kernels import Kernels
from texvlm.backends.cuda.sampler import Sampler
from texvlm.errors import BackendUnavailable
from texvlm.layouts.table import make_table
from texvlm.pyramid import TextureSpec

FILTERS = ("hardware", "exact")


class Device:
    """A sampler for each filter on the emulated device, and textures filled without any kernel."""

    def __init__(self, *, fused: bool = False) -> None:
        try:
            self.driver, compiler = open_host_device(fused=fused)
        except BackendUnavailable as refusal:
            unavailable("cuda-host", str(refusal))
        self.kernels = Kernels(self.driver, compiler)
        self.samplers = {name: Sampler(self.driver, self.kernels, name) for name in FILTERS}
        self.totals = torch.zeros(5, dtype=torch.int64)
        self.textures: list[CudaTexture] = []

    def fill(self, spec: TextureSpec, frames: dict[int, np.ndarray]) -> CudaTexture:
        """A texture array with these frames; every other texel, padding too, is poison."""
        texture = create_texture(self.driver, spec, OwnArray(self.driver, spec))
        self.textures.append(texture)
        for layer, frame in frames.items():
            self.put(texture, layer, frame)
        return texture

    def put(self, texture: CudaTexture, layer: int, frame: np.ndarray) -> None:
        """Write the frame's own texels of every level, and note that it is there."""
        array = [*self.driver.account.alive("array")][self.textures.index(texture)]
        for level, texels in enumerate(reference.pyramid(frame, texture.spec.levels)):
            stored = self.driver.texels(array, level)[layer, : texels.shape[0], : texels.shape[1]]
            stored[..., : texels.shape[2]] = texels
        texture.frame_sizes[layer] = torch.tensor(frame.shape[1::-1])

    def sample(self, texture, table, filtering, *, patch=16, dtype=torch.float32, mean=None, std=None, rows=None):
        channels = texture.spec.channels
        out = torch.full((len(table), channels, patch, patch), 7, dtype=dtype)
        normalisation = Normalisation.identity(channels) if mean is None else Normalisation(mean, std)
        self.samplers[filtering].sample(
            texture, table, out, normalisation, rows, stream=self.driver.current_stream(), totals=self.totals
        )
        return out

    def close(self) -> None:
        for sampler in self.samplers.values():
            sampler.close()
        for texture in self.textures:
            texture.storage.close()
        self.kernels.close()
        assert self.driver.leaks() == []
        assert self.driver.violations == []
        assert self.driver.outside_reads == 0
        self.driver.close()


def open_device(*, fused: bool = False) -> Iterator[Device]:
    """For fixtures: a device that must leave nothing behind, and break no rule."""
    opened = Device(fused=fused)
    yield opened
    opened.close()


def picture(rng, size, channels=3, dtype="uint8") -> np.ndarray:
    noise = rng.integers(0, 256, (size[1], size[0], channels), dtype=np.uint8)
    return noise if dtype == "uint8" else (noise / 255).astype(np.float32)


def scattered(rng, size, count=40, patch=16) -> np.ndarray:
    """Tokens anywhere, also outside the frame, magnified, minified and beyond the last level."""
    reach = max(size)
    return make_table(
        rng.uniform(-0.3 * reach - 8, 1.3 * reach + 8, count),
        rng.uniform(-0.3 * reach - 8, 1.3 * reach + 8, count),
        patch * 2.0 ** rng.uniform(-2, np.log2(reach) - 1 if reach > 16 else 2, count),
        size=size,
    )
