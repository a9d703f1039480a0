"""What token merging saves and costs: within frames inside a model, and across frames behind it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from texvlm.encoders import Encoder
from texvlm.encoders.geometry import Geometry
from texvlm.engine import Engine
from texvlm.layouts import UniformGrid
from texvlm.sources import open_source
from texvlm.video_models import match, match_frames, run_merged
from texvlm.video_models.examples import ClipExamples

LOST = (0, 4, 8, 12)
"""Tokens that each block loses."""

WINDOW = 4
SHARES = (0.25, 0.5, 0.75)
FRAMES = 4


def merging_within(encoder: Encoder, data: Path, clips: Sequence[str]) -> list[dict[str, Any]]:
    """Time and class token of a ViT whose blocks lose r tokens each, on frames squeezed into its own grid."""
    hidden = [_embedded(encoder, picture) for name in clips for picture in _squares(data / name, encoder)]
    blocks, norm = list(encoder.body.layers), encoder.body.layernorm
    spent: dict[int, list[float]] = {r: [] for r in LOST}
    cosines: dict[int, list[float]] = {r: [] for r in LOST}
    left = {}
    with torch.no_grad():
        run_merged(blocks, hidden[0], r=1)  # warm
        for tokens in hidden:
            start = time.perf_counter()
            whole = _plain(blocks, tokens)
            spent[0].append(time.perf_counter() - start)
            answer = norm(whole)[:, 0]
            cosines[0].append(1.0)
            left[0] = tokens.shape[1]
            for r in LOST[1:]:
                start = time.perf_counter()
                fewer, merged = run_merged(blocks, tokens, r=r)
                spent[r].append(time.perf_counter() - start)
                cosines[r].append(float(nn.functional.cosine_similarity(norm(fewer)[:, 0], answer)))
                left[r] = merged.count
    return [
        {
            "r": r,
            "tokens_left": left[r],
            "ms": round(1000 * float(np.median(spent[r])), 2),
            "class_cosine": float(np.mean(cosines[r])),
            "class_cosine_least": float(np.min(cosines[r])),
            "frames": len(hidden),
        }
        for r in LOST
    ]


def merging_times(encoder: Encoder) -> list[dict[str, Any]]:
    """Time alone, of a larger model with random weights, on which it does not depend."""
    rows, columns = encoder.native_grid
    hidden = torch.randn(1, 1 + rows * columns, encoder.width, generator=torch.Generator().manual_seed(0))
    blocks = list(encoder.body.layers)
    spent: dict[int, list[float]] = {r: [] for r in LOST}
    with torch.no_grad():
        run_merged(blocks, hidden, r=1)  # warm
        for _ in range(FRAMES):
            for r in LOST:
                start = time.perf_counter()
                _plain(blocks, hidden) if r == 0 else run_merged(blocks, hidden, r=r)
                spent[r].append(time.perf_counter() - start)
    return [{"r": r, "ms": round(1000 * float(np.median(times)), 1)} for r, times in spent.items()]


def _plain(blocks: Sequence[nn.Module], hidden: torch.Tensor) -> torch.Tensor:
    for block in blocks:
        hidden = block(hidden)
    return hidden


def merging_across(clips: Sequence[ClipExamples]) -> list[dict[str, Any]]:
    """Cosine of merged features with the own ones, across frames and, losing as many, within them."""
    found = []
    for share in SHARES:
        across, within = [], []
        for clip in clips:
            tokens = clip.tokens[:, ~clip.padding]
            for start in range(0, len(tokens) - WINDOW + 1, WINDOW):
                window = tokens[start : start + WINDOW]
                rows = window.flatten(0, 1)[None]
                lost = int(share * rows.shape[1])
                most = (WINDOW - 1) * window.shape[1]
                one = match_frames(window[None], min(lost, most), prefix=0)
                across.append(_kept(one.unmerge(one.merge(rows)), rows))
                now, groups = window, None
                for _ in range(4):  # a step merges at most half of what is left
                    r = min(round(share * window.shape[1]) - (window.shape[1] - now.shape[1]), now.shape[1] // 2)
                    step = match(now, r, prefix=0, sizes=None if groups is None else groups.sizes)
                    groups = step if groups is None else groups.then(step)
                    now = step.merge(now)
                within.append(_kept(groups.unmerge(now).flatten(0, 1)[None], rows))
        found.append({"share_lost": share, "across": float(np.mean(across)), "within": float(np.mean(within))})
    return found


def _kept(merged: torch.Tensor, own: torch.Tensor) -> float:
    return float(nn.functional.cosine_similarity(merged, own, dim=-1).mean())


def _squares(path: Path, encoder: Encoder) -> list[np.ndarray]:
    """The middle square of a few frames, a whole number of times the model's own side where it is larger."""
    side = encoder.native_size[0]
    found = []
    with open_source(str(path), every=24) as source:
        for frame in source:
            pixels = np.asarray(frame.pixels)
            height, width = pixels.shape[:2]
            whole = max(min(height, width) // side, 1) * side
            top, left = (height - whole) // 2, (width - whole) // 2
            found.append(np.ascontiguousarray(pixels[top : top + whole, left : left + whole]))
            if len(found) == FRAMES:
                break
    return found


def _embedded(encoder: Encoder, picture: np.ndarray) -> torch.Tensor:
    """What goes into the first block."""
    rows, columns = encoder.native_grid
    grid = UniformGrid(patch=encoder.patch, tokens=rows * columns)
    with Engine(layout=grid, backend="cpu", mean=encoder.mean, std=encoder.std) as engine, torch.no_grad():
        engine.submit(picture)
        batch = engine.tokens()
        embedded = encoder.embed(batch.pixels.flatten(0, 1)).reshape(1, rows * columns, -1)
        embedded = embedded + encoder.positions(Geometry.of(batch))
        return torch.cat([encoder.prefix(), embedded], dim=1)
