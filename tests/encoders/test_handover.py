"""Hand-over: on a uniform layout `generate` says what the own pipeline says; off the grid, positions hold."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import vlms
from families import close
from vlms import IMAGE, PAD

from texvlm import ModelError, encoders
from texvlm.encoders.handover import hand_over, rotary_positions
from texvlm.layouts import MergeBlocks, Quadtree, make_layout

ALL = pytest.mark.parametrize("family", vlms.FAMILIES)
QWENS = pytest.mark.parametrize("family", vlms.QWENS)
FOVEATED = MergeBlocks(Quadtree(tokens=16, patch=8), 2)
STEPS = {"max_new_tokens": 8, "do_sample": False, "output_logits": True, "return_dict_in_generate": True}
ONE = [[5, 92, IMAGE, 93, 7]]
TWO = [[5, 92, IMAGE, 93, 7, 92, IMAGE, 93, 9, 10]]
APART = [[5, 92, IMAGE, 93, 7], [4, 11, 12, 13, 92, IMAGE, 93, 8, 6]]
PROMPTS = pytest.mark.parametrize(
    ("prompts", "pictures"), [(ONE, 1), (TWO, 2), (APART, 2)], ids=["one", "two", "apart"]
)


def own_pipeline(encoder, frames, given, prompts):
    """What `generate` takes from the model's own processor; ids and mask as a tokenizer would fill them."""
    ids = given["input_ids"]
    words = {"input_ids": ids, "attention_mask": given["attention_mask"]}
    if "position_ids" in given:
        from transformers import Qwen2VLImageProcessorPil

        processor = Qwen2VLImageProcessorPil(
            patch_size=4, do_resize=False, image_mean=list(encoder.mean), image_std=list(encoder.std)
        )
        return words | {"mm_token_type_ids": (ids == IMAGE).int()} | dict(processor(images=frames, return_tensors="pt"))
    pixels = torch.from_numpy(np.stack(frames)).permute(0, 3, 1, 2).float() / 127.5 - 1
    return words | {"pixel_values": pixels.unflatten(0, (len(prompts), -1))}


def uniform(encoder, make_batch, frames):
    return make_batch(encoder, frames, layout=make_layout("uniform", patch=encoder.patch, block=encoder.merge))


def size_for(family):
    return (48, 40) if family in vlms.QWENS else (32, 32)


@ALL
@PROMPTS
def test_a_uniform_layout_generates_what_the_own_pipeline_does(family, prompts, pictures, make_batch, make_pictures):
    encoder = encoders.load(vlms.FAMILIES[family]())
    frames = make_pictures(pictures, size_for(family))
    given = hand_over(encoder, encoder(uniform(encoder, make_batch, frames)), prompts)
    own = encoder.model.generate(**own_pipeline(encoder, frames, given, prompts), **STEPS)
    found = encoder.model.generate(**given, **STEPS)
    assert found.sequences.tolist() == own.sequences.tolist()
    close(torch.stack(found.logits), torch.stack(own.logits))


@ALL
def test_what_the_model_says_depends_on_the_picture(family, make_batch, make_pictures):
    encoder = encoders.load(vlms.FAMILIES[family]())
    logits = [
        encoder.model(**hand_over(encoder, encoder(uniform(encoder, make_batch, frames)), ONE)).logits[0, -1]
        for frames in (make_pictures(1, size_for(family)), make_pictures(1, size_for(family), seed=5))
    ]
    assert (logits[0] - logits[1]).abs().max() > 1e-3


@ALL
def test_off_the_grid_views_of_unequal_counts_answer_as_alone(family, make_batch, make_pictures):
    encoder = encoders.load(vlms.FAMILIES[family]())
    batch = make_batch(encoder, make_pictures(2, (64, 48)), layout=FOVEATED, fixations=[(0.3, 0.6), (0.9, 0.1)])
    batch.table["layer"][1, 40:] = -1
    features = encoder(batch)
    assert features.counts[1] == 10
    together = hand_over(encoder, features, APART)
    assert together["attention_mask"].sum(1).tolist() == [4 + features.counts[0], 8 + 10]
    logits = encoder.model(**together).logits[:, -1]
    for view, prompt in enumerate(APART):
        part = type(batch)(
            *(getattr(batch, name)[view : view + 1] for name in ("pixels", "rows", "dirty", "sizes", "sources", "pts"))
        )
        alone = encoder.model(**hand_over(encoder, encoder(part), [prompt])).logits[0, -1]
        close(logits[view], alone)
    assert encoder.model.generate(**together, max_new_tokens=3, min_new_tokens=3).shape[0] == 2


@QWENS
@PROMPTS
def test_positions_are_the_models_own_on_the_grid(family, prompts, pictures, make_batch, make_pictures):
    encoder = encoders.load(vlms.FAMILIES[family]())
    frames = make_pictures(pictures, (48, 40))
    given = hand_over(encoder, encoder(uniform(encoder, make_batch, frames)), prompts)
    types = (given["input_ids"] == IMAGE).int()
    grids = torch.tensor([[1, 10, 12]] * pictures)
    own, _ = encoder.model.model.get_rope_index(
        given["input_ids"], types, image_grid_thw=grids, attention_mask=given["attention_mask"]
    )
    assert torch.equal(given["position_ids"][1:], own.float())
    words = (given["attention_mask"].cumsum(1) - 1).clamp_min(0)
    assert torch.equal(given["position_ids"][0], words.float())


@QWENS
def test_positions_off_the_grid_lie_between(family, make_batch, make_pictures):
    """Four squares of 32 texels, 8 being native: each counts as the middle of 4 x 4 native ones."""
    encoder = encoders.load(vlms.FAMILIES[family]())
    batch = make_batch(encoder, make_pictures(1, (64, 40)), layout=make_layout("uniform", patch=4, block=2, side=32))
    features = encoder(batch)
    ids = torch.tensor([5, 92, *[IMAGE] * 4, 93, 7])
    text, time, row, column = rotary_positions([ids], features, token=IMAGE)[:, 0].tolist()
    assert text == [0, 1, 2, 3, 4, 5, 6, 7]
    assert time == [0, 1, 2, 2, 2, 2, 10, 11]  # the frame is 8 squares wide: words go on at 2 + 8
    assert row == [0, 1, 3.5, 3.5, 6, 6, 10, 11]  # the lower squares reach beyond 5 rows, and count as the last
    assert column == [0, 1, 3.5, 7.5, 3.5, 7.5, 10, 11]


@ALL
def test_beams_share_the_picture(family, make_batch, make_pictures):
    encoder = encoders.load(vlms.FAMILIES[family]())
    frames = make_pictures(2, size_for(family))
    given = hand_over(encoder, encoder(uniform(encoder, make_batch, frames)), APART)
    own = own_pipeline(encoder, frames, given, APART)
    beams = {"num_beams": 3, "max_new_tokens": 5, "do_sample": False}
    found = encoder.model.generate(**given, **beams)
    assert found.tolist() == encoder.model.generate(**own, **beams).tolist()


@ALL
def test_placeholders_may_be_filled_already(family, make_batch, make_pictures):
    encoder = encoders.load(vlms.FAMILIES[family]())
    features = encoder(uniform(encoder, make_batch, make_pictures(1, size_for(family))))
    filled = torch.tensor([5, 92, *[IMAGE] * features.counts[0], 93, 7])
    found, expected = hand_over(encoder, features, [filled]), hand_over(encoder, features, ONE)
    assert torch.equal(found["input_ids"], expected["input_ids"])
    assert torch.equal(hand_over(encoder, features, [filled[None]])["input_ids"], expected["input_ids"])


def test_padding_is_on_the_left_and_masked(make_batch, make_pictures):
    encoder = encoders.load(vlms.qwen3_vl())
    features = encoder(uniform(encoder, make_batch, make_pictures(2, (48, 40))))
    ids, mask = (hand_over(encoder, features, APART)[name] for name in ("input_ids", "attention_mask"))
    assert ids[0, :4].tolist() == [PAD] * 4
    assert mask.sum(1).tolist() == [34, 38]
    assert hand_over(encoder, features, APART, pad_token=60)["input_ids"][0, 0] == 60


@ALL
def test_a_folder_is_handed_over(family, tmp_path, make_batch, make_pictures):
    model = vlms.FAMILIES[family]()
    model.save_pretrained(tmp_path / family)
    frames = make_pictures(1, size_for(family))
    said = []
    for encoder in (encoders.load(model), encoders.load(tmp_path / family)):
        features = encoder(uniform(encoder, make_batch, frames))
        said.append(encoder.model.generate(**hand_over(encoder, features, ONE), max_new_tokens=5, do_sample=False))
    assert torch.equal(*said)


def test_what_does_not_fit_is_refused_in_one_line(make_batch, make_pictures):
    encoder = encoders.load(vlms.qwen3_vl())
    features = encoder(uniform(encoder, make_batch, make_pictures(1, (48, 40))))
    with pytest.raises(
        ValueError, match=r"1 views for prompts with \[2\] pictures; give one placeholder \(90\) a view"
    ):
        hand_over(encoder, features, TWO)
    with pytest.raises(ValueError, match=r"1 views for prompts with \[\] pictures"):
        hand_over(encoder, features, [])
    with pytest.raises(ValueError, match=r"7 placeholders \(90\) at 1 for a view of 30 visual tokens; give one, or 30"):
        hand_over(encoder, features, [[5, *[IMAGE] * 7, 6]])
    with pytest.raises(ValueError, match=r"a prompt of shape \(2,\) and torch.float32; give token ids"):
        hand_over(encoder, features, [torch.tensor([1.0, 2.0])])
    tower = encoders.load(encoder.model.model.visual)
    with pytest.raises(ModelError, match="holds no language model to hand over to; load the whole model"):
        hand_over(tower, features, ONE)


def test_a_tower_without_its_connector_is_refused():
    from texvlm.encoders.idefics3 import Idefics3Encoder

    with pytest.raises(ModelError, match="a tower without the connector that merges its tokens; load the whole model"):
        Idefics3Encoder(vlms.idefics3().model.vision_model)
