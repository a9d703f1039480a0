"""Texture arrays on the emulated device, filled by the ingest kernels; shared by their tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import reference
import torch
from cuda_device import open_host_device
from cuda_host.driver import HostDriver
from required import unavailable

from texvlm.backends.cuda.arrays import CudaTexture, OwnArray, create_texture
from texvlm.backends.cuda.ingest import TOTALS, FramePixels, Ingest
from texvlm.backends.cuda.kernels import Kernels
from texvlm.errors import BackendUnavailable
from texvlm.pyramid import TextureSpec, level_size

STREAM = 0


@dataclass
class Rig:
    """One texture array, and what its kernels have counted."""

    driver: HostDriver
    ingest: Ingest
    texture: CudaTexture
    totals: torch.Tensor = field(default_factory=lambda: torch.zeros(5, dtype=torch.int64))

    def refresh(self, frame: FramePixels | np.ndarray, layer: int = 0, limit: float | None = None) -> np.ndarray:
        pixels = pixels_of(frame)
        tiles = self.ingest.refresh(self.texture, layer, pixels, limit=limit, stream=STREAM, totals=self.totals)
        assert tiles.dtype == torch.bool
        return tiles.numpy()

    def level(self, level: int, layer: int = 0) -> np.ndarray:
        width, height = self.texture.frame_sizes[layer].tolist()
        size = level_size((width, height), level)
        return self.ingest.read_level(self.texture, layer, level, size, stream=STREAM).numpy()

    def assert_holds(self, frame: np.ndarray, layer: int = 0) -> None:
        """Every level of a layer has the reference's bits (float levels: its values)."""
        for level, expected in enumerate(reference.pyramid(frame, self.texture.spec.levels)):
            got = self.level(level, layer)
            assert got.shape == expected.shape
            if level == 0 or frame.dtype == np.uint8:
                np.testing.assert_array_equal(got, expected, err_msg=f"level {level}")
            else:
                np.testing.assert_allclose(got, expected, rtol=2e-6, atol=1e-7, err_msg=f"level {level}")

    def counts(self) -> dict[str, int]:
        return dict(zip(TOTALS, self.totals.tolist(), strict=False))


@contextmanager
def open_rigs() -> Iterator[Callable[..., Rig]]:
    """Makes rigs; afterwards nothing was misused, touched beyond its array, or left behind."""
    try:
        driver, compiler = open_host_device()
    except BackendUnavailable as refusal:
        unavailable("cuda-host", str(refusal))
        raise
    kernels = Kernels(driver, compiler)
    ingest = Ingest(driver, kernels)
    made: list[CudaTexture] = []

    def make(size: tuple[int, int], channels: int = 3, dtype: str = "uint8", layers: int = 1, levels: int = 0) -> Rig:
        spec = TextureSpec(size, layers=layers, channels=channels, dtype=dtype, levels=levels)
        made.append(create_texture(driver, spec, OwnArray(driver, spec)))
        return Rig(driver, ingest, made[-1])

    yield make
    for texture in made:
        texture.storage.close()
    kernels.close()
    driver.close()
    assert (driver.outside_writes, driver.outside_reads) == (0, 0)
    assert driver.violations == []


def pixels_of(frame: FramePixels | np.ndarray) -> FramePixels:
    return frame if isinstance(frame, FramePixels) else FramePixels.from_tensor(torch.from_numpy(frame))


def picture(rng: np.random.Generator, size: tuple[int, int], channels: int = 3, dtype: str = "uint8") -> np.ndarray:
    noise = rng.integers(0, 256, (size[1], size[0], channels), dtype=np.uint8)
    return noise if dtype == "uint8" else (noise / 255).astype(np.float32)
