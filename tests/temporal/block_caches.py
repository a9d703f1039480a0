"""Both block caches, what they keep, and random histories of sources for them to live through."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import torch

from texvlm.encoders import Encoder
from texvlm.temporal.block_cache import BlockCache
from texvlm.temporal.block_parts import parts_of
from texvlm.temporal.compiled_cache import CompiledBlockCache, can_compile
from texvlm.temporal.gates import Fraction, Gate, Given, Site, Threshold, TopK

Cache = BlockCache | CompiledBlockCache
SITES: tuple[Site, ...] = ("attention", "projection", "mlp")


def cache_of(encoder: Encoder, *, rows: int, slots: int = 1, dtype=torch.float32, compiled: bool = True) -> Cache:
    """The compiled cache, where it can be had."""
    parts, cpu = parts_of(encoder), torch.device("cpu")
    compiled = compiled and can_compile(parts, dtypes={dtype, encoder.dtype}, device=cpu)
    cache = (
        CompiledBlockCache(parts, rows=rows, width=encoder.width)
        if compiled
        else BlockCache(parts, rows=rows, width=encoder.width, dtype=dtype, device=cpu)
    )
    cache.reserve(slots)
    return cache


def kept(cache: Cache, block: int, name: str) -> torch.Tensor:
    """What is kept of one block, (slots, rows, width)."""
    if isinstance(cache, BlockCache):
        return cache._kept[block][name]
    states = ("query", "key", "value")
    return cache._attention[block].states[:, states.index(name)] if name in states else cache._kept[name][block]


class Call(NamedTuple):
    """Arguments of one `run`, and the slots that are forgotten before."""

    forgotten: list[int]
    hidden: torch.Tensor
    slots: list[int]
    gates: Callable[[int, Site], Gate]
    options: dict[str, Any]


class History:
    """Calls of a few sources that come and go, drift and jump, with padding and gates that change.

    Rows are marked as `changed` that did not, and some calls mark none. Rows that come back from padding hold
    something else and are forced, as are those of a source that is new.
    """

    def __init__(self, seed: int, *, rows: int, width: int, blocks: int, slots: int = 4):
        self.random = np.random.default_rng(seed)
        self.rows, self.width, self.blocks, self.slots = rows, width, blocks, slots
        self.turned = self.random.random() < 0.2
        self.hidden = self.normal(slots)
        self.hide = np.zeros((slots, rows), bool)
        self.known = np.zeros(slots, bool)

    def __call__(self, steps: int) -> Iterator[Call]:
        """So many calls."""
        random = self.random
        for _ in range(steps):
            slots = random.permutation(self.slots)[: random.choice([1, 1, 2, 3])].tolist()
            forgotten = np.flatnonzero(random.random(self.slots) < 0.03).tolist()
            self.known[forgotten] = False
            steps_taken = zip(*(self.step(slot) for slot in slots), strict=True)
            hidden, hide, forced, changed = (torch.from_numpy(np.stack(part)) for part in steps_taken)
            options: dict[str, Any] = {"forced": forced, "changed": changed if random.random() < 0.85 else None}
            if hide.any() or random.random() < 0.2:
                options["padding"] = hide
            if self.turned:
                angles = torch.from_numpy(self.normal(len(slots))[:, None, 1:, : self.width // 4]).repeat(1, 1, 1, 2)
                options["rotations"] = (angles.cos(), angles.sin())
            yield Call(forgotten, hidden, slots, self.plan(len(slots)), options)

    def normal(self, views):
        return self.random.standard_normal((views, self.rows, self.width)).astype(np.float32)

    def some(self, *shares):
        """Rows, each with one of these probabilities."""
        return self.random.random(self.rows) < self.random.choice(shares)

    def step(self, slot):
        """Rows, padding, forced and changed of a source's next call."""
        random, before, hidden_before = self.random, self.hidden[slot].copy(), self.hide[slot].copy()
        moving = self.some(0, 0.04, 0.04, 0.15, 0.6)[:, None]
        strength = np.float32(random.choice([0.003, 0.05, 0.5, 3.0]))
        now = np.where(moving, before + strength * self.normal(1)[0], before)
        if random.random() < 0.2:
            self.hide[slot] = self.some(0, 0.1, 0.5)
        back = hidden_before & ~self.hide[slot]
        now[back] = self.normal(1)[0, back]
        forced = back | self.some(0, 0, 0.05) | ~self.known[slot]
        forced[0] |= random.random() < 0.7
        changed = (now != before).any(axis=1) | self.some(0, 0.1)
        self.hidden[slot], self.known[slot] = now, True
        return now, self.hide[slot].copy(), forced, changed

    def gate(self, views):
        random = self.random
        kind = random.choice(["threshold"] * 5 + ["top", "fraction", "given"])
        if kind == "threshold":
            return Threshold(float(random.choice([0.0, 0.02, 0.1, 0.25, 0.6])))
        if kind == "top":
            return TopK(int(random.integers(1, self.rows)))
        if kind == "fraction":
            return Fraction(float(random.uniform(0.05, 1)))
        return Given(torch.from_numpy(np.stack([self.some(0, 0.05, 0.4) for _ in range(views)])))

    def plan(self, views):
        """One gate for all places, or one for each."""
        one = self.gate(views)
        if self.random.random() < 0.7:
            return lambda block, site: one
        gates = {(block, site): self.gate(views) for block in range(self.blocks) for site in SITES}
        return lambda block, site: gates[block, site]


class Watching:
    """A plan that notes whether some row came so near to a limit that rounding could decide who passes."""

    def __init__(self, plan: Callable[[int, Site], Gate], *, near: float = 1e-3):
        self.plan, self.near, self.close = plan, near, False

    def __call__(self, block: int, site: Site) -> Gate:
        """See GatePlan."""
        return _Watched(self, self.plan(block, site))


class _Watched:
    def __init__(self, watching: Watching, gate: Gate):
        self.watching, self.gate = watching, gate

    def select(self, change):
        gate, near = self.gate, self.watching.near
        if isinstance(gate, Threshold) and gate.share:
            self.watching.close |= bool(((change - gate.share).abs() < near * gate.share).any())
        if isinstance(gate, TopK | Fraction):
            ranked = change.sort(dim=-1, descending=True).values
            rows = ranked.shape[-1]
            count = gate.rows if isinstance(gate, TopK) else max(round(gate.share * rows), 1)
            last, first = ranked[:, count - 1], ranked[:, min(count, rows - 1)]
            # of rows that did not move it does not matter who is taken
            self.watching.close |= bool(((last - first < near * last) & (last > 1e-4) & last.isfinite()).any())
        return gate.select(change)
