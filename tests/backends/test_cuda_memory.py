"""What a report says of memory on the device: live and at most, of arrays and of torch."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from cuda_device import open_host_device

from texvlm.backends.cuda.arrays import array_bytes, describe_memory
from texvlm.backends.cuda.backend import CudaBackend
from texvlm.pyramid import TextureSpec


def test_arrays_are_counted_while_they_live_and_at_most():
    driver, compiler = open_host_device()
    backend = CudaBackend(driver, compiler)
    specs = [TextureSpec((64, 48)), TextureSpec((320, 200), layers=2)]
    textures = [backend.create_texture(spec) for spec in specs]
    backend.destroy_texture(textures[1])
    told = backend.describe()
    assert told["array_bytes"] == array_bytes(specs[0])
    assert told["array_bytes_peak"] == sum(map(array_bytes, specs))
    assert told["device_bytes_free"] == told["device_bytes_total"] - array_bytes(specs[0])  # type: ignore[operator]
    assert "torch_bytes" not in told  # torch counts on a GPU alone
    backend.close()


def test_on_a_gpu_torchs_tensors_are_told_too(monkeypatch: pytest.MonkeyPatch):
    driver: Any = SimpleNamespace(device=torch.device("cuda", 1), memory=lambda: (10, 100))
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: 7 if device == driver.device else 0)
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: 9 if device == driver.device else 0)
    told = describe_memory(driver, 3, 4)
    assert (told["torch_bytes"], told["torch_bytes_peak"], told["array_bytes"], told["array_bytes_peak"]) == (
        7,
        9,
        3,
        4,
    )
