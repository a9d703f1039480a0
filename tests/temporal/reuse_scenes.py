"""Views of made-up frames, and small models for them: no engine, no files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from texvlm.encoders import Encoder, Features
from texvlm.encoders.vit import ViTEncoder
from texvlm.layouts.base import Focus
from texvlm.layouts.quadtree import Quadtree
from texvlm.layouts.table import Table, make_table, pad_table
from texvlm.temporal.reports import TemporalFeatures
from texvlm.tokens import TokenBatch

Frame = NDArray[Any]
"""(height, width, 3), uint8 or floats of full scale 1."""


@dataclass(frozen=True)
class View:
    """One source looked at."""

    source: int
    frame: Frame
    table: Table
    pts: float = float("nan")


def uniform(size: tuple[int, int], *, patch: int, rows: int = 0, shift: tuple[float, float] = (0, 0)) -> Table:
    """Tokens side by side from the top-left corner on, moved by `shift`, followed by padding up to `rows`."""
    width, height = size
    y, x = np.meshgrid(np.arange(patch / 2, height, patch), np.arange(patch / 2, width, patch), indexing="ij")
    table = make_table(x.ravel() + shift[0], y.ravel() + shift[1], patch, size=size)
    return pad_table(table, max(rows, len(table)))


def quadtree(size: tuple[int, int], gaze: tuple[float, float], *, tokens: int, patch: int) -> Table:
    """Squares that are small where the gaze is, as (u, v), and up to two padding rows."""
    layout = Quadtree(tokens=tokens, patch=patch, small_frames="pad")
    return layout.plan(size, Focus(np.array([gaze]) * size))


def sampled(frame: Frame, table: Table, *, patch: int) -> NDArray[Any]:
    """(tokens, 3, patch, patch): means over what each pixel of a token covers; the edge goes on outside the frame."""
    reach = int(table["side"].max())
    around = np.pad(frame, ((reach, reach), (reach, reach), (0, 0)), mode="edge")
    pixels = np.zeros((len(table), 3, patch, patch), frame.dtype)
    for row, token in enumerate(table):
        if token["layer"] < 0:
            continue
        side = int(token["side"])
        left, top = (round(float(token[axis]) - side / 2) + reach for axis in ("x", "y"))
        square = around[top : top + side, left : left + side].astype(np.float64)
        means = square.reshape(patch, side // patch, patch, side // patch, 3).mean(axis=(1, 3))
        pixels[row] = (np.rint(means) if frame.dtype == np.uint8 else means).transpose(2, 0, 1)
    return pixels


def batch_of(encoder: Encoder, views: Sequence[View], *, poison: float | None = None) -> TokenBatch:
    """Tokens of views, as an engine gives them: uint8, or normalised floats; padding rows full of `poison`."""
    pixels = torch.from_numpy(np.stack([sampled(view.frame, view.table, patch=encoder.patch) for view in views]))
    tables = np.stack([view.table for view in views])
    if pixels.dtype != torch.uint8:
        mean, std = (torch.tensor(part)[:, None, None] for part in (encoder.mean, encoder.std))
        pixels = ((pixels - mean) / std).float()
    if poison is not None:
        pixels[torch.from_numpy(tables["layer"] < 0)] = poison
    return TokenBatch(
        pixels=pixels,
        rows=tables,
        dirty=torch.zeros(tables.shape, dtype=torch.bool),
        sizes=np.array([view.frame.shape[1::-1] for view in views], np.int32),
        sources=np.array([view.source for view in views], np.int32),
        pts=np.array([view.pts for view in views]),
    )


def look(
    encoder: Encoder, *frames: Frame, first: int = 0, pts: float = float("nan"), table: Table | None = None
) -> TokenBatch:
    """One view of each frame, of sources `first` and on; without a table, on a grid with two rows of padding."""
    if table is None:
        grid = uniform((frames[0].shape[1], frames[0].shape[0]), patch=encoder.patch)
        table = pad_table(grid, len(grid) + 2)
    return batch_of(encoder, [View(first + number, frame, table, pts) for number, frame in enumerate(frames)])


def picture(size: tuple[int, int], seed: int | Sequence[int], *, dtype: Any = np.float32) -> Frame:
    """Random, of (width, height), smooth enough that neighbours are alike."""
    rng = np.random.default_rng(seed)
    coarse = rng.random((-(-size[1] // 4), -(-size[0] // 4), 3))
    frame = coarse.repeat(4, axis=0).repeat(4, axis=1)[: size[1], : size[0]]
    return np.rint(255 * frame).astype(np.uint8) if dtype == np.uint8 else frame.astype(dtype)


def painted(frame: Frame, place: tuple[int, int], side: int, seed: int) -> Frame:
    """The frame with a square of other pixels in it, (x, y) its corner."""
    x, y = place
    found = frame.copy()
    patch = found[y : y + side, x : x + side]
    patch[...] = picture((side, side), [seed, 99], dtype=frame.dtype)[: patch.shape[0], : patch.shape[1]]
    return found


def small_vit(*, blocks: int = 2, patch: int = 4, width: int = 16, **options: Any) -> ViTEncoder:
    """A ViT of random weights, far from zeros and ones, over a grid of 6 x 6 tokens."""
    from transformers import ViTConfig, ViTForImageClassification

    torch.manual_seed(7)
    settings = {
        "hidden_size": width,
        "num_hidden_layers": blocks,
        "num_attention_heads": 2,
        "intermediate_size": 2 * width,
        "image_size": 6 * patch,
        "patch_size": patch,
        "num_labels": 5,
    }
    model = ViTForImageClassification(ViTConfig(**(settings | options))).eval()
    for parameter in model.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    return ViTEncoder(model)


def assert_equal(found: TemporalFeatures | Features, expected: Features, *, bound: float = 1e-5) -> None:
    """Everything that features hold, to a bound."""
    features = found.features if isinstance(found, TemporalFeatures) else found
    assert features.sources.tolist() == expected.sources.tolist()
    assert torch.equal(features.padding, expected.padding)
    for name in ("tokens", "prefix", "pooled"):
        one, other = getattr(features, name), getattr(expected, name)
        assert (one is None) == (other is None), name
        if one is not None:
            torch.testing.assert_close(one, other, rtol=0, atol=bound, msg=lambda text, name=name: f"{name}: {text}")
