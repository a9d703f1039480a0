"""DeltaEncoder: features that follow the pixels without the encoder being run.

From what the encoder made of each token and the pixels it saw, and the pixels that are there now, it
predicts what the encoder would say now, in two ways: content that was elsewhere brings its feature
along (tokens look for their new pixels among the old ones), and a small network reads the difference
of a token's pixels. Where no pixel of a frame has changed, features are those given, whatever was
learned; and an untrained one gives them back in any case.
"""

from __future__ import annotations

import math

import torch
from torch import nn

from texvlm.video_models.head import check_at_least, take_off, zeroed

SHARPNESS = 3.0
"""Logarithm of what cosines of pixels are multiplied by before the softmax, untrained: a clear match wins."""


class DeltaEncoder(nn.Module):
    """Moves features along with the pixels; see the module.

    Args:
        width: numbers a token.
        pixels: numbers of a token's pixels, channels * patch * patch.
        hidden: width of the network, and of what pixels are compared by.
    """

    def __init__(self, width: int, pixels: int, *, hidden: int = 96) -> None:
        super().__init__()
        self.width = check_at_least("width", width, 1)
        self.pixels = check_at_least("pixels", pixels, 1)
        self.hidden = check_at_least("hidden", hidden, 1)
        self.norm = nn.LayerNorm(width)
        # content that moved
        self.look = nn.Linear(pixels, hidden, bias=False)
        self.sharpness = nn.Parameter(torch.tensor(SHARPNESS))
        self.sensitivity = nn.Parameter(torch.tensor(math.log(10.0)))
        self.share = nn.Parameter(torch.zeros(width))
        # content that is new; without biases where a change goes in or comes out: none must come out as none
        self.see = nn.Linear(pixels, hidden, bias=False)
        self.content = nn.Linear(width, hidden)
        self.own = nn.Linear(hidden, hidden, bias=False)
        self.others = nn.Linear(hidden, hidden, bias=False)
        self.out = zeroed(nn.Linear(hidden, width, bias=False))
        # class token and registers: from how the tokens moved
        self.ask = nn.Linear(width, hidden, bias=False)
        self.answer = nn.Linear(width, hidden, bias=False)
        self.moved = nn.Linear(width, hidden, bias=False)
        self.prefix_content = nn.Linear(width, hidden)
        self.prefix_out = zeroed(nn.Linear(hidden, width, bias=False))

    @property
    def options(self) -> dict[str, int]:
        """Keyword arguments that make another one of this shape."""
        return {"width": self.width, "pixels": self.pixels, "hidden": self.hidden}

    def forward(
        self,
        tokens: torch.Tensor,
        prefix: torch.Tensor,
        now: torch.Tensor,
        then: torch.Tensor,
        *,
        padding: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Tokens and prefix as they should be now.

        Args:
            tokens: (views, tokens, width), as encoded.
            prefix: (views, k, width): class token and registers; k may be 0.
            now: the tokens' pixels, as `encoder.normalise` gives them, (views, tokens, channels, patch, patch).
            then: those that the features were made of.
            padding: bool, (views, tokens): rows without a token; None where there are none.
        Raises:
            ValueError: shapes that disagree, or are of another encoder.
        """
        self._check(tokens, prefix, now, then)
        dtype = self.look.weight.dtype
        old, now, then = tokens.to(dtype), now.flatten(2).to(dtype), then.flatten(2).to(dtype)
        hidden = torch.zeros(tokens.shape[:2], dtype=torch.bool, device=tokens.device) if padding is None else padding
        difference = (now - then).masked_fill(hidden[..., None], 0)
        normed = self.norm(old)
        moved = self._moved(old, now, then, difference, hidden)
        content = self.content(normed)
        changed = _response(content, self.see(difference))
        mean = changed.sum(dim=1, keepdim=True) / (~hidden).sum(dim=1).clamp_min(1)[:, None, None]
        found = self.share * moved + self.out(_response(content, self.own(changed) + self.others(mean)))
        before = self.norm(prefix.to(dtype))
        scores = self.ask(before) @ self.answer(normed).transpose(1, 2) / math.sqrt(self.hidden)
        seen = _softmax(scores, hidden) @ moved
        answer = self.prefix_out(_response(self.prefix_content(before), self.moved(seen)))
        return take_off(tokens, -found.masked_fill(hidden[..., None], 0)), take_off(prefix, -answer)

    def _moved(
        self,
        old: torch.Tensor,
        now: torch.Tensor,
        then: torch.Tensor,
        difference: torch.Tensor,
        hidden: torch.Tensor,
    ) -> torch.Tensor:
        """How far each token goes towards what its new pixels were elsewhere, like the tokens; 0 where none changed."""
        # without their mean: what a patch shows, not how bright it is
        a, b = (nn.functional.normalize(self.look(p - p.mean(-1, keepdim=True)), dim=-1) for p in (now, then))
        weights = _softmax(a @ b.transpose(1, 2) * self.sharpness.exp(), hidden)
        amount = 1 - torch.exp(-difference.square().mean(-1, keepdim=True) * self.sensitivity.exp())
        return amount * (weights @ old - old)

    def _check(self, tokens: torch.Tensor, prefix: torch.Tensor, now: torch.Tensor, then: torch.Tensor) -> None:
        lead, width = tokens.shape[:2], self.width
        if tokens.ndim != 3 or tokens.shape[2] != width or prefix.ndim != 3 or prefix.shape[::2] != tokens.shape[::2]:
            raise ValueError(
                f"tokens {tuple(tokens.shape)} and prefix {tuple(prefix.shape)}; this helper takes (views, tokens, "
                f"{width}) and (views, k, {width})"
            )
        for name, part in (("now", now), ("then", then)):
            if part.shape[:2] != lead or math.prod(part.shape[2:]) != self.pixels:
                raise ValueError(
                    f"{name} of shape {tuple(part.shape)}; need {tuple(lead)} tokens of {self.pixels} numbers each"
                )


def _softmax(scores: torch.Tensor, hidden: torch.Tensor) -> torch.Tensor:
    """Weights of tokens, (views, rows, tokens); none for hidden ones."""
    return scores.masked_fill(hidden[:, None], torch.finfo(scores.dtype).min).softmax(dim=-1)


def _response(content: torch.Tensor, change: torch.Tensor) -> torch.Tensor:
    """What a change does on top of a content; exactly zero for no change."""
    return nn.functional.gelu(content + change) - nn.functional.gelu(content)
