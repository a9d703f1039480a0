"""Accumulation over time: resting tokens are averaged, so that noise does not flicker; changed ones are not.

    now, kept -> difference of each token -> within noise?  kept + alpha (now - kept)
                                          -> beyond it?     now, at once

So a token never lags behind by more than takeover * noise, and one that changed by more does not lag
at all. Tokens may be pixels or features; the state is one array for each source.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Hashable
from dataclasses import dataclass, field

import torch

RESTING = 1.5
"""Times the noise up to which a token is resting and gets `alpha`; from there to the takeover its share grows to 1."""

WINDOW = 64
"""Frames of which the calmest one says what the noise is."""


@dataclass(frozen=True, slots=True, eq=False)
class Accumulated:
    """What became of the tokens of one frame.

    Attributes:
        values: of the shape that was given.
        share: of the new value in each token, (tokens,), alpha..1.
        taken: tokens that are the new value itself, bool, (tokens,).
        noise: difference (root of the mean square) of a resting token from what is kept of it; 0 if not known.
    """

    values: torch.Tensor
    share: torch.Tensor
    taken: torch.Tensor
    noise: float


@dataclass(slots=True, eq=False)
class _Kept:
    """What is kept of one source."""

    values: torch.Tensor
    calm: deque[float] = field(default_factory=lambda: deque(maxlen=WINDOW))


class TokenAccumulator:
    """Exponential averages of tokens, per source; the plain one, or one that lets go where content changes.

    The noise is measured: the median over the tokens of their difference from what is kept, in the
    calmest of the last `WINDOW` frames, so that motion is not taken for noise as long as it pauses, or
    leaves half of the tokens alone, now and then. Where it never does, `most_noise` bounds the lag.

    Of white noise the variance that remains in a resting token is alpha / (2 - alpha) of it.

    Args:
        alpha: share of the new value in a resting token, above 0, up to 1; 1 keeps nothing.
        takeover: times the noise beyond which a token is taken over at once; None: never, the plain average.
        noise: of the tokens given, where it is known; else it is measured.
        most_noise: of the measured noise, as a share of the standard deviation of all values.
    Source:
        The calmest frame as an estimate is the minimum statistics of Martin, "Noise power spectral density
        estimation", 2001.
    """

    def __init__(
        self,
        alpha: float = 0.25,
        *,
        takeover: float | None = 3.0,
        noise: float | None = None,
        most_noise: float = 0.1,
    ) -> None:
        if not 0 < alpha <= 1:
            raise ValueError(f"alpha is {alpha}; accepted: a share above 0, up to 1")
        if takeover is not None and not RESTING < takeover < math.inf:
            raise ValueError(f"takeover is {takeover}; accepted: above {RESTING}, or None for a plain average")
        for name, value in (("noise", noise), ("most_noise", most_noise)):
            if value is not None and not 0 <= value < math.inf:
                raise ValueError(f"{name} is {value}; accepted: a finite number, 0 or above")
        self.alpha, self.takeover, self.noise, self.most_noise = alpha, takeover, noise, most_noise
        self._kept: dict[Hashable, _Kept] = {}

    @property
    def sources(self) -> tuple[Hashable, ...]:
        """Sources that something is kept of."""
        return tuple(self._kept)

    def reset(self, source: Hashable) -> None:
        """Forget a source, if it is known; do so on a cut."""
        self._kept.pop(source, None)

    def state_bytes(self, source: Hashable) -> int:
        """Memory that the tokens kept of a source take."""
        kept = self._kept.get(source)
        return 0 if kept is None else kept.values.numel() * kept.values.element_size()

    @torch.no_grad()
    def update(self, values: torch.Tensor, source: Hashable = 0, *, moved: torch.Tensor | None = None) -> Accumulated:
        """Take the tokens of the next frame.

        Args:
            values: (tokens, ...), floating point; not kept, not written. Another shape, element type or
                device than before starts the source anew.
            source: any name of it.
            moved: tokens that are another place's now, and so taken over, bool, (tokens,).
        Raises:
            TypeError: values that are no floating point numbers.
            ValueError: no tokens, a value that is not finite, or `moved` of another shape; nothing has changed.
        """
        if not values.is_floating_point():
            raise TypeError(f"tokens of {values.dtype}; give floating point numbers")
        if values.ndim == 0 or values.numel() == 0:
            raise ValueError(f"tokens of shape {tuple(values.shape)}; accepted: (tokens, ...), none of them 0")
        if moved is not None and (moved.shape != values.shape[:1] or moved.dtype != torch.bool):
            raise ValueError(
                f"moved is {moved.dtype} {tuple(moved.shape)}; accepted: bool, one for each of {len(values)} tokens"
            )
        if not bool(torch.isfinite(values).all()):
            raise ValueError("tokens hold a value that is not finite; the source keeps what it had")
        kept = self._kept.get(source)
        old = None if kept is None else kept.values
        alike = old is not None and (old.shape, old.dtype, old.device) == (values.shape, values.dtype, values.device)
        if kept is None or not alike or self.alpha == 1:
            self._kept[source] = kept if kept is not None and alike else _Kept(values)
            self._kept[source].values = values.clone()
            everything = torch.ones(len(values), dtype=values.dtype, device=values.device)
            return Accumulated(values.clone(), everything, everything.bool(), 0.0)
        step = values - kept.values
        size = step.flatten(1).float().square().mean(dim=1).sqrt() if step.ndim > 1 else step.float().abs()
        noise = self._noise_of(kept, values, size)
        share = self._share_of(size, noise)
        if moved is not None:
            share = torch.where(moved, 1.0, share)
        taken = share >= 1
        column = (len(values),) + (1,) * (values.ndim - 1)
        mixed = kept.values + share.to(values.dtype).view(column) * step
        # kept + 1 * (now - kept) need not be now
        kept.values = torch.where(taken.view(column), values, mixed)
        return Accumulated(kept.values.clone(), share, taken, noise)

    def _noise_of(self, kept: _Kept, values: torch.Tensor, size: torch.Tensor) -> float:
        """The noise, given or measured; a repeated frame measures nothing."""
        if self.noise is not None:
            return self.noise
        if self.takeover is None:
            return 0.0
        median = float(size.median())
        if float(size.max()) > 0:
            kept.calm.append(median)
        if not kept.calm:
            return 0.0
        return min(min(kept.calm), self.most_noise * float(values.float().std(correction=0)))

    def _share_of(self, size: torch.Tensor, noise: float) -> torch.Tensor:
        """Share of the new value in each token."""
        if self.takeover is None:
            return torch.full_like(size, self.alpha)
        beyond = (size - RESTING * noise) / max((self.takeover - RESTING) * noise, 1e-30)
        return self.alpha + (1 - self.alpha) * beyond.clamp(0, 1)
