"""A machine whose frames take simulated milliseconds: no clock is read, every run is the same."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from texvlm.budget import LatencyController


@dataclass
class Machine:
    """Time of a frame: (fixed + linear * n + quadratic * n^2) * slowdown, some noise, now and then a hiccup.

    `delay` frames are under way at any time: what is reported belongs to an older number of tokens.
    """

    fixed_ms: float = 2.0
    linear_ms: float = 0.05
    quadratic_ms: float = 0.0
    noise: float = 0.03
    hiccup_every: int = 0
    slowdown: float = 1.0
    delay: int = 0
    seed: int = 0
    _rng: np.random.Generator = field(init=False)
    _queue: list[int] = field(default_factory=list, init=False)
    _frames: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        self._rng = np.random.default_rng(self.seed)

    def mean_ms(self, tokens: int) -> float:
        """What a frame of so many tokens takes, without noise."""
        return (self.fixed_ms + self.linear_ms * tokens + self.quadratic_ms * tokens**2) * self.slowdown

    def run(self, tokens: int) -> float:
        """The time reported when a frame of so many tokens is handed in."""
        self._queue.append(tokens)
        done = self._queue.pop(0) if len(self._queue) > self.delay else self._queue[0]
        self._frames += 1
        spent = self.mean_ms(done) * (1 + self.noise * self._rng.uniform(-1, 1))
        return spent * 6 if self.hiccup_every and self._frames % self.hiccup_every == 0 else spent


def drive(controller: LatencyController, machine: Machine, frames: int) -> list[int]:
    """Tokens of each of so many frames."""
    used = []
    for _ in range(frames):
        used.append(controller.tokens)
        controller.observe(machine.run(controller.tokens))
    return used
