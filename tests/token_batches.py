"""Token batches made from numbers alone: no engine, no frames."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from texvlm.layouts.table import TOKEN_RECORD
from texvlm.tokens import TokenBatch

PATCH = 4


def make_batch(
    frame: int,
    *,
    tokens: int = 6,
    changed: NDArray[np.bool_] | None = None,
    before: TokenBatch | None = None,
    dtype: torch.dtype = torch.float16,
    size: tuple[int, int] = (64, 48),
) -> TokenBatch:
    """One view of random tokens; those not `changed` keep the pixels of `before`."""
    rng = np.random.default_rng([frame, tokens])
    if dtype == torch.uint8:
        pixels = torch.from_numpy(rng.integers(0, 256, (1, tokens, 3, PATCH, PATCH), np.uint8))
    else:
        pixels = torch.from_numpy(rng.normal(size=(1, tokens, 3, PATCH, PATCH))).to(dtype)
    if changed is None:
        changed = np.ones(tokens, np.bool_)
    if before is not None and before.pixels.shape == pixels.shape:
        pixels[0, ~changed] = before.pixels[0, ~changed]
    table = np.zeros((1, tokens), TOKEN_RECORD)
    for name in ("x", "y", "side", "valid"):
        table[name] = rng.uniform(0, 100, tokens)
    table["layer"] = rng.integers(-1, 5, tokens)
    table["region"] = rng.integers(0, 9, tokens)
    return TokenBatch(
        pixels=pixels,
        rows=table,
        dirty=torch.from_numpy(changed[None].copy()),
        sizes=np.array([size], np.int32),
        sources=np.zeros(1, np.int32),
        pts=np.array([np.nan if frame % 5 == 4 else frame / 25]),
    )


def make_clip(frames: int, *, share: float = 0.3, **options: object) -> list[TokenBatch]:
    """Frames in which about `share` of the tokens change."""
    clip: list[TokenBatch] = []
    rng = np.random.default_rng(frames)
    for i in range(frames):
        changed = rng.random(6) < (share if i else 1.1)
        clip.append(make_batch(i, changed=changed, before=clip[-1] if clip else None, **options))  # type: ignore[arg-type]
    return clip


def assert_same(found: TokenBatch, expected: TokenBatch) -> None:
    """Equal to the bit, in every attribute."""
    assert found.pixels.dtype == expected.pixels.dtype
    assert found.pixels.shape == expected.pixels.shape
    assert torch.equal(found.pixels.view(torch.uint8), expected.pixels.contiguous().view(torch.uint8))
    assert found.table.tobytes() == expected.table.tobytes()
    assert torch.equal(found.dirty, expected.dirty)
    assert torch.equal(found.valid, expected.valid)
    for name in ("sizes", "sources", "pts"):
        a, b = getattr(found, name), getattr(expected, name)
        assert a.dtype == b.dtype
        assert a.tobytes() == b.tobytes()
