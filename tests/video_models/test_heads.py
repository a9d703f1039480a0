"""Heads over time: the identity before training, causal, forgetful where they must be, and they learn."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from texvlm.video_models import FrameAggregation, RecurrentHead, ShiftHead, TemporalHead
from texvlm.video_models.training import fit

WIDTH = 16
HEADS: dict[str, Callable[[], TemporalHead]] = {
    "aggregation": lambda: FrameAggregation(WIDTH, frames=3, heads=2, keys=4),
    "recurrent": lambda: RecurrentHead(WIDTH, hidden=12),
    "shift": lambda: ShiftHead(WIDTH, blocks=2, hidden=24, part=4),
}
each_head = pytest.mark.parametrize("kind", HEADS)


def numbers(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def made(kind: str, *, trained: bool = False, seed: int = 0) -> TemporalHead:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        head = HEADS[kind]()
        if trained:
            for parameter in head.parameters():
                parameter.data += 0.3 * torch.randn_like(parameter)
    return head


def bits(values: torch.Tensor) -> torch.Tensor:
    return values.view(torch.int32 if values.dtype == torch.float32 else torch.int16)


@each_head
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@given(seed=st.integers(0, 99), scale=st.sampled_from([1e-20, 1.0, 300.0]))
@settings(max_examples=10, deadline=None)
def test_an_untrained_head_changes_no_bit(kind, dtype, seed, scale):
    clip = (numbers(2, 4, 5, WIDTH, seed=seed) * scale).to(dtype)
    clip[0, :, 0, :3] = torch.tensor([0.0, -0.0, 1.0])
    cuts = torch.tensor([[False, False, True, False], [False] * 4])
    ages = torch.randint(0, 50, (2, 4, 5), generator=torch.Generator().manual_seed(seed))
    found = made(kind, seed=seed)(clip, cuts=cuts, ages=ages)
    assert found.dtype == dtype
    assert torch.equal(bits(found), bits(clip))


@each_head
def test_a_head_sees_the_past_and_never_the_future(kind):
    head, clip = made(kind, trained=True), numbers(1, 6, 4, WIDTH)
    with torch.no_grad():
        whole = head(clip)
        other = clip.clone()
        other[:, 3] += numbers(1, 4, WIDTH, seed=9)
        changed = head(other)
    assert torch.equal(whole[:, :3], changed[:, :3])
    assert (whole[:, 4] != changed[:, 4]).any(dim=-1).all()
    assert not torch.equal(whole, clip)


@each_head
def test_tokens_and_views_do_not_meet(kind):
    head, clip = made(kind, trained=True), numbers(2, 4, 3, WIDTH)
    with torch.no_grad():
        whole = head(clip)
        for view in range(2):
            torch.testing.assert_close(head(clip[view : view + 1])[0], whole[view])
        order = torch.tensor([2, 0, 1])
        torch.testing.assert_close(head(clip[:, :, order]), whole[:, :, order])


@each_head
def test_behind_a_cut_nothing_of_the_past_is_left(kind):
    head, clip = made(kind, trained=True), numbers(2, 6, 3, WIDTH)
    cuts = torch.zeros(2, 6, dtype=torch.bool)
    cuts[0, 2] = True
    with torch.no_grad():
        whole = head(clip, cuts=cuts)
        torch.testing.assert_close(whole[0, 2:], head(clip[:1, 2:])[0])
        torch.testing.assert_close(whole[1], head(clip[1:])[0])


@each_head
def test_a_token_in_a_new_place_starts_anew_alone(kind):
    head, first, second = made(kind, trained=True), numbers(1, 3, WIDTH), numbers(1, 3, WIDTH, seed=1)
    with torch.no_grad():
        _, state = head.step(first)
        kept = tuple(part.clone() for part in state)
        found, _ = head.step(second, state, fresh=torch.tensor([[False, True, False]]))
        assert all(torch.equal(part, before) for part, before in zip(state, kept, strict=True))
        alone, _ = head.step(second)
        seen, _ = head.step(second, state)
    torch.testing.assert_close(found[0, 1], alone[0, 1])
    torch.testing.assert_close(found[0, [0, 2]], seen[0, [0, 2]])
    assert not torch.allclose(seen[0, 1], alone[0, 1])


def test_weights_of_frames_sum_to_one_and_missing_ones_have_none():
    head = made("aggregation", trained=True)
    tokens, ages = numbers(2, 3, WIDTH), torch.zeros(2, 3)
    with torch.no_grad():
        state = head.begin(2, 3)
        for there in (1, 2, 3, 3):
            weights = head.weights(tokens, state, ages)
            torch.testing.assert_close(weights.sum(-1), torch.ones(2, 3, 2))
            assert (weights[..., :there] > 0).all()
            assert not weights[..., there:].any()
            _, state = head.step(tokens, state)


@pytest.mark.parametrize("kind", ["aggregation", "recurrent"])
def test_how_old_a_token_is_matters(kind):
    head, tokens = made(kind, trained=True), numbers(1, 3, WIDTH)
    with torch.no_grad():
        _, state = head.step(numbers(1, 3, WIDTH, seed=5))
        young, _ = head.step(tokens, state)
        old, _ = head.step(tokens, state, ages=torch.full((1, 3), 30))
    assert not torch.allclose(young, old)


def test_what_is_remembered_ages_by_a_frame_a_step():
    head = made("aggregation")
    _, state = head.step(numbers(1, 2, WIDTH), ages=torch.tensor([[0, 7]]))
    _, state = head.step(numbers(1, 2, WIDTH), state)
    assert (state[1] - 1).tolist() == [[[1, 2], [1, 9]]]


def task(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Tokens that stand still under noise, and what they are."""
    still = numbers(4, 1, 6, WIDTH, seed=seed).expand(-1, 8, -1, -1)
    return still + 0.7 * numbers(*still.shape, seed=seed + 1), still


@each_head
def test_a_few_steps_lower_the_loss_and_reach_every_parameter(kind):
    head, (noisy, still) = made(kind), task()
    before = {name: parameter.detach().clone() for name, parameter in head.named_parameters()}

    def loss(_: torch.Generator) -> torch.Tensor:
        return (head(noisy)[:, 3:] - still[:, 3:]).square().mean()

    losses = fit(head, loss, steps=40, rate=0.03)
    assert losses[0] == pytest.approx(float((noisy[:, 3:] - still[:, 3:]).square().mean()))
    assert losses[-1] < 0.6 * losses[0]
    unmoved = [name for name, value in head.named_parameters() if torch.equal(value, before[name])]
    assert not unmoved
    head.zero_grad()
    ages = torch.arange(8).expand(4, 8)[..., None].expand(4, 8, 6)
    head(noisy, ages=ages).square().sum().backward()
    assert all(value.grad is not None and value.grad.any() for value in head.parameters())


@each_head
@pytest.mark.parametrize(
    ("act", "error", "says"),
    [
        (lambda h: h.step(torch.ones(1, 2, 3)), ValueError, r"this head takes \(views, tokens, 16\)"),
        (lambda h: h.step(torch.ones(1, 2, WIDTH, dtype=torch.int64)), TypeError, "which are floats"),
        (lambda h: h.step(torch.ones(1, 2, WIDTH), h.begin(1, 3)), ValueError, "begin anew with state=None"),
        (lambda h: h.step(torch.ones(1, 2, WIDTH), fresh=torch.ones(3, dtype=torch.bool)), ValueError, "need .1,. or"),
        (lambda h: h.step(torch.ones(1, 2, WIDTH), fresh=torch.ones(1)), TypeError, "give a bool mask"),
        (lambda h: h.step(torch.ones(1, 2, WIDTH), ages=-torch.ones(1, 2)), ValueError, "each 0 or more frames"),
        (lambda h: h(torch.ones(1, 2, WIDTH)), ValueError, r"need \(views, frames, tokens, width\)"),
        (lambda h: h(torch.ones(1, 2, 3, WIDTH), cuts=torch.ones(1, 3)), ValueError, r"cuts of shape .* need \(1, 2\)"),
    ],
)
def test_what_does_not_fit_is_refused(kind, act, error, says):
    with pytest.raises(error, match=says):
        act(made(kind))


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: FrameAggregation(16, frames=1), "frames is 1; it must be 2 or more"),
        (lambda: FrameAggregation(16, heads=3), "3 heads for a width of 16"),
        (lambda: RecurrentHead(0), "width is 0"),
        (lambda: ShiftHead(4, part=8), "one channel of 8 to shift, of 4"),
    ],
)
def test_heads_that_cannot_be_are_refused(make, says):
    with pytest.raises(ValueError, match=says):
        make()
