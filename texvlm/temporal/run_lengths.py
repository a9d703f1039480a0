"""L1 for clips: a token that stays the same over frames goes into the model once, with how long it stayed.

A run starts with the first of its tokens and goes on while the others lie within a threshold of that
one, so what is left out is bounded however long the run. The model is told the duration: attention
counts a key that stands for n frames n times. For a model without positions in time, runs of equal
pixels then give the same features as all of their tokens would.

Source:
    Choudhury et al., Don't Look Twice: Run-Length Tokenization, NeurIPS 2024, which compares with the frame
    before and so bounds nothing; the weight of a key that stands for several is that of Bolya et al.,
    Token Merging, ICLR 2023.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from texvlm.encoders.attention import Attention, run_blocks
from texvlm.encoders.block_encoder import BlockEncoder
from texvlm.encoders.features import Features
from texvlm.encoders.geometry import Geometry
from texvlm.temporal.change import ChangeRule, token_change
from texvlm.tokens import TokenBatch


@dataclass(frozen=True, slots=True, eq=False)
class RunLengths:
    """Runs of a clip's tokens.

    Attributes:
        starts: bool, (frames, tokens): the token starts a run, and is what goes into the model.
        run: int64, (frames, tokens): which run a token belongs to, in the order of frames and then rows;
            -1 for padding rows.
        durations: int64, (runs,): frames that each run lasts.
        deviation: float32, (frames, tokens): distance of each token from the first of its run, steps of 255.
    """

    starts: torch.Tensor
    run: torch.Tensor
    durations: torch.Tensor
    deviation: torch.Tensor

    @property
    def kept(self) -> int:
        """Tokens that go into the model."""
        return len(self.durations)

    def expand(self, states: torch.Tensor) -> torch.Tensor:
        """States of every token, (frames, tokens, width), from those of the runs, (runs, width); 0 for padding."""
        held = (self.run >= 0)[..., None]
        return torch.where(held, states[self.run.clamp_min(0)], torch.zeros((), dtype=states.dtype))


def run_lengths(batch: TokenBatch, rule: ChangeRule, *, std: tuple[float, ...] | None = None) -> RunLengths:
    """Runs of a clip.

    Args:
        batch: views of one source, one frame each, in the order of time.
        rule: a token that moved by more than the threshold from the first of its run starts another, as
            does one whose run has lasted `max_age` frames, or whose row lies elsewhere. `refresh` is not used.
        std: see token_change.
    Raises:
        ValueError: views of several sources, or frames out of order.
    """
    _check_clip(batch)
    padding = batch.is_padding
    frames, tokens = padding.shape
    first = batch.pixels[0].clone()
    lasted = torch.zeros(tokens, dtype=torch.int64, device=padding.device)
    run = torch.full((frames, tokens), -1, dtype=torch.int64, device=padding.device)
    starts = torch.zeros_like(padding)
    deviation = torch.zeros(frames, tokens, device=padding.device)
    count = 0
    for frame in range(frames):
        held = ~padding[frame]
        if frame == 0:
            begins = held
        else:
            change = token_change(batch.pixels[frame], first, measure=rule.measure, std=std)
            begins = (change > rule.threshold) | padding[frame - 1] | _elsewhere(batch, frame, padding.device)
            if rule.max_age is not None:
                begins |= lasted >= rule.max_age
            begins &= held
            deviation[frame] = change.masked_fill(begins | ~held, 0)
            run[frame] = run[frame - 1].masked_fill(~held, -1)
        new = int(begins.sum())
        run[frame, begins] = torch.arange(count, count + new, device=padding.device)
        count += new
        first[begins] = batch.pixels[frame][begins]
        lasted = (lasted + 1).masked_fill(begins, 1)
        starts[frame] = begins
    durations = torch.bincount(run[run >= 0], minlength=count)
    return RunLengths(starts, run, durations, deviation)


@dataclass(frozen=True, slots=True, eq=False)
class ClipFeatures:
    """Features of a clip.

    Attributes:
        features: of every token of every frame, those of a run alike; `prefix` and `pooled` are the clip's,
            the same for all frames.
        runs: what went into the model.
    """

    features: Features
    runs: RunLengths


@torch.no_grad()
def encode_clip(encoder: BlockEncoder, batch: TokenBatch, *, rule: ChangeRule | None = None) -> ClipFeatures:
    """One forward pass over all frames of a clip, in which every token sees those of all frames.

    Args:
        encoder: whose positions are added, not rotated.
        batch: of `run_lengths`; threshold 0 leaves out tokens of equal pixels alone.
        rule: of `run_lengths`.
    Raises:
        ValueError, TypeError: a batch that the encoder does not take, or that is no clip; rotary positions.
    """
    encoder.check(batch)
    runs = run_lengths(batch, rule or ChangeRule(), std=encoder.std)
    geometry = Geometry.of(batch)
    if encoder.rotations(geometry) is not None:
        raise ValueError(
            f"{encoder.name} turns queries by place, and a clip is one row of tokens; accepted: added ones"
        )
    hidden = encoder.embed(encoder.normalise(batch.pixels[runs.starts]))
    for added in encoder.placement(geometry):
        hidden = hidden + added[runs.starts].to(hidden.dtype)
    hidden, prefix = hidden[None], encoder.prefix()
    if prefix is not None:
        hidden = torch.cat([prefix.to(hidden.dtype), hidden], dim=1)
    leading = hidden.shape[1] - runs.kept
    weights = runs.durations.to(hidden.dtype).log()
    bias = torch.cat([weights.new_zeros(leading), weights])[None, None, None]
    attention = Attention(leading, 0, bias, None, None, 0)
    hidden = encoder.leave(run_blocks(encoder.blocks, encoder.enter(hidden), attention))
    whole = encoder.read(hidden, _one_view(geometry, runs), attention)
    frames = len(batch)
    features = Features.of(
        batch,
        runs.expand(hidden[0, leading:]),
        padding=geometry.padding,
        prefix=whole.prefix.expand(frames, -1, -1),
        pooled=None if whole.pooled is None else whole.pooled.expand(frames, -1),
    )
    return ClipFeatures(features, runs)


def _one_view(geometry: Geometry, runs: RunLengths) -> Geometry:
    """All runs as one view without padding."""
    return Geometry(
        centres=geometry.centres[runs.starts][None],
        sides=geometry.sides[runs.starts][None],
        valid=geometry.valid[runs.starts][None],
        padding=geometry.padding[runs.starts][None],
        sizes=geometry.sizes[:1],
        full=True,
    )


def _elsewhere(batch: TokenBatch, frame: int, device: torch.device) -> torch.Tensor:
    """Bool, (tokens,): rows that lie elsewhere than in the frame before."""
    now, before = batch.table[frame], batch.table[frame - 1]
    places = [now[name] != before[name] for name in ("x", "y", "side")]
    return torch.from_numpy(np.logical_or.reduce(places)).to(device)


def _check_clip(batch: TokenBatch) -> None:
    if len(np.unique(batch.sources)) > 1:
        raise ValueError(f"a clip of sources {sorted(set(batch.sources.tolist()))}; accepted: views of one source")
    known = batch.pts[~np.isnan(batch.pts)]
    if (np.diff(known) < 0).any():
        raise ValueError("a clip whose frames are not in the order of time; sort the views by pts")
