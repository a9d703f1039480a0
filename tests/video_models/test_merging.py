"""Token merging: against a slow reference, and what holds for every merge."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from merging_reference import edges_across, edges_within, groups_of, means

from texvlm.encoders.untrained import untrained_vit
from texvlm.video_models.merge_map import MergeMap, chain
from texvlm.video_models.merging import match, match_frames, run_merged

FEW = settings(max_examples=40, deadline=None)


def numbers(seed: int, *shape: int) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).normal(size=shape)).float()


def as_groups(found: MergeMap, view: int) -> dict[int, list[int]]:
    groups = {int(head): [] for head in found.heads[view]}
    for token, group in enumerate(found.groups[view].tolist()):
        groups[int(found.heads[view, group])].append(token)
    return groups


@st.composite
def cases(draw):
    tokens = draw(st.integers(1, 14))
    prefix = draw(st.integers(0, min(2, tokens)))
    seed = draw(st.integers(0, 1000))
    protected = np.random.default_rng(seed + 1).random(tokens) < draw(st.sampled_from([0.0, 0.3]))
    return tokens, prefix, seed, protected


@FEW
@given(cases(), st.data())
def test_a_frame_is_merged_as_the_paper_says(case, data):
    tokens, prefix, seed, protected = case
    keys, sizes = numbers(seed, 1, tokens, 5), torch.from_numpy(np.random.default_rng(seed).integers(1, 9, (1, tokens)))
    edges = edges_within(keys[0].double().numpy(), prefix, protected)
    r = data.draw(st.integers(0, len(edges)))
    found = match(keys, r, prefix=prefix, protected=torch.from_numpy(protected)[None], sizes=sizes)
    wanted = groups_of(edges, r, tokens)
    assert as_groups(found, 0) == wanted
    exact = means(keys[0].double().numpy(), sizes[0].numpy(), wanted)
    np.testing.assert_allclose(found.merge(keys)[0].numpy(), exact, atol=1e-6)
    with pytest.raises(ValueError, match=f"at most {len(edges)} can be merged"):
        match(keys, len(edges) + 1, prefix=prefix, protected=torch.from_numpy(protected)[None])


@FEW
@given(st.integers(1, 4), st.integers(1, 6), st.integers(0, 1), st.integers(0, 999), st.booleans(), st.data())
def test_frames_are_merged_into_the_ones_before(frames, count, prefix, seed, hides, data):
    keys = numbers(seed, 1, frames, count, 4)
    protected = np.random.default_rng(seed).random(frames * count) < (0.3 if hides else 0)
    edges = edges_across(keys[0].flatten(0, 1).double().numpy(), frames, prefix, protected)
    r = data.draw(st.integers(0, len(edges)))
    mask = torch.from_numpy(protected).reshape(1, frames, count) if hides else None
    found = match_frames(keys, r, prefix=prefix, protected=mask)
    assert as_groups(found, 0) == groups_of(edges, r, frames * count)
    times = torch.arange(frames).repeat_interleave(count)[None]
    first, last = found.span(times)
    assert torch.equal(first, found.of_heads(times))  # content is merged into where it was first seen
    for group, members in enumerate(as_groups(found, 0).values()):
        assert int(last[0, group]) == max(int(times[0, member]) for member in members)
        assert sorted(int(times[0, member]) for member in members[:1]) == [int(first[0, group])]


@FEW
@given(cases(), st.integers(1, 3), st.data())
def test_every_token_is_in_exactly_one_group_whatever_is_done(case, steps, data):
    tokens, prefix, seed, _ = case
    values, done = numbers(seed, 2, tokens, 3), []
    now, sizes = values, None
    for _ in range(steps):
        most = (now.shape[1] - prefix) // 2
        step = match(now, data.draw(st.integers(0, most)), prefix=prefix, sizes=sizes)
        done.append(step)
        now, sizes = step.merge(now), step.sizes
    whole = chain(done)
    assert whole.count == now.shape[1]
    for view in range(2):
        members = [token for group in as_groups(whole, view).values() for token in group]
        assert sorted(members) == list(range(tokens))
        assert all(head in group for head, group in as_groups(whole, view).items())
    assert torch.equal(whole.sizes.sum(1), torch.full((2,), float(tokens)))
    assert torch.equal(whole.sizes, sizes)
    assert torch.equal(whole.heads[:, :prefix], torch.arange(prefix).expand(2, -1))
    assert whole.alone[:, :prefix].all()
    torch.testing.assert_close(whole.merge(values), now)  # one mean of all, or means of means
    back, alone = whole.unmerge(now), whole.alone.gather(1, whole.groups)
    assert torch.equal(back[alone], values[alone])
    torch.testing.assert_close(whole.merge(back), now)


def test_r_of_zero_is_the_identity_to_the_bit():
    values = numbers(3, 2, 7, 4)
    values[0, 0, 0] = -0.0
    found = match(values, 0)
    assert torch.equal(found.merge(values).view(torch.int32), values.view(torch.int32))
    assert torch.equal(found.unmerge(values), values)
    assert torch.equal(found.groups, MergeMap.identity(2, 7).groups)
    assert not found.bias().any()


def test_equal_tokens_are_decided_by_their_order():
    found = match(torch.ones(1, 9, 4), 3)
    assert found.groups.tolist() == [[0, 1, 1, 1, 2, 1, 3, 4, 5]]


def test_half_precision_merges_in_full_and_keeps_its_type():
    values = torch.full((1, 4097, 1), 1.0, dtype=torch.float16)
    found = MergeMap.of_parents(torch.zeros(1, 4097, dtype=torch.int64), depth=1, groups=1, weights=torch.ones(1, 4097))
    assert found.merge(values).dtype == torch.float16
    assert found.merge(values).item() == 1.0


def test_a_size_counts_like_so_many_tokens_in_attention():
    keys, values, query = numbers(1, 6, 4), numbers(2, 6, 3), numbers(3, 1, 4)
    found = MergeMap.of_parents(torch.tensor([[0, 1, 1, 1, 4, 4]]), depth=1, groups=3, weights=torch.ones(1, 6))
    same = found.unmerge(found.merge(keys[None]))[0], found.unmerge(found.merge(values[None]))[0]
    plain = torch.softmax(query @ same[0].T, -1) @ same[1]
    merged = found.merge(keys[None])[0], found.merge(values[None])[0]
    short = torch.softmax(query @ merged[0].T + found.bias()[0, 0], -1) @ merged[1]
    torch.testing.assert_close(short, plain)


def test_gradients_go_through_a_merge():
    values = numbers(4, 1, 8, 3).requires_grad_()
    found = match(values.detach(), 3)
    found.merge(values).sum().backward()
    assert (values.grad != 0).all()


def test_a_model_loses_tokens_block_by_block():
    encoder = untrained_vit(32, 3, 4, image=64)
    blocks = encoder.body.layers
    hidden = numbers(5, 2, 17, 32)
    with torch.no_grad():
        plain = hidden
        for block in blocks:
            plain = block(plain)
        same, identity = run_merged(blocks, hidden, r=0)
        assert torch.equal(same, plain)
        assert identity.count == 17
        fewer, found = run_merged(blocks, hidden, r=[4, 0, 3])
    assert fewer.shape == (2, 10, 32)
    assert (found.tokens, found.count) == (17, 10)
    assert torch.equal(found.sizes.sum(1), torch.full((2,), 17.0))
    assert not torch.equal(found.unmerge(fewer), plain)


@pytest.mark.parametrize(
    ("act", "says"),
    [
        (lambda: match(torch.ones(3, 4), 1), r"keys of shape \(3, 4\)"),
        (lambda: match(torch.ones(1, 4, 2), -1), "r is -1; it must be 0 or more"),
        (lambda: match(torch.ones(1, 4, 2), 1, prefix=5), "a prefix of 5 rows, of 4"),
        (lambda: match(torch.ones(1, 4, 2), 1, sizes=torch.ones(1, 3)), r"sizes of shape \(1, 3\); need \(1, 4\)"),
        (lambda: match_frames(torch.ones(1, 4, 2), 1), r"need \(views, frames, tokens, width\)"),
        (lambda: MergeMap.identity(1, 4).merge(torch.ones(1, 3, 2)), r"this map needs \(1, 4, ...\)"),
        (lambda: MergeMap.identity(1, 4).then(MergeMap.identity(1, 3)), "after one that leaves 1 x 4"),
        (lambda: chain([]), "no merges to chain"),
        (lambda: run_merged([torch.nn.Identity()], torch.ones(1, 4, 2), r=[1, 1]), "2 values of r for 1 blocks"),
    ],
)
def test_what_does_not_fit_is_refused(act, says):
    with pytest.raises(ValueError, match=says):
        act()


def test_whole_numbers_have_no_mean():
    with pytest.raises(TypeError, match="have no mean"):
        MergeMap.identity(1, 4).merge(torch.ones(1, 4, dtype=torch.int64))
