"""pytest-benchmark of each verb on one 1080p frame. Not collected by default; run it with

    pytest tests/bench/bench_verbs.py

`texvlm bench` is what the published numbers come from; this is for looking at one verb while working on it.
"""

from __future__ import annotations

import numpy as np
import pytest

from texvlm.backends.base import Normalisation
from texvlm.bench.scenes import STEP, still
from texvlm.engine import Engine
from texvlm.frames import Frame
from texvlm.pyramid import TextureSpec
from texvlm.regions import tile_grid

SIZE = (1920, 1080)


@pytest.fixture(params=["none", "scattered", "all"])
def tiles(request, rng):
    columns, rows = tile_grid(SIZE)
    share = {"none": 0.0, "scattered": 0.05, "all": 1.0}[request.param]
    return rng.random((rows, columns)) < share


@pytest.fixture
def texture(backend):
    texture = backend.create_texture(TextureSpec(SIZE))
    texture.frame_sizes[0] = SIZE
    columns, rows = tile_grid(SIZE)
    everything = np.ones((rows, columns), np.bool_)
    backend.upload(texture, 0, everything, Frame(still(SIZE)))
    backend.build_mips(texture, 0, everything)
    yield texture
    backend.destroy_texture(texture)


@pytest.mark.parametrize("changed", [False, True])
def test_detect(benchmark, backend, texture, changed):
    frame = Frame(still(SIZE) + np.uint8(STEP if changed else 0))
    mask = benchmark(backend.detect, texture, 0, frame, 8.0)
    assert mask.all() == changed


def test_upload(benchmark, backend, texture, tiles):
    benchmark(backend.upload, texture, 0, tiles, Frame(still(SIZE)))


def test_build_mips(benchmark, backend, texture, tiles):
    benchmark(backend.build_mips, texture, 0, tiles)


def test_sample(benchmark, backend, texture):
    with Engine(SIZE, backend=backend) as engine:
        engine.submit(still(SIZE))
        table = np.ascontiguousarray(engine.plan()[0])
    import torch

    out = backend.empty((len(table), 3, 16, 16), torch.float32)
    benchmark(backend.sample, texture, table, out, Normalisation.identity(3))


def test_plan(benchmark, backend):
    with Engine(SIZE, backend=backend) as engine:
        engine.submit(still(SIZE))
        points = iter(np.random.default_rng(0).random((1 << 20, 2)))
        benchmark(lambda: engine.plan(next(points)))
