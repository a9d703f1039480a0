"""ReuseEncoder: an encoder over time, which encodes what changed and reuses the rest, within a bound.

batch -> which tokens are stale (pixels, age, turn) -> encode those, at a level -> Features + reports

reuse = ReuseEncoder(encoder, level="L2", rule=ChangeRule(threshold=1.0), gates=Threshold(0.1))
out = reuse(engine.tokens(gaze))        # out.features, as encoder(batch) gives; out.reports, one a view
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import cast, get_args

import torch

from texvlm.encoders.base import Encoded, Encoder
from texvlm.encoders.block_encoder import BlockEncoder
from texvlm.encoders.features import Features
from texvlm.encoders.geometry import Geometry
from texvlm.motion.field import MotionField
from texvlm.temporal.block_parts import FullFlops, parts_of
from texvlm.temporal.block_reuse import BlockReuse
from texvlm.temporal.change import ChangeRule
from texvlm.temporal.gates import GatePlan, Threshold
from texvlm.temporal.input_reuse import InputReuse
from texvlm.temporal.reports import Level, ReuseReport, TemporalFeatures
from texvlm.temporal.source_memory import SourceMemory, Verdict
from texvlm.tokens import TokenBatch


class ReuseEncoder:
    """An encoder that remembers, for each source, what it last made of every token.

    For every token that is reused: its pixels lie within `rule.threshold` of those that were encoded, and
    its age below `rule.max_age`. This bounds what goes in; what comes out is bounded by measuring it, see
    texvlm.temporal.TemporalEncoder. With a threshold of 0, in the rule and the gates, features are
    those of the full forward pass, to rounding.

    Args:
        encoder: what encodes; in eval mode. L2 and L3 need a BlockEncoder.
        level: L0 reuses nothing; L1 leaves unchanged tokens out of the model; L2 keeps the states of
            each block; L3 also follows tokens that moved, where motion is given.
        rule: which tokens are stale.
        gates: of L2 and L3: which rows each module computes again.
        context: of L1: unchanged tokens of a view, oldest first, that go in with the stale ones.
        tolerance: of L3: how far from a kept token its content may have moved, in sides.
        state_dtype: of L2's and L3's kept block states; the encoder's where None.

    Raises:
        ValueError: an unknown level, or negative numbers.
        ModelError: an encoder whose blocks cannot be taken apart, at L2 and L3.
    """

    def __init__(
        self,
        encoder: Encoder,
        *,
        level: Level = "L2",
        rule: ChangeRule | None = None,
        gates: GatePlan | None = None,
        context: int = 64,
        tolerance: float = 0.25,
        state_dtype: torch.dtype | None = None,
    ) -> None:
        if level not in get_args(Level):
            raise ValueError(f"level {level!r}; accepted: {', '.join(get_args(Level))}")
        if context < 0 or not 0 <= tolerance < 1:
            raise ValueError(f"context {context} and tolerance {tolerance}; accepted: 0 or more, and 0 up to 1")
        self._encoder = encoder
        self._level = level
        self.rule = rule or ChangeRule()
        self._context = context
        self._tolerance = tolerance
        self._memories: dict[int, SourceMemory] = {}
        self._full_flops = FullFlops(encoder)
        self._inputs = InputReuse(encoder) if level == "L1" else None
        self._blocks: BlockReuse | None = None
        if level in ("L2", "L3"):
            parts_of(encoder)
            gates = Threshold() if gates is None else gates
            if not (hasattr(gates, "select") or callable(gates)):
                raise TypeError(
                    f"gates are a {type(gates).__name__}; give a Gate, such as Threshold(0.1), or a GatePlan"
                )
            self._blocks = BlockReuse(cast(BlockEncoder, encoder), gates=gates, dtype=state_dtype)

    @property
    def encoder(self) -> Encoder:
        """What encodes."""
        return self._encoder

    @property
    def level(self) -> Level:
        """How much is reused."""
        return self._level

    @property
    def sources(self) -> frozenset[int]:
        """Sources that are remembered."""
        return frozenset(self._memories)

    def reset(self, source: int) -> None:
        """Forget a source, as after a cut: its next view is encoded whole. Others are untouched."""
        self._memories.pop(source, None)
        if self._inputs is not None:
            self._inputs.forget(source)
        if self._blocks is not None:
            self._blocks.forget(source)

    def state_bytes(self, source: int) -> int:
        """Bytes kept for a source; 0 for one that is not remembered."""
        memory = self._memories.get(source)
        if memory is None:
            return 0
        kept = 0 if self._inputs is None else self._inputs.bytes_of(source)
        return memory.nbytes + kept + (0 if self._blocks is None else self._blocks.bytes_of(source))

    @torch.inference_mode(mode=False)  # states outlive a caller's inference mode
    @torch.no_grad()
    def __call__(
        self,
        batch: TokenBatch,
        *,
        motion: Mapping[int, MotionField] | None = None,
        whole: Mapping[int, str] | Iterable[int] = (),
    ) -> TemporalFeatures:
        """Features of a batch, as the encoder gives them, and what they took.

        Args:
            batch: one view of each of some sources, in the order of time.
            motion: of L3: for some of the sources, backward flow to the frame of their last call.
            whole: sources that are encoded whole whatever changed, with the reason where a mapping is given.
        Raises:
            ValueError, TypeError: a batch that the encoder does not take, two views of one source, time
                that goes backwards, motion of another frame size: nothing is forgotten or learned.
            Exception: what the encoder raised: its sources start anew at their next call, others are untouched.
        """
        self._encoder.check(batch)
        sources = [int(source) for source in batch.sources]
        reasons = dict(whole) if isinstance(whole, Mapping) else dict.fromkeys(whole, "asked for")
        motion = {} if motion is None else motion
        self._check(batch, sources, motion)
        verdicts = [self._judge(batch, view, source, motion, reasons) for view, source in enumerate(sources)]
        geometry = Geometry.of(batch)
        try:
            encoded, verdicts, flops = self._encode(batch, geometry, sources, verdicts)
            features = Features.of(
                batch, encoded.tokens, padding=geometry.padding, prefix=encoded.prefix, pooled=encoded.pooled
            )
        except BaseException:
            for source in sources:
                self.reset(source)
            raise
        for view, (source, verdict) in enumerate(zip(sources, verdicts, strict=True)):
            size = (int(batch.sizes[view, 0]), int(batch.sizes[view, 1]))
            self._memories[source].commit(verdict, batch.pixels[view], batch.table[view], size, float(batch.pts[view]))
        return TemporalFeatures(features, self._reports(geometry, sources, verdicts, flops))

    def _check(self, batch: TokenBatch, sources: list[int], motion: Mapping[int, MotionField]) -> None:
        if len(set(sources)) != len(sources):
            raise ValueError(f"views of sources {sources}; accepted: one view of each source in a call")
        for view, source in enumerate(sources):
            size = (int(batch.sizes[view, 0]), int(batch.sizes[view, 1]))
            if source in motion:
                if not isinstance(motion[source], MotionField):
                    raise TypeError(
                        f"motion of source {source} is a {type(motion[source]).__name__}; give a MotionField"
                    )
                if self._level != "L3":
                    raise ValueError(f"motion of source {source} at level {self._level}; only L3 follows motion")
                motion[source].check_frame(size)
            memory = self._memories.get(source)
            if memory is not None:
                memory.check_time(float(batch.pts[view]), source)

    def _judge(
        self,
        batch: TokenBatch,
        view: int,
        source: int,
        motion: Mapping[int, MotionField],
        reasons: Mapping[int, str],
    ) -> Verdict:
        """What is stale in one view. A source that is new, or of another kind of tokens, gets a memory."""
        memory = self._memories.get(source)
        if memory is None or not memory.fits(batch.pixels[view]):
            self.reset(source)
            memory = self._memories[source] = SourceMemory(batch.pixels[view])
        kept: frozenset[int] = frozenset() if self._blocks is None else self._blocks.sources
        why = (reasons[source] or "asked for") if source in reasons else ""
        if self._blocks is not None and source not in kept:
            why = why or "first frame"
        if self._level == "L0":
            why = why or "level L0"
        return memory.judge(
            batch.pixels[view],
            batch.table[view],
            (int(batch.sizes[view, 0]), int(batch.sizes[view, 1])),
            self.rule,
            pts=float(batch.pts[view]),
            std=self._encoder.std,
            motion=motion.get(source),
            tolerance=self._tolerance,
            everything=why,
        )

    def _encode(
        self, batch: TokenBatch, geometry: Geometry, sources: list[int], verdicts: list[Verdict]
    ) -> tuple[Encoded, list[Verdict], list[torch.Tensor | int]]:
        """At the level of this encoder; and the verdicts, with what else went in."""
        if self._blocks is not None:
            run = self._blocks.encode(batch.pixels, geometry, sources, verdicts)
            return run.encoded, verdicts, list(run.flops)
        if self._inputs is not None:
            verdicts = [self._with_context(verdict) for verdict in verdicts]
            taken = [verdict.stale for verdict in verdicts]
            orders = [verdict.order for verdict in verdicts]
            encoded = self._inputs.encode(batch.pixels, geometry, sources, taken, orders)
        else:
            encoded = self._encoder.encode(batch.pixels, geometry)
        return encoded, verdicts, [self._full_flops(int(verdict.stale.sum())) for verdict in verdicts]

    def _with_context(self, verdict: Verdict) -> Verdict:
        """The oldest of the reused tokens go in as well, where anything does."""
        idle = int((verdict.ages > 0).sum())
        if not self._context or not idle or not bool(verdict.stale.any()):
            return verdict
        oldest = verdict.ages.topk(min(self._context, idle)).indices
        stale = verdict.stale.clone()
        stale[oldest] = True
        return replace(
            verdict,
            stale=stale,
            change=verdict.change.masked_fill(stale, 0),
            ages=verdict.ages.masked_fill(stale, 0),
            moved=verdict.moved & ~stale,
        )

    def _reports(
        self, geometry: Geometry, sources: list[int], verdicts: list[Verdict], flops: list[torch.Tensor | int]
    ) -> tuple[ReuseReport, ...]:
        counts = (~geometry.padding).sum(dim=1).tolist()
        made = []
        for source, verdict, count, took in zip(sources, verdicts, counts, flops, strict=True):
            made.append(
                ReuseReport(
                    source=source,
                    level="L0" if verdict.whole else self._level,
                    reason=verdict.reason,
                    tokens=int(count),
                    encoded=verdict.stale,
                    ages=verdict.ages,
                    deviation=verdict.change,
                    moved=verdict.moved,
                    flops_full=self._full_flops(int(count)),
                    _flops=took,
                )
            )
        return tuple(made)
