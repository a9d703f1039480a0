"""Answers made from tokens, for models whose classifier reads their mean."""

from __future__ import annotations

import torch

from texvlm.encoders.attention import Attention


def mean_tokens(tokens: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
    """Weighted means of tokens, (views, answers, width).

    Args:
        tokens: (views, tokens, width).
        bias: log weight of each token for each answer, (views, answers, tokens); None for one plain mean.
    """
    if bias is None:
        return tokens.mean(dim=1, keepdim=True)
    return bias.float().softmax(dim=-1).to(tokens.dtype) @ tokens


def mean_answers(tokens: torch.Tensor, attention: Attention) -> tuple[torch.Tensor, torch.Tensor | None]:
    """The mean token of each view, (views, width), and of each read-out, (views, regions, width); None without."""
    shown = None if attention.hidden is None else attention.hidden[:, 0, :, attention.prefix :]
    whole = mean_tokens(tokens, shown)[:, 0]
    return whole, None if attention.reading is None else mean_tokens(tokens, attention.reading)
