"""A head for many sources: each has a state of its own, whatever the others do."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from texvlm.encoders import Features
from texvlm.layouts.table import PADDING_LAYER, TABLE_FIELDS, TOKEN_RECORD
from texvlm.video_models import RecurrentHead, SourceHead, TemporalHead

WIDTH, TOKENS = 8, 5


@pytest.fixture
def head() -> TemporalHead:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        found = RecurrentHead(WIDTH, hidden=6)
        for parameter in found.parameters():
            parameter.data += 0.3 * torch.randn_like(parameter)
    return found


def seen(*sources: int, time: float, tokens: int = TOKENS, prefix: int = 1) -> Features:
    """Features of one frame of each source; what a source shows depends on nothing but it and the time."""
    made = []
    for source in sources:
        generator = torch.Generator().manual_seed(1000 * source + int(10 * time))
        made.append(torch.randn(prefix + tokens, WIDTH, generator=generator))
    rows = np.zeros((len(sources), tokens), TOKEN_RECORD)
    rows["x"], rows["side"], rows["valid"] = np.arange(tokens) * 16 + 8, 16, 1
    states = torch.stack(made)
    return Features(
        tokens=states[:, prefix:],
        padding=torch.zeros(len(sources), tokens, dtype=torch.bool),
        prefix=states[:, :prefix],
        pooled=states[:, 0] if prefix else None,
        regions=None,
        rows=rows,
        sizes=np.full((len(sources), 2), 80, np.int32),
        sources=np.array(sources, np.int32),
        pts=np.full(len(sources), time),
    )


def alone(head: TemporalHead, source: int, times: list[float]) -> list[torch.Tensor]:
    """What a source gets that nobody shares the head with: class token and tokens of each frame."""
    frames = [seen(source, time=time) for time in times]
    clip = torch.stack([torch.cat([f.prefix, f.tokens], 1) for f in frames], dim=1)
    with torch.no_grad():
        return list(head(clip)[0])


def rows_of(features: Features, view: int) -> torch.Tensor:
    return torch.cat([features.prefix[view], features.tokens[view]])


def test_sources_join_leave_and_stall_without_the_others_noticing(head):
    runner = SourceHead(head)
    batches = [(0,), (0, 1), (1, 0), (2, 0), (0, 1, 2), (1,), (1, 0)]
    left_at = {2: 5}  # source 2 leaves after the fifth
    found: dict[int, list[torch.Tensor]] = {0: [], 1: [], 2: []}
    times: dict[int, list[float]] = {0: [], 1: [], 2: []}
    for number, sources in enumerate(batches):
        result = runner(seen(*sources, time=number / 10))
        for view, source in enumerate(sources):
            found[source].append(rows_of(result, view))
            times[source].append(number / 10)
        for source, at in left_at.items():
            if at == number:
                runner.reset(source)
    for source in (0, 1, 2):
        for got, wanted in zip(found[source], alone(head, source, times[source]), strict=True):
            torch.testing.assert_close(got, wanted)
    assert runner.sources == [0, 1]
    assert runner.state_bytes(2) == 0
    # a state of 6 numbers and, of each token, a place of 3
    assert runner.state_bytes(0) == 4 * (6 * (1 + TOKENS) + 3 * TOKENS)


def test_a_cut_and_a_reset_are_the_same(head):
    cut, fresh = SourceHead(head), SourceHead(head)
    for runner in (cut, fresh):
        runner(seen(0, 1, time=0.0))
    fresh.reset(0)
    a, b = cut(seen(0, 1, time=0.1), cuts=[True, False]), fresh(seen(0, 1, time=0.1))
    assert torch.equal(a.tokens, b.tokens)
    torch.testing.assert_close(rows_of(a, 0), alone(head, 0, [0.1])[0])


def test_a_token_that_moved_starts_anew_and_another_count_starts_all(head):
    runner = SourceHead(head)
    runner(seen(0, time=0.0))
    moved = seen(0, time=0.1)
    rows = moved.rows.copy()
    rows["x"][0, 2] += 1
    result = rows_of(runner(replace(moved, rows=rows)), 0)
    stayed, new = alone(head, 0, [0.0, 0.1])[1], alone(head, 0, [0.1])[0]
    torch.testing.assert_close(result[3], new[3])
    torch.testing.assert_close(result[[0, 1, 2, 4, 5]], stayed[[0, 1, 2, 4, 5]])
    more = runner(seen(0, time=0.2, tokens=7))
    assert more.tokens.shape == (1, 7, WIDTH)


def test_rows_of_a_device_count_as_those_of_the_host(head):
    results = []
    for on_device in (False, True):
        runner = SourceHead(head)
        for time in (0.0, 0.1):
            features = seen(0, time=time)
            if on_device:
                bits = torch.from_numpy(features.rows.view(np.int32).reshape(1, TOKENS, len(TABLE_FIELDS)))
                features = replace(features, rows=bits)
            result = runner(features)
        results.append(result.tokens)
    assert torch.equal(*results)


def test_padding_is_left_alone(head):
    features = seen(0, time=0.0)
    features.rows["layer"][0, 3] = PADDING_LAYER
    features.tokens[0, 3] = 0
    found = SourceHead(head)(features)
    assert not found.tokens[0, 3].any()
    assert (found.tokens[0, 2] != features.tokens[0, 2]).any()


def test_the_answer_is_made_of_the_corrected_class_token(head):
    features = seen(0, time=0.0)
    assert SourceHead(head)(features).pooled is None
    found = SourceHead(head, pool=lambda states: states * 2)(features)
    assert torch.equal(found.pooled, found.prefix[:, 0] * 2)
    assert SourceHead(head, pool=lambda states: states)(seen(0, time=0.0, prefix=0)).pooled is None


@pytest.mark.parametrize(
    ("features", "options", "says"),
    [
        (lambda: seen(1, 1, time=0.3), {}, "one view of a source"),
        (lambda: seen(1, 0, time=0.1), {}, r"source 1 goes back from 0.2 s to 0.1 s; reset\(1\) first"),
        (lambda: seen(0, 1, time=0.3), {"cuts": [True]}, "1 cuts for 2 views"),
        (lambda: seen(0, 1, time=0.3), {"ages": torch.zeros(2, 4)}, "ages of shape"),
    ],
)
def test_what_does_not_fit_is_refused_and_changes_nothing(head, features, options, says):
    runner = SourceHead(head)
    runner(seen(0, time=0.0))
    runner(seen(1, time=0.2))
    with pytest.raises(ValueError, match=says):
        runner(features(), **options)
    for source, times in ((0, [0.0, 0.4]), (1, [0.2, 0.4])):
        torch.testing.assert_close(rows_of(runner(seen(source, time=0.4)), 0), alone(head, source, times)[1])


def test_time_may_be_unknown_and_frames_repeated(head):
    runner = SourceHead(head)
    runner(seen(0, time=0.5))
    runner(seen(0, time=0.5))
    runner(replace(seen(0, time=0.6), pts=np.array([np.nan])))
    with pytest.raises(ValueError, match=r"goes back from 0\.5 s"):
        runner(seen(0, time=0.1))
