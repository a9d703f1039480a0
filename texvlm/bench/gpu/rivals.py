"""Baselines timed beside texvlm: the same frames, the same tokens where they can have them."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np

from texvlm.bench.gpu.peers import DENSE_SIDE, DensePatches, TorchPyramid, dense_bytes, pyramid_bytes
from texvlm.bench.gpu.report import GpuReport, GpuRow
from texvlm.bench.gpu.steps import DTYPE, PATCH, Device
from texvlm.engine import Engine
from texvlm.layouts import make_layout
from texvlm.layouts.base import Focus
from texvlm.pyramid import TextureSpec, default_levels


def rival_rows(device: Device, *, report: GpuReport, side: int = DENSE_SIDE) -> Iterator[GpuRow]:
    """Frames on the device to tokens, without texvlm.

    Args:
        device: where, and what on.
        report: gets how far the pyramid's tokens are from texvlm's.
        side: of the dense square; smaller in tests.
    """
    layout = make_layout("quadtree", tokens=device.tokens, patch=PATCH)
    table = layout.plan(device.size, Focus(np.array([[0.4, 0.6]]) * device.size))
    pyramid = TorchPyramid(device.size, table, PATCH, device.device)
    report.agreement_255["torch pyramid"] = agreement(device)
    note = "float32, the same tokens, whole frame every time"
    moved = pyramid_bytes(device.size, pyramid.top, len(table), PATCH)
    yield device.row(
        "torch pyramid + grid_sample",
        [partial(pyramid, frame) for frame in device.ring],
        lambda _: moved,
        texvlm=False,
        note=note,
    )
    for antialias in (True, False):
        dense = DensePatches(antialias=antialias, device=device.device, side=side, patch=PATCH, dtype=DTYPE)
        yield device.row(
            f"dense {side} x {side} resize{', antialiased' if antialias else ''} + patchify",
            [partial(dense, frame) for frame in device.ring],
            lambda _: dense_bytes(device.size, side, DTYPE.itemsize),
            texvlm=False,
            note=f"{dense.tokens} tokens, float16, normalised{'' if antialias else '; skips pixels'}",
        )


def agreement(device: Device) -> float:
    """Largest difference between texvlm's tokens of a frame and TorchPyramid's, in 1/255."""
    frame = device.ring[0]
    spec = TextureSpec(device.size, levels=default_levels(device.size, PATCH))
    with Engine(spec, backend=device.backend, tokens=device.tokens, patch=PATCH, threshold=0) as engine:
        engine.submit(frame)
        batch = engine.tokens((0.4, 0.6))
        theirs = TorchPyramid(device.size, engine.plan((0.4, 0.6))[0], PATCH, device.device)(frame)
        return round(float((batch.pixels[0] - theirs).abs().max() * 255), 4)
