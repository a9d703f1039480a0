"""Training: one loop for everything small that this part learns.

The loss is a function of a generator, which is all the chance there is: the same seed on the same
machine gives the same weights.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import nn

from texvlm.errors import ModelError
from texvlm.video_models.head import check_at_least

CLIP = 1.0
"""Longest gradient of a step: one cut in a clip must not undo what was learned."""


def fit(
    model: nn.Module,
    loss: Callable[[torch.Generator], torch.Tensor],
    *,
    steps: int,
    rate: float = 1e-3,
    decay: float = 0.01,
    seed: int = 0,
    progress: Callable[[int], None] | None = None,
) -> list[float]:
    """Train a model in place with AdamW and a rate that falls to zero along a cosine.

    Args:
        model: what is trained; put in evaluation mode afterwards.
        loss: of a batch that it draws with the generator.
        steps: how many batches.
        rate: learning rate at the start.
        decay: weight decay.
        seed: of the generator.
        progress: called with the number of steps done.
    Returns:
        The loss of each step.
    Raises:
        ModelError: the loss is no longer finite; the model is of no use then.
    """
    check_at_least("steps", steps, 1)
    generator = torch.Generator().manual_seed(seed)
    optimiser = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=decay)
    falling = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, T_max=steps)
    losses: list[float] = []
    model.train()
    with torch.inference_mode(False), torch.enable_grad():
        for step in range(steps):
            value = loss(generator)
            losses.append(float(value.detach()))
            if not math.isfinite(losses[-1]):
                raise ModelError(f"the loss of step {step} is {losses[-1]}; lower the rate of {rate}, or look for NaN")
            optimiser.zero_grad()
            value.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(model.parameters(), CLIP)
            optimiser.step()
            falling.step()
            if progress is not None:
                progress(step + 1)
    model.eval()
    return losses
