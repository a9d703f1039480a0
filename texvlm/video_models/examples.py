"""Examples: frames of clips, and what the full encoder says of each of them.

The labels that everything here learns from are the encoder's own answers on the user's own clips, over
a uniform grid of tokens. Frames are taken whole (threshold 0), so that a label belongs to its pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from texvlm.encoders import Encoder
from texvlm.engine import Engine
from texvlm.errors import ModelError, SourceError
from texvlm.layouts import UniformGrid
from texvlm.sources import open_source
from texvlm.video_models.frame_statistics import statistics_level
from texvlm.video_models.head import check_at_least

Alter = Callable[[NDArray[np.uint8], int], NDArray[np.uint8]]
"""Makes another picture of frame i, such as one with noise; same shape."""


@dataclass(frozen=True, slots=True, eq=False)
class ClipExamples:
    """Frames of one clip, in order.

    Attributes:
        pixels: tokens' pixels, uint8, (frames, tokens, channels, patch, patch).
        tokens: the encoder's, float32, (frames, tokens, width).
        prefix: the encoder's, float32, (frames, k, width).
        padding: rows without a token, bool, (tokens,).
        mips: one small level of each frame, uint8, (frames, height, width, channels); see frame_statistics.
    """

    pixels: torch.Tensor
    tokens: torch.Tensor
    prefix: torch.Tensor
    padding: torch.Tensor
    mips: NDArray[np.uint8]

    def __len__(self) -> int:
        return int(self.tokens.shape[0])

    @property
    def answers(self) -> torch.Tensor:
        """What stands for the whole frame: the class token, or the mean of the tokens without one, (frames, width)."""
        return self.prefix[:, 0] if self.prefix.shape[1] else self.tokens[:, ~self.padding].mean(dim=1)

    def part(self, frames: slice) -> ClipExamples:
        """Some of the frames; shares memory."""
        return ClipExamples(
            self.pixels[frames], self.tokens[frames], self.prefix[frames], self.padding, self.mips[frames]
        )


def read_examples(
    clip: str | Path,
    encoder: Encoder,
    *,
    tokens: int | None = None,
    every: int = 1,
    frames: int | None = None,
    alter: Alter | None = None,
    backend: str = "cpu",
    progress: Callable[[int], None] | None = None,
) -> ClipExamples:
    """Run the full encoder over a clip.

    Args:
        clip: whatever `open_source` takes.
        encoder: on the backend's device.
        tokens: of the uniform grid; None for as many as the model's own picture has.
        every: take each N-th frame.
        frames: stop after so many; None for all.
        alter: applied to each frame before anything else sees it.
        backend: of the engine.
        progress: called with the number of frames done.
    Raises:
        SourceError: the clip cannot be read, or has fewer than two such frames.
        ModelError: the encoder gives what is not finite.
        ValueError: a number below 1, or a frame too small for the tokens.
    """
    rows, columns = encoder.native_grid
    grid = UniformGrid(patch=encoder.patch, tokens=rows * columns if tokens is None else tokens)
    if frames is not None:
        check_at_least("frames", frames, 2)
    found: list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]] = []
    mips, padding, size = [], None, None
    with (
        open_source(str(clip), channels=len(encoder.mean), every=every) as source,
        Engine(layout=grid, backend=backend, threshold=0, dtype=torch.uint8) as engine,
        torch.no_grad(),
    ):
        for index, frame in enumerate(_altered(iter(source), alter)):
            engine.submit(frame)
            size = size or engine.frame_size()
            if engine.frame_size() != size:
                raise SourceError(
                    f"{clip}: frame {index} is {engine.frame_size()}, others {size}; give one size a clip"
                )
            batch = engine.tokens()
            features = encoder(batch)
            try:
                features.check_finite()
            except ValueError as error:
                raise ModelError(f"{encoder.name}: frame {index} of {clip}: {error}") from error
            found.append((batch.pixels.cpu(), features.tokens.float().cpu(), features.prefix.float().cpu()))
            padding = features.padding[0].cpu()
            assert engine.spec is not None
            mips.append(engine.read_level(statistics_level(size or (1, 1), engine.spec.levels)))
            if progress is not None:
                progress(index + 1)
            if index + 1 == frames:
                break
    if padding is None or len(found) < 2:
        raise SourceError(f"{clip}: {len(found)} frame taken; change needs two or more, so take more of them")
    pixels, made, prefix = (torch.cat(parts) for parts in zip(*found, strict=True))
    return ClipExamples(pixels, made, prefix, padding, np.stack(mips).astype(np.uint8, copy=False))


def _altered(frames: Iterator[Any], alter: Alter | None) -> Iterator[Any]:
    for index, frame in enumerate(frames):
        yield frame if alter is None else alter(np.asarray(frame.pixels), index)
