"""Peers of the evaluation over time: nothing gated is the full forward, and what is gated is what the papers say."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from texvlm.encoders.untrained import untrained_vit
from texvlm.engine import Engine
from texvlm.errors import ModelError
from texvlm.evaluation.cost import Shape, multiply_adds
from texvlm.evaluation.temporal.cached_rows import CachedRows
from texvlm.evaluation.temporal.gated_blocks import GatedBlocks, TokenGate
from texvlm.evaluation.temporal.methods import Moment
from texvlm.evaluation.temporal.outside import OutsideCheck
from texvlm.evaluation.temporal.peers import CEILINGS, PEERS, CachedRowsMethod, DroppedInputMethod, Full, mean_change
from texvlm.evaluation.temporal.vit_blocks import PlainViT
from texvlm.layouts import UniformGrid
from texvlm.layouts.table import PADDING_LAYER

SIZE = (64, 48)
TOKENS = 12
WIDTH, BLOCKS, HEADS = 32, 3, 2


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Tiny models gain nothing from more, and lose much on a busy machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def encoder():
    return untrained_vit(WIDTH, BLOCKS, HEADS, image=64, labels=5, seed=3)


def batches_of(encoder, count, *, views=1, tokens=None, seed=0, share=0.3):
    """Batches in which about `share` of the 16 x 16 squares of every view change from frame to frame."""
    rng = np.random.default_rng(seed)
    frames = rng.integers(0, 256, (views, 3, 4, 16, 16, 3), dtype=np.uint8)
    layout = UniformGrid(side=16) if tokens is None else UniformGrid(tokens=tokens)
    options = {"backend": "cpu", "threshold": 0.0, "mean": encoder.mean, "std": encoder.std}
    found = []
    with Engine(layout=layout, sources=views, **options) as engine:
        for _ in range(count):
            for view in range(views):
                picture = frames[view].transpose(0, 2, 1, 3, 4).reshape(SIZE[1], SIZE[0], 3)
                engine.submit(np.ascontiguousarray(picture), view)
            found.append(engine.tokens(sources=list(range(views))))
            changed = rng.random((views, 3, 4)) < share
            frames[changed] = rng.integers(0, 256, (int(changed.sum()), 16, 16, 3), dtype=np.uint8)
    return found


def distance(found, expected):
    return float((found - expected).abs().max())


def moment(index=0):
    return Moment(index, (), None)


@pytest.mark.parametrize("tokens", [None, 16], ids=["full", "padded"])
@pytest.mark.parametrize("views", [1, 3])
@pytest.mark.parametrize("kind", ["cached", "gated"])
def test_nothing_gated_is_the_full_forward(encoder, kind, views, tokens):
    clip = batches_of(encoder, 3, views=views, tokens=tokens)
    padded = clip[0].is_padding.sum().item()
    assert padded == (0 if tokens is None else 4 * views)
    rows, gated = CachedRows(encoder), GatedBlocks(encoder, 1.0)
    with torch.inference_mode():
        for batch in clip:
            full = encoder(batch)
            if kind == "cached":
                features, work = rows.run(batch, ~batch.is_padding)
            else:
                features, passed, work = gated.run(batch)
                assert torch.equal(passed, ~batch.is_padding)
            assert distance(features.tokens, full.tokens) < 1e-5
            assert distance(features.prefix, full.prefix) < 1e-5
            assert distance(encoder.classify(features), encoder.classify(full)) < 1e-5
            if not padded:
                assert work == views * multiply_adds(Shape(WIDTH, BLOCKS, HEADS), TOKENS)


class SlowCache:
    """Keys and values of single rows in lists, attention by loops, float64: no batches, no packing, no masks."""

    def __init__(self, encoder):
        self.encoder = encoder
        self.vit = PlainViT(encoder)
        self.keys = [{} for _ in self.vit.blocks]
        self.values = [{} for _ in self.vit.blocks]
        self.out = {}

    def linear(self, module, row):
        return module.weight.double() @ row + module.bias.double()

    def norm(self, module, row):
        centred = row - row.mean()
        scaled = centred / (centred.square().mean() + module.eps).sqrt()
        return scaled * module.weight.double() + module.bias.double()

    def attend(self, number, block, row):
        """Output of attention for one row, heads one after the other."""
        query = self.linear(block.query, row)
        parts = []
        side = WIDTH // HEADS
        for head in range(HEADS):
            cut = slice(head * side, (head + 1) * side)
            weights = {i: math.exp(float(query[cut] @ key[cut]) / side**0.5) for i, key in self.keys[number].items()}
            total = sum(weights.values())
            parts.append(sum(weight / total * self.values[number][i][cut] for i, weight in weights.items()))
        return torch.cat(parts)

    def mlp(self, block, row):
        hidden = self.linear(block.mlp.fc1, row)
        hidden = 0.5 * hidden * (1 + torch.erf(hidden / 2**0.5))
        return self.linear(block.mlp.fc2, hidden)

    def step(self, embedded, stale):
        """All rows after the stale ones ran; embedded is (rows, width), stale a list of row numbers."""
        hidden = {i: embedded[i].double() for i in stale}
        for number, block in enumerate(self.vit.blocks):
            normed = {i: self.norm(block.before, row) for i, row in hidden.items()}
            for i, row in normed.items():
                self.keys[number][i] = self.linear(block.key, row)
                self.values[number][i] = self.linear(block.value, row)
            for i, row in normed.items():
                hidden[i] = hidden[i] + self.linear(block.output, self.attend(number, block, row))
                hidden[i] = hidden[i] + self.mlp(block, self.norm(block.after, hidden[i]))
        self.out |= {i: self.norm(self.vit.norm, row) for i, row in hidden.items()}
        return torch.stack([self.out[i] for i in sorted(self.out)])


def embedded_rows(encoder, batch):
    """Class token and tokens before the first block, (rows, width)."""
    kept = []
    handle = encoder.body.layers[0].register_forward_pre_hook(lambda module, args: kept.append(args[0][0]))
    encoder(batch)
    handle.remove()
    return kept[0]


def test_cached_rows_by_a_slow_reference(encoder):
    rows, slow = CachedRows(encoder), SlowCache(encoder)
    kept = None
    with torch.no_grad():
        for number, batch in enumerate(batches_of(encoder, 3, share=0.4)):
            if kept is None:
                stale = torch.ones(1, TOKENS, dtype=torch.bool)
            else:
                stale = (batch.pixels != kept).flatten(2).any(dim=2)
                assert 0 < stale.sum() < TOKENS
            kept = batch.pixels
            features, _ = rows.run(batch, stale)
            chosen = [0, *(1 + stale[0].nonzero()[:, 0]).tolist()]
            expected = slow.step(embedded_rows(encoder, batch), chosen)
            assert distance(features.prefix[0, 0], expected[0]) < 1e-5
            assert distance(features.tokens[0], expected[1:]) < 1e-5
            full = encoder(batch)
            assert (distance(features.tokens, full.tokens) < 1e-5) == (number == 0)


@pytest.fixture(scope="module")
def three_views(encoder):
    return batches_of(encoder, 2, views=3)


@settings(max_examples=10, deadline=None)
@given(st.lists(st.lists(st.booleans(), min_size=TOKENS, max_size=TOKENS), min_size=3, max_size=3))
def test_views_together_are_views_alone(encoder, three_views, masks):
    """Whatever each view has to run, none at all included."""
    stale, clip = torch.tensor(masks), three_views
    together = CachedRows(encoder)
    everything = torch.ones(3, TOKENS, dtype=torch.bool)
    with torch.inference_mode():
        together.run(clip[0], everything)
        found, work = together.run(clip[1], stale)
        works = 0
        for view in range(3):
            alone = CachedRows(encoder)
            alone.run(only(clip[0], view), everything[view : view + 1])
            expected, own = alone.run(only(clip[1], view), stale[view : view + 1])
            assert distance(found.tokens[view], expected.tokens[0]) < 1e-5
            assert distance(found.prefix[view], expected.prefix[0]) < 1e-5
            works += own
    assert work == works
    assert (work == 0) == (not stale.any())


def only(batch, view):
    """One view of a batch."""
    part = slice(view, view + 1)
    fields = ("pixels", "rows", "dirty", "sizes", "sources", "pts")
    return type(batch)(*(getattr(batch, name)[part] for name in fields))


def test_a_gate_passes_what_lies_farthest_from_what_it_last_passed():
    gate = TokenGate()
    start = torch.zeros(2, 5, 3)
    gate.select(start, 5)
    now = start.clone()
    now[0, 2], now[0, 4], now[1, 1], now[1, 3] = 3.0, 1.0, 0.5, 2.0
    index, rows = gate.select(now, 2)  # the class token and one more
    assert [sorted(line) for line in index.tolist()] == [[0, 2], [0, 3]]
    assert torch.equal(rows, now.gather(1, index[..., None].expand(-1, -1, 3)))
    index, _ = gate.select(now, 2)  # what passed is settled: now the next one
    assert [sorted(line) for line in index.tolist()] == [[0, 4], [0, 1]]


def test_gated_blocks_by_a_slow_reference(encoder):
    """Row by row: three gates a block, each with the value that it last let through."""
    share, count = 0.4, round(0.4 * (TOKENS + 1))
    gated, slow = GatedBlocks(encoder, share), SlowCache(encoder)
    state = [{"q": {}, "gates": [{}, {}, {}], "o": {}, "m": {}} for _ in slow.vit.blocks]

    def passing(gate, values):
        if not gate:
            chosen = list(values)
        else:
            far = sorted((i for i in values if i), key=lambda i: -float((values[i] - gate[i]).square().sum()))
            chosen = [0, *far[: count - 1]]
        gate |= {i: values[i] for i in chosen}
        return chosen

    with torch.no_grad():
        for batch in batches_of(encoder, 3, share=0.4):
            features, passed, _ = gated.run(batch)
            hidden = dict(enumerate(embedded_rows(encoder, batch).double()))
            for number, (block, own) in enumerate(zip(slow.vit.blocks, state, strict=True)):
                chosen = passing(own["gates"][0], {i: slow.norm(block.before, row) for i, row in hidden.items()})
                if number == 0:
                    assert sorted(i - 1 for i in chosen if i) == passed[0].nonzero()[:, 0].tolist()
                for i in chosen:
                    row = own["gates"][0][i]
                    slow.keys[number][i] = slow.linear(block.key, row)
                    slow.values[number][i] = slow.linear(block.value, row)
                attended = {i: slow.attend(number, block, own["gates"][0][i]) for i in hidden}
                own["o"] |= {i: slow.linear(block.output, attended[i]) for i in passing(own["gates"][1], attended)}
                hidden = {i: row + own["o"][i] for i, row in hidden.items()}
                after = {i: slow.norm(block.after, row) for i, row in hidden.items()}
                own["m"] |= {i: slow.mlp(block, after[i]) for i in passing(own["gates"][2], after)}
                hidden = {i: row + own["m"][i] for i, row in hidden.items()}
            expected = torch.stack([slow.norm(slow.vit.norm, hidden[i]) for i in sorted(hidden)])
            assert distance(features.prefix[0, 0], expected[0]) < 1e-5
            assert distance(features.tokens[0], expected[1:]) < 1e-5


def test_dropped_tokens_are_not_seen(encoder):
    """A changed frame's features are those of a view that holds its changed tokens only."""
    method = DroppedInputMethod("dropped", tau=0.0)
    method.begin(encoder, 2)
    first, second = batches_of(encoder, 2, views=2, share=0.4)
    with torch.inference_mode():
        before = method.step(first, moment()).features
        assert distance(before.tokens, encoder(first).tokens) < 1e-5
        step = method.step(second, moment(1))
        for view in range(2):
            chosen = step.encoded[view]
            assert 0 < chosen.sum() < TOKENS
            part = only(second, view)
            rows = part.rows.copy()
            rows["layer"][0, ~chosen] = PADDING_LAYER
            expected = encoder(type(part)(part.pixels, rows, part.dirty, part.sizes, part.sources, part.pts))
            mask = torch.from_numpy(chosen)
            assert distance(step.features.tokens[view, mask], expected.tokens[0, mask]) < 1e-5
            assert torch.equal(step.features.tokens[view, ~mask], before.tokens[view, ~mask])
            assert distance(step.features.prefix[view], expected.prefix[0]) < 1e-5


@pytest.mark.parametrize("adjacent", [False, True], ids=["encoded", "adjacent"])
def test_a_fade_below_the_threshold(encoder, adjacent):
    """Against the frame before it never triggers, and nothing bounds what is reused."""
    tau = 2 / 255
    method = CachedRowsMethod("gate", tau=tau, adjacent=adjacent)
    method.begin(encoder, 1)
    check = OutsideCheck(torch.tensor(encoder.std)[:, None, None])
    clip = batches_of(encoder, 1) * 10
    run = 0
    with torch.inference_mode():
        for index, batch in enumerate(clip):
            pixels = batch.pixels + index / 255 / encoder.std[0]  # a level a frame
            faded = type(batch)(pixels, batch.rows, batch.dirty, batch.sizes, batch.sources, batch.pts)
            step = method.step(faded, moment(index))
            check.add(faded, step)
            run += int(step.encoded.sum()) if index else 0
    if adjacent:
        assert run == 0
        assert check.worst_mean == pytest.approx(9 / 255, rel=1e-3)
        assert check.worst_age == 9
    else:
        assert run == TOKENS * (9 // 3)
        assert check.worst_mean <= tau * 1.0001


@pytest.mark.parametrize("name", PEERS)
def test_every_peer_starts_in_full_and_begins_anew(encoder, name):
    method = PEERS[name]()
    assert method.name == name
    clip = batches_of(encoder, 3, views=2)
    with torch.inference_mode():
        full = encoder(clip[2])
        for _ in range(2):
            method.begin(encoder, 2)
            step = method.step(clip[2], moment())
            assert step.encoded.all()
            assert step.work == step.work_full > 0
            assert distance(step.features.tokens, full.tokens) < 1e-5
            assert method.state_bytes() > 0
            later = method.step(clip[1], moment(1))
            assert later.work < later.work_full


def test_an_unchanged_frame_costs_pixel_gates_nothing(encoder):
    batch = batches_of(encoder, 1)[0]
    with torch.inference_mode():
        for name in ("cached", "adjacent", "dropped"):
            method = PEERS[name]()
            method.begin(encoder, 1)
            before = method.step(batch, moment()).features
            step = method.step(batch, moment(1))
            assert step.work == 0
            assert not step.encoded.any()
            assert torch.equal(step.features.tokens, before.tokens)


def test_change_is_a_fraction_of_full_scale(encoder):
    batch = batches_of(encoder, 1)[0]
    scale = torch.tensor(encoder.std)[:, None, None]
    brighter = batch.pixels + 3 / 255 / scale
    assert mean_change(brighter, batch.pixels, scale) == pytest.approx(np.full((1, TOKENS), 3 / 255), rel=1e-4)


def test_held_pixels_are_those_last_encoded(encoder):
    """The full forward of a frame put together from pixels of the frames in which tokens were encoded."""
    method = CEILINGS["held"]()
    method.begin(encoder, 1)
    kept = None
    with torch.inference_mode():
        for index, batch in enumerate(batches_of(encoder, 4, share=0.4)):
            pixels = batch.pixels + 1 / 255 / encoder.std[0] * (index % 2)  # below the threshold
            batch = type(batch)(pixels, batch.rows, batch.dirty, batch.sizes, batch.sources, batch.pts)
            step = method.step(batch, moment(index))
            encoded = torch.from_numpy(step.encoded)
            assert index == 0 or 0 < encoded.sum() < TOKENS
            kept = pixels.clone() if kept is None else torch.where(encoded[..., None, None, None], pixels, kept)
            held = type(batch)(kept, batch.rows, batch.dirty, batch.sizes, batch.sources, batch.pts)
            assert distance(step.features.tokens, encoder(held).tokens) < 1e-5
            assert (distance(step.features.tokens, encoder(batch).tokens) < 1e-5) == (index == 0)


def test_the_full_forward_is_a_method(encoder):
    full = Full()
    full.begin(encoder, 1)
    batch = batches_of(encoder, 1)[0]
    with torch.inference_mode():
        step = full.step(batch, moment())
        assert torch.equal(step.features.tokens, encoder(batch).tokens)
    assert (step.encoded.all(), step.work, full.state_bytes()) == (True, step.work_full, 0)


def test_other_encoders_are_refused(encoder):
    other = untrained_vit(WIDTH, BLOCKS, HEADS, image=64)
    other.add_scale_embedding()
    with pytest.raises(ModelError, match="no plain ViT"):
        CachedRows(other)
    with pytest.raises(ValueError, match="a share of 0 of the tokens"):
        GatedBlocks(encoder, 0)
