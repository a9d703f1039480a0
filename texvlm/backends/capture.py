"""A captured frame as the seam between engine and backend knows it: what to capture, and what comes of it."""

from __future__ import annotations

from abc import ABC
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from texvlm.backends.base import Normalisation, Texture
from texvlm.layouts import Layout


class FrameRecording(ABC):
    """One captured frame, see `Backend.capture`; its memory is written by every replay.

    Attributes:
        rows: bits of TOKEN_RECORD, int32, (views, tokens, 6).
        pixels: (views * tokens, channels, patch, patch).
        dirty: rows that a replay changed, bool, (views * tokens,).
    """

    rows: torch.Tensor
    pixels: torch.Tensor
    dirty: torch.Tensor


@dataclass(frozen=True, slots=True, eq=False)
class CaptureRequest:
    """What to capture.

    Attributes:
        texture: where the frames go.
        frame_layers: layer of each frame.
        threshold: in texel values, as of `detect`.
        layout: where tokens lie.
        sizes: (width, height) of each view's frame.
        layers: layer of each view.
        fixations: (u, v) on the device, (views, k, 2).
        weights: importance of each fixation, (views, k); None for equal ones.
        dtype: of token pixels.
        normalisation: of token pixels.
    """

    texture: Texture
    frame_layers: tuple[int, ...]
    threshold: float
    layout: Layout
    sizes: tuple[tuple[int, int], ...]
    layers: tuple[int, ...]
    fixations: torch.Tensor
    weights: NDArray[np.float64] | None
    dtype: torch.dtype
    normalisation: Normalisation
