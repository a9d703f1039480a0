"""ReuseEncoder: work that is counted, memory that is told, and trouble that stays where it arose."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from typing import get_args

import numpy as np
import pytest
import torch
from reuse_scenes import assert_equal, look, painted, picture, small_vit, uniform
from torch import nn

from texvlm.temporal.block_parts import FullFlops, parts_of
from texvlm.temporal.gates import Fraction, Threshold, TopK
from texvlm.temporal.reports import Level
from texvlm.temporal.reuse import ReuseEncoder

SIZE, PATCH = (24, 24), 4
GRID = uniform(SIZE, patch=PATCH, rows=38)
LEVELS: tuple[Level, ...] = get_args(Level)
KEEPING: tuple[Level, ...] = ("L1", "L2", "L3")


@pytest.fixture(scope="module")
def encoder():
    return small_vit()


class Calls:
    """Calls of modules that compute, and rows times entries of every linear layer."""

    def __init__(self, encoder):
        self.modules = 0
        self.flops = 0
        self._hooks = [
            module.register_forward_hook(self._count) for module in encoder.modules() if module is not encoder
        ]

    def _count(self, module, inputs, found):
        self.modules += 1
        if isinstance(module, nn.Linear):
            self.flops += 2 * inputs[0].numel() // inputs[0].shape[-1] * module.weight.numel()
        if isinstance(module, nn.Conv2d):
            self.flops += 2 * found.numel() // found.shape[1] * module.weight.numel()

    def take(self):
        found = (self.modules, self.flops)
        self.modules = self.flops = 0
        return found

    def close(self):
        for hook in self._hooks:
            hook.remove()


@pytest.fixture
def calls(encoder) -> Iterator[Calls]:
    found = Calls(encoder)
    yield found
    found.close()


# ---------------------------------------------------------------------- work


@pytest.mark.parametrize("level", KEEPING)
def test_an_unchanged_frame_runs_no_module(encoder, calls, level):
    reuse = ReuseEncoder(encoder, level=level)
    frames = [picture(SIZE, seed) for seed in (1, 2)]
    first = reuse(look(encoder, *frames))
    assert calls.take()[0] > 0
    again = reuse(look(encoder, *frames))
    assert calls.take() == (0, 0)
    assert_equal(again, first.features, bound=0)
    for report in again.reports:
        assert (report.reason, report.tokens_encoded, report.flops, report.oldest) == ("nothing changed", 0, 0, 1)
        assert report.level == level
    # of two sources one changed: the other's answer stays what it was, to the bit
    mixed = reuse(look(encoder, painted(frames[0], (4, 4), 8, 5), frames[1]))
    assert calls.take()[0] > 0
    assert torch.equal(mixed.features.tokens[1], first.features.tokens[1])
    assert torch.equal(mixed.features.prefix[1], first.features.prefix[1])
    assert [report.tokens_encoded > 0 for report in mixed.reports] == [True, False]
    assert mixed.reports[1].flops == 0


@pytest.mark.parametrize("gates", [Threshold(0), Threshold(0.2), TopK(5), Fraction(0.3)])
def test_operations_are_those_that_the_modules_did(encoder, calls, gates):
    """All but the products inside attention, which no hook sees: whole pairs of query and key, and not too many."""
    reuse = ReuseEncoder(encoder, level="L2", gates=gates)
    frames = [picture(SIZE, seed) for seed in (1, 2, 3)]
    for step in range(4):
        frames = [painted(frame, (4 * step, 4), 9, step) if step else frame for frame in frames]
        frames[1] = picture(SIZE, 2)
        found = reuse(look(encoder, *frames))
        _, counted = calls.take()
        told = sum(report.flops for report in found.reports)
        inside = told - counted
        rows = encoder.prefix_tokens + len(GRID)
        assert inside >= 0
        assert inside % (4 * encoder.width) == 0  # pairs of query and key
        assert inside <= 3 * len(encoder.blocks) * 2 * 4 * encoder.width * rows**2
        if step == 0:
            assert inside == 3 * len(encoder.blocks) * 4 * encoder.width * rows**2


def test_a_whole_frame_takes_what_is_told_of_one(encoder):
    table = uniform(SIZE, patch=PATCH)
    for level in LEVELS:
        report = ReuseEncoder(encoder, level=level)(look(encoder, picture(SIZE, 1), table=table)).reports[0]
        assert report.flops == report.flops_full == FullFlops(encoder)(36)
        assert report.level == "L0"
        assert report.tokens == report.tokens_encoded == 36
        assert "encoded=36/36" in repr(report)


def test_what_costs_follows_what_changes(encoder):
    """No timing: operations, of a few tokens and of many."""
    frame = picture(SIZE, 1)
    took = []
    for side in (4, 8, 16, 24):
        reuse = ReuseEncoder(encoder, level="L2", gates=Threshold(0.3))
        reuse(look(encoder, frame))
        report = reuse(look(encoder, painted(frame, (0, 0), side, 9))).reports[0]
        assert report.tokens_encoded == (side // 4) ** 2
        took.append(report.flops / report.flops_full)
    assert took == sorted(took)
    assert took[0] < 0.6


def test_level_one_puts_the_oldest_in_with_those_that_changed(encoder, calls):
    reuse = ReuseEncoder(encoder, level="L1", context=5)
    frame = picture(SIZE, 1)
    reuse(look(encoder, frame))
    calls.take()
    turns = torch.zeros(len(GRID), dtype=torch.int64)
    for step in range(1, 8):
        frame = painted(frame, (0, 0), 4, step)
        report = reuse(look(encoder, frame)).reports[0]
        assert report.tokens_encoded == 6
        assert report.flops == FullFlops(encoder)(6)
        turns += report.encoded
    assert turns[0] == 7
    assert turns[1:36].tolist() == [1] * 35  # each came once, in 7 frames of 5
    assert report.oldest <= 7


# ---------------------------------------------------------------------- memory


def allocated(thing: object) -> int:
    """Bytes of all tensors and arrays that can be reached from it, but for the encoder's."""
    found, seen, waiting = 0, set(), [thing]
    while waiting:
        one = waiting.pop()
        if id(one) in seen or isinstance(one, type | nn.Module) or type(one).__name__ in ("module", "function"):
            continue
        seen.add(id(one))
        if isinstance(one, torch.Tensor | np.ndarray):
            found += one.nbytes
        elif type(one).__module__.startswith(("texvlm.temporal", "builtins")):
            waiting += gc.get_referents(one)
    return found


@pytest.mark.parametrize("level", LEVELS)
def test_bytes_that_are_told_are_those_allocated(encoder, level):
    reuse = ReuseEncoder(encoder, level=level)
    frames = [picture(SIZE, seed) for seed in range(3)]
    reuse(look(encoder, *frames))
    told = [reuse.state_bytes(source) for source in range(3)]
    assert told[0] == told[1] == told[2] > 0
    assert sum(told) == allocated(reuse)
    for step in range(12):
        reuse(look(encoder, *(painted(frame, (step, step), 6, step) for frame in frames)))
        for source in range(3):
            reuse.reset(source)
            assert reuse.state_bytes(source) == 0
        assert reuse.sources == frozenset()
    reuse(look(encoder, *frames))
    assert sum(told) == allocated(reuse)


def test_a_source_of_a_large_model_takes_under_four_megabytes_at_level_one(encoder):
    """Shapes of a ViT-B over 268 tokens of bytes: a model that only has the shapes stands in."""
    wide = small_vit(blocks=1, patch=16, width=768, image_size=96, num_attention_heads=12, intermediate_size=8)
    table = uniform((268 * 16, 16), patch=16)
    reuse = ReuseEncoder(wide, level="L1")
    reuse(look(wide, picture((268 * 16, 16), 1, dtype=np.uint8), table=table))
    assert 268 * 768 * 4 < reuse.state_bytes(0) < 4e6


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_states_of_half_precision_are_half_as_large_and_nearly_as_good(encoder, dtype):
    sizes, frame = {}, picture(SIZE, 1)
    for kept in (None, dtype):
        reuse = ReuseEncoder(encoder, level="L2", gates=Threshold(0), state_dtype=kept)
        for step in range(4):
            now = painted(frame, (4 * step, 4), 6, step)
            found, expected = reuse(look(encoder, now)).features, encoder(look(encoder, now))
            assert found.tokens.dtype == torch.float32
            cosine = torch.cosine_similarity(found.tokens[0, :36], expected.tokens[0, :36], dim=-1)
            assert cosine.min() > 0.999
        sizes[kept] = reuse.state_bytes(0)
    rows = len(GRID) + 1
    blocks = len(encoder.blocks) * 8 * rows * encoder.width
    # sums of attention are kept with states of float32 alone
    sums = len(encoder.blocks) * 4 * rows * (3 * parts_of(encoder)[0].heads + encoder.width)
    assert blocks * 2 <= sizes[None] - sizes[dtype] <= blocks * 2 + sums


def test_sources_of_other_token_counts_share_an_encoder(encoder, calls):
    """Nobody loses anything when somebody else has more tokens, and room that nobody uses is given back."""
    reuse = ReuseEncoder(encoder, level="L2")
    few, many = uniform((16, 16), patch=PATCH), GRID
    frame = picture(SIZE, 1)
    for step in range(3):
        first, second = look(encoder, frame), look(encoder, frame[:16, :16], first=1, table=few)
        reports = [reuse(batch).reports[0] for batch in (first, second)]
        assert {report.reason for report in reports} == ({"nothing changed"} if step else {"first frame"})
    calls.take()
    before = allocated(reuse)
    # source 1 grows, then shrinks: it is new each time, source 0 is not
    for table, size in ((many, 24), (few, 16), (many, 24), (few, 16)):
        assert reuse(look(encoder, frame[:size, :size], first=1, table=table)).reports[0].reason == "first frame"
        assert reuse(look(encoder, frame)).reports[0].reason == "nothing changed"
    reuse.reset(0)
    reuse(look(encoder, frame, first=5, table=uniform(SIZE, patch=PATCH, rows=37)))
    assert allocated(reuse) < 2 * before


# ---------------------------------------------------------------------- being asked


def test_sources_are_encoded_whole_when_asked(encoder):
    reuse = ReuseEncoder(encoder, level="L2")
    frames = [picture(SIZE, seed) for seed in range(3)]
    reuse(look(encoder, *frames))
    found = reuse(look(encoder, *frames), whole={0: "cut", 2: ""})
    assert [report.reason for report in found.reports] == ["cut", "nothing changed", "asked for"]
    assert [report.level for report in found.reports] == ["L0", "L2", "L0"]
    assert [report.tokens_encoded for report in found.reports] == [36, 0, 36]
    found = reuse(look(encoder, *frames), whole=[1])
    assert [report.reason for report in found.reports] == ["nothing changed", "asked for", "nothing changed"]
    found = reuse(look(encoder, *frames), whole={0: "change"})
    assert found.reports[0].level == "L0"
    reuse.reset(1)
    reuse.reset(77)
    assert reuse.sources == {0, 2}
    assert [report.reason for report in reuse(look(encoder, *frames)).reports] == [
        "nothing changed",
        "first frame",
        "nothing changed",
    ]
