"""Learned helpers: what holds whatever they learn, that they learn, and that training repeats to the bit."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from texvlm.encoders.untrained import untrained_vit
from texvlm.errors import ModelError, SourceError
from texvlm.video_models import STATISTICS, DeltaEncoder, FrameImportance, frame_statistics
from texvlm.video_models.examples import ClipExamples, read_examples
from texvlm.video_models.frame_statistics import statistics_level
from texvlm.video_models.helper_training import (
    score_delta,
    score_importance,
    statistics_of,
    train_delta,
    train_importance,
)
from texvlm.video_models.importance import rank_correlation
from texvlm.video_models.training import fit

PICTURES = arrays.arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9), st.sampled_from([1, 3, 4])))


@pytest.fixture(scope="module")
def encoder():
    found = perturbed(untrained_vit(16, 2, 2, image=64), by=0.1)  # or what it sees would hardly matter
    return found.eval()


@pytest.fixture(scope="module")
def clip(encoder) -> ClipExamples:
    return read_examples("scene:160x96", encoder, frames=16)


def perturbed(model: torch.nn.Module, *, by: float = 0.3) -> torch.nn.Module:
    generator = torch.Generator().manual_seed(3)
    for parameter in model.parameters():
        parameter.data += by * torch.randn(parameter.shape, generator=generator)
    return model


# ---------------------------------------------------------------- statistics and importance


@given(PICTURES)
@settings(max_examples=30, deadline=None)
def test_statistics_are_finite_never_negative_and_zero_without_change(picture):
    same = frame_statistics(picture, picture)
    assert same.shape == (len(STATISTICS),)
    np.testing.assert_allclose(same, 0, atol=1e-6)
    other = frame_statistics(255 - picture, picture)
    assert np.isfinite(other).all()
    assert (other >= 0).all()


def test_statistics_of_a_picture_that_can_be_done_by_hand():
    then = np.zeros((8, 8, 1), np.uint8)
    now = then.copy()
    now[:4, :4] = 51  # a quarter of the picture, a fifth of full scale
    found = dict(zip(STATISTICS, frame_statistics(now, then).tolist(), strict=True))
    wanted = {
        "mean": 0.05,
        "rms": 0.1,
        "p90": 0.2,
        "over 2/255": 0.25,
        "over 32/255": 0.25,
        "boxes, mean": 0.05,
        "boxes, largest": 0.2,
        "light": 0.05,
        "mean without light": 0.25 * 0.15 + 0.75 * 0.05,
        "structure": 1.0,
        "histogram": 0.5,
        "edges": 8 * 0.2 / 64,
        "middle": 0.05,
    }
    for name, value in wanted.items():
        assert found[name] == pytest.approx(value, abs=1e-6), name
    floats = frame_statistics((now / 255).astype(np.float32), (then / 255).astype(np.float32))
    np.testing.assert_allclose(floats, frame_statistics(now, then), atol=1e-6)


@given(seed=st.integers(0, 999))
@settings(max_examples=20, deadline=None)
def test_more_change_is_never_expected_to_move_less(seed):
    generator = torch.Generator().manual_seed(seed)
    model = perturbed(FrameImportance())
    less = torch.rand(8, len(STATISTICS), generator=generator)
    more = less + torch.rand(less.shape, generator=generator) * (torch.rand(less.shape, generator=generator) < 0.5)
    with torch.no_grad():
        assert (model(more) >= model(less)).all()
        assert (model(less) > 0).all()


def test_importance_is_learned_and_repeats_to_the_bit(clip):
    model, losses = train_importance([clip], steps=120, seed=1)
    again, same = train_importance([clip], steps=120, seed=1)
    assert losses == same
    assert all(torch.equal(a, b) for a, b in zip(model.state_dict().values(), again.state_dict().values(), strict=True))
    assert np.mean(losses[-10:]) < 0.7 * np.mean(losses[:10])
    score = score_importance(model, [clip])
    assert score.pairs == 15 + 14 + 12 + 8
    assert score.helper > 0.5
    statistics, moved = statistics_of(clip)
    with torch.no_grad():
        assert rank_correlation(model(statistics).numpy(), moved.numpy()) == pytest.approx(score.helper)
    assert model.between(clip.mips[3], clip.mips[2]) == pytest.approx(float(model(statistics[2:3]).detach()))


def test_rank_correlation_shares_ranks_of_equal_values():
    a = np.array([1.0, 2.0, 2.0, 9.0])
    assert rank_correlation(a, a**3) == pytest.approx(1)
    assert rank_correlation(a, -a) == pytest.approx(-1)
    # ranks 1, 2.5, 2.5, 4 against 1, 2, 3, 4
    assert rank_correlation(a, np.arange(4.0)) == pytest.approx(4.5 / np.sqrt(4.5 * 5))
    assert rank_correlation(a, np.ones(4)) == 0


# ---------------------------------------------------------------- delta encoder


def features(seed: int = 0, views: int = 2, tokens: int = 6, width: int = 8, pixels: int = 12):
    generator = torch.Generator().manual_seed(seed)
    draw = [(views, tokens, width), (views, 2, width), (views, tokens, 3, 2, 2), (views, tokens, 3, 2, 2)]
    return [torch.randn(shape, generator=generator) for shape in draw]


def bits(values: torch.Tensor) -> torch.Tensor:
    return values.view(torch.int32)


@given(seed=st.integers(0, 99))
@settings(max_examples=10, deadline=None)
def test_an_untrained_delta_encoder_changes_no_bit(seed):
    tokens, prefix, now, then = features(seed)
    tokens[0, 0, 0] = -0.0
    with torch.no_grad():
        made = DeltaEncoder(8, 12, hidden=5)(tokens, prefix, now, then)
    assert torch.equal(bits(made[0]), bits(tokens))
    assert torch.equal(bits(made[1]), bits(prefix))


@given(seed=st.integers(0, 99))
@settings(max_examples=10, deadline=None)
def test_where_no_pixel_changed_features_are_those_given_whatever_was_learned(seed):
    tokens, prefix, now, then = features(seed)
    now[1] = then[1]
    with torch.no_grad():
        made = perturbed(DeltaEncoder(8, 12, hidden=5))(tokens, prefix, now, then)
    assert torch.equal(bits(made[0][1]), bits(tokens[1]))
    assert torch.equal(bits(made[1][1]), bits(prefix[1]))
    assert (made[0][0] != tokens[0]).any(dim=-1).all()
    assert (made[1][0] != prefix[0]).any(dim=-1).all()


def test_padding_is_neither_seen_nor_touched():
    model = perturbed(DeltaEncoder(8, 12, hidden=5))
    tokens, prefix, now, then = features()
    padding = torch.zeros(2, 6, dtype=torch.bool)
    padding[:, 4:] = True
    with torch.no_grad():
        made = model(tokens, prefix, now, then, padding=padding)
        short = model(tokens[:, :4], prefix, now[:, :4], then[:, :4])
    assert torch.equal(made[0][:, 4:], tokens[:, 4:])
    torch.testing.assert_close(made[0][:, :4], short[0])
    torch.testing.assert_close(made[1], short[1])


def test_the_delta_encoder_learns_and_reaches_every_parameter():
    tokens, prefix, now, then = features(views=16)
    # what moved one place to the right, and a class token that follows the tokens
    now, wanted = then.roll(1, dims=1), tokens.roll(1, dims=1)
    moved = prefix + (wanted - tokens)[:, :1]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = DeltaEncoder(8, 12, hidden=24)
    before = {name: value.detach().clone() for name, value in model.named_parameters()}

    def loss(_: torch.Generator) -> torch.Tensor:
        made = model(tokens, prefix, now, then)
        return (made[0] - wanted).square().mean() + (made[1] - moved).square().mean()

    losses = fit(model, loss, steps=80, rate=0.02)
    assert losses[-1] < 0.4 * losses[0]
    assert not [name for name, value in model.named_parameters() if torch.equal(value, before[name])]
    model.zero_grad()
    sum(part.square().sum() for part in model(tokens, prefix, now, then)).backward()
    assert all(value.grad is not None and value.grad.any() for value in model.parameters())


def test_a_delta_encoder_is_trained_on_examples_and_repeats_to_the_bit(clip, encoder):
    model, losses = train_delta([clip], encoder, steps=60, views=4, seed=2)
    again, same = train_delta([clip], encoder, steps=60, views=4, seed=2)
    assert losses == same
    assert all(torch.equal(a, b) for a, b in zip(model.state_dict().values(), again.state_dict().values(), strict=True))
    assert np.mean(losses[-10:]) < 0.9 * losses[0]
    score = score_delta(model, [clip], encoder)
    assert score.pairs == 49
    assert score.tokens > score.stale_tokens
    untrained = score_delta(DeltaEncoder(16, 768), [clip], encoder)
    assert untrained.tokens == untrained.stale_tokens == score.stale_tokens
    assert untrained.prefix == untrained.stale_prefix == score.stale_prefix


# ---------------------------------------------------------------- examples


def test_examples_are_what_the_encoder_says(clip, encoder):
    assert clip.tokens.shape == (16, 16, 16)
    assert clip.pixels.dtype == torch.uint8
    kept = ~clip.padding
    assert 0 < int(kept.sum()) < 16  # a grid of 16 rows at most over a frame of 5 x 3
    assert torch.equal(clip.answers, clip.prefix[:, 0])
    assert max(clip.mips.shape[1:3]) <= 64
    every_other = read_examples("scene:160x96", encoder, frames=8, every=2)
    torch.testing.assert_close(every_other.tokens, clip.tokens[::2])
    darker = read_examples("scene:160x96", encoder, frames=2, alter=lambda pixels, index: pixels // 2)
    assert int(darker.mips.max()) <= int(clip.mips[:2].max()) // 2 + 1


def test_the_level_is_the_finest_that_is_small_enough():
    assert statistics_level((640, 360), 6) == 4
    assert statistics_level((64, 64), 6) == 0
    assert statistics_level((7680, 4320), 5) == 4


@pytest.mark.parametrize(
    ("act", "error", "says"),
    [
        (lambda e: read_examples("scene:160x96", e, frames=1), ValueError, "frames is 1"),
        (lambda e: read_examples("gone.mp4", e), SourceError, "gone.mp4"),
        (lambda e: frame_statistics(np.zeros((4, 4, 3)), np.zeros((4, 5, 3))), ValueError, "need the same"),
        (lambda e: FrameImportance()(torch.ones(2, 3)), ValueError, r"statistics of shape \(2, 3\)"),
        (lambda e: DeltaEncoder(8, 11)(*features()), ValueError, "tokens of 11 numbers"),
        (lambda e: DeltaEncoder(9, 12)(*features()), ValueError, "this helper takes"),
        (lambda e: fit(torch.nn.Linear(1, 1), lambda g: torch.tensor(torch.nan), steps=2), ModelError, "step 0 is nan"),
    ],
)
def test_what_does_not_fit_is_refused(encoder, act, error, says):
    with pytest.raises(error, match=says):
        act(encoder)
