"""Read-outs: a region that holds everything is the class token; what lies outside leaves no trace."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from texvlm import encoders
from texvlm.encoders import Readout
from texvlm.layouts import Quadtree
from texvlm.tokens import TokenBatch

BOUND = 1e-5
SIZE = (96, 64)


@pytest.fixture
def encoder(make_vit):
    return encoders.load(make_vit())


@pytest.fixture
def batch(encoder, make_batch, make_pictures) -> TokenBatch:
    """Two views of a quadtree that looks to the left and to the right."""
    layout = Quadtree(tokens=60, patch=8, e2_deg=1.0)
    return make_batch(encoder, make_pictures(2, SIZE), layout=layout, fixations=[(0.2, 0.5), (0.8, 0.4)])


@pytest.mark.parametrize("from_block", [0, 1, 2])
def test_a_region_that_holds_everything_is_the_class_token(encoder, batch, from_block):
    features = encoder(batch, readout=Readout.inside([[0, 0, 1, 1], [0, 0, 0.5, 1]], from_block=from_block))
    plain = encoder(batch)
    torch.testing.assert_close(features.regions[:, 0], plain.pooled, rtol=0, atol=BOUND)
    assert (features.regions[:, 1] - plain.pooled).abs().max() > 1e-3
    # and nobody notices that somebody reads
    torch.testing.assert_close(features.tokens, plain.tokens, rtol=0, atol=BOUND)
    torch.testing.assert_close(features.pooled, plain.pooled, rtol=0, atol=BOUND)


def test_the_last_block_on_differs_from_the_first_on(encoder, batch):
    found = [encoder(batch, readout=Readout.inside([0, 0, 0.4, 1], from_block=n)).regions for n in range(3)]
    assert (found[0] - found[1]).abs().max() > 1e-4
    assert (found[1] - found[2]).abs().max() > 1e-4


def test_regions_of_one_pass_do_not_see_each_other(encoder, batch):
    boxes = [[0, 0, 0.5, 1], [0.5, 0, 1, 1], [0.3, 0.3, 0.6, 0.6]]
    together = encoder(batch, readout=Readout.inside(boxes)).regions
    for number, box in enumerate(boxes):
        alone = encoder(batch, readout=Readout.inside([box])).regions
        torch.testing.assert_close(together[:, number], alone[:, 0], rtol=0, atol=BOUND)


def test_in_the_last_block_a_region_reads_its_tokens_and_no_others(make_vit, make_batch, make_pictures):
    encoder = encoders.load(make_vit(num_hidden_layers=1))  # deeper, tokens have mixed before they are read
    left, right = make_pictures(2, encoder.native_size)
    mixed = np.concatenate([left[:, :24], right[:, 24:]], axis=1)
    readout = Readout.inside([[0, 0, 0.5, 1], [0.5, 0, 1, 1]])
    of_left, of_right, of_mixed = encoder(make_batch(encoder, [left, right, mixed]), readout=readout).regions
    torch.testing.assert_close(of_mixed[0], of_left[0], rtol=0, atol=BOUND)
    torch.testing.assert_close(of_mixed[1], of_right[1], rtol=0, atol=BOUND)
    assert (of_left - of_right).abs().max() > 1e-3


def test_near_a_fixation_is_a_disk_of_degrees(encoder, batch):
    weights = Readout.near([(0.2, 0.5), (0.8, 0.4)], eccentricity_deg=6.0).token_weights(batch)
    assert weights.shape == (2, 1, 60)
    radius = 48 / np.tan(np.radians(30)) * np.tan(np.radians(6))
    for view, (u, v) in enumerate([(0.2, 0.5), (0.8, 0.4)]):
        table = batch.table[view]
        distance = np.hypot(table["x"] - u * SIZE[0], table["y"] - v * SIZE[1])
        inside = (distance <= radius) & (table["layer"] >= 0)
        assert inside.any()
        assert (weights[view, 0].numpy()[inside] > 0).all()
        assert np.flatnonzero(weights[view, 0]).size <= inside.sum() + 1  # and the token under the fixation


def test_a_region_smaller_than_its_token_reads_that_token(encoder, batch):
    weights = Readout.inside([0.97, 0.9, 0.975, 0.905]).token_weights(batch)
    assert ((weights > 0).sum(-1) == 1).all()
    token = batch.table[0][int(weights[0, 0].argmax())]
    assert abs(token["x"] - 0.9725 * 96) <= token["side"] / 2


def test_weights_follow_area_or_density_and_average_one(encoder, batch):
    box = [0, 0, 1, 1]
    sides = torch.from_numpy(batch.table["side"].copy())
    kept = torch.from_numpy(batch.table["layer"] >= 0)
    assert len(sides[kept].unique()) > 1
    for weighting, power in (("none", 0), ("area", 2), ("density", -2)):
        weights = Readout.inside(box, weighting=weighting).token_weights(batch)[:, 0]
        expected = torch.where(kept, sides**power, 0)
        torch.testing.assert_close(weights, expected * (kept.sum(1) / expected.sum(1))[:, None])
    a, b = (encoder(batch, readout=Readout.inside(box, weighting=w)).regions for w in ("area", "density"))
    assert (a - b).abs().max() > 1e-3


@pytest.mark.parametrize("weighting", ["none", "area", "density"])
def test_equal_tokens_weigh_the_same_either_way(encoder, make_batch, make_pictures, weighting):
    batch = make_batch(encoder, make_pictures(1, encoder.native_size))
    features = encoder(batch, readout=Readout.inside([0, 0, 1, 1], weighting=weighting))
    torch.testing.assert_close(features.regions[:, 0], features.pooled, rtol=0, atol=BOUND)


def test_a_weight_of_two_is_the_token_twice(encoder, make_batch, make_pictures):
    """What attention makes of log(2): checked on a model of one block, where copies read the raw tokens."""
    batch = make_batch(encoder, make_pictures(1, encoder.native_size))
    encoder.body.layers = encoder.body.layers[:1]
    chosen = torch.zeros(1, 36)
    chosen[0, 4], chosen[0, 9] = 2, 1
    twice = TokenBatch(
        batch.pixels[:, [4, 4, 9]], batch.table[:, [4, 4, 9]], batch.dirty[:, :3], batch.sizes, batch.sources, batch.pts
    )
    expected = encoder(twice).pooled
    # weights average 1 over the tokens of the region, of which there are 36; three count here
    readout = Readout.inside([0, 0, 1, 1], weights=chosen)
    weights = readout.token_weights(batch)
    assert weights.sum() == 36
    found = encoder.encode(batch.pixels, encoders.Geometry.of(batch), weights / 12).regions
    torch.testing.assert_close(found[:, 0], expected, rtol=0, atol=BOUND)


def test_boxes_of_each_view(encoder, batch):
    boxes = np.array([[[0, 0, 0.5, 1]], [[0.5, 0, 1, 1]]])
    each = encoder(batch, readout=Readout.inside(boxes)).regions
    both = encoder(batch, readout=Readout.inside(boxes[:, 0])).regions
    assert Readout.inside(boxes).regions == 1
    torch.testing.assert_close(each[0, 0], both[0, 0], rtol=0, atol=BOUND)
    torch.testing.assert_close(each[1, 0], both[1, 1], rtol=0, atol=BOUND)


def test_classify_takes_regions(encoder, batch):
    features = encoder(batch, readout=Readout.inside([[0, 0, 1, 1], [0, 0, 0.5, 1]]))
    logits = encoder.classify(features.regions)
    assert logits.shape == (2, 2, 5)
    torch.testing.assert_close(logits[:, 0], encoder.classify(features), rtol=0, atol=BOUND)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Readout.inside([]), "the list of regions is empty; give at least one box"),
        (lambda: Readout.near([]), "the list of regions is empty; give at least one fixation"),
        (lambda: Readout.inside([0, 0, 1]), r"boxes of shape \(3,\): accepted are"),
        (lambda: Readout.inside([0.5, 0, 0.5, 1]), r"box \(0.5, 0.0, 0.5, 1.0\) encloses nothing"),
        (lambda: Readout.inside([0, 0, np.nan, 1]), r"box \(0.0, 0.0, nan, 1.0\) encloses nothing"),
        (lambda: Readout.near([0.5, np.inf]), r"fixation \(0.5, inf\) is not finite"),
        (lambda: Readout.near([0.5, 0.5, 0.5]), r"fixations of shape \(3,\): accepted are"),
        (lambda: Readout.near([0.5, 0.5], eccentricity_deg=0), "eccentricity_deg is 0; it is above 0 and below 90"),
        (lambda: Readout.near([0.5, 0.5], fov_deg=200), "fov_deg is 200"),
        (lambda: Readout.inside([0, 0, 1, 1], weighting="size"), "weighting 'size'; accepted: none, area, density"),
        (lambda: Readout.inside([0, 0, 1, 1], from_block=-1), "from_block is -1; blocks count from 0"),
    ],
)
def test_a_region_that_is_none_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    ("readout", "message"),
    [
        (Readout(), "a Readout without regions; make it with"),
        (
            Readout.inside([[0, 0, 1, 1], [2, 2, 3, 3]]),
            r"region 1 of view 0 \(box 2, 2, 3, 3\) holds no token; move it",
        ),
        (Readout.near([9, 9]), r"region 0 of view 0 \(4 degrees around 9, 9\) holds no token"),
        (
            Readout.inside([0, 0, 1, 1], weights=torch.zeros(2, 60)),
            r"weights of the \d+ tokens of region 0 of view 0 \(box 0, 0, 1, 1\) sum to zero; one must be above 0",
        ),
        (Readout.inside([0, 0, 1, 1], weights=torch.full((2, 60), -1.0)), "weights hold a number that is negative or"),
        (
            Readout.inside([0, 0, 1, 1], weights=torch.ones(2, 9)),
            r"weights of shape \(2, 9\); give one a token, \(2, 60\)",
        ),
        (Readout.inside([[[0, 0, 1, 1]]] * 3), "regions for 3 views, the batch has 2; give them for one or for each"),
        (Readout.inside([0, 0, 1, 1], from_block=3), "from_block is 3; the model has blocks 0..2"),
    ],
)
def test_a_readout_that_does_not_fit_the_batch_is_refused(encoder, batch, readout, message):
    with pytest.raises(ValueError, match=message) as refusal:
        encoder(batch, readout=readout)
    assert "\n" not in str(refusal.value)
