"""Hand-over: visual tokens on into a language model's `generate`.

    encoder = encoders.load("path/to/Qwen2.5-VL-3B-Instruct")
    engine = Engine(layout=make_layout("quadtree", tokens=256, patch=encoder.patch, block=encoder.merge), ...)
    features = encoder(engine.tokens(gaze))
    prompt = tokenizer.apply_chat_template(messages)                # one image placeholder a view
    encoder.model.generate(**hand_over(encoder, features, [prompt]), max_new_tokens=64)

The model's own vision part is passed by: its outputs are given as `mm_encoder_outputs`, and positions,
where the language model counts in two dimensions, as `position_ids`. Nothing in the model is replaced.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from texvlm.encoders.merging import MergedFeatures, MergingEncoder
from texvlm.encoders.qwen2_5_vl import QwenTower
from texvlm.errors import ModelError

Prompt = Sequence[int] | torch.Tensor
"""Token ids, (length,), with a placeholder for each picture: once, or as often as it has visual tokens."""


def hand_over(
    encoder: MergingEncoder, features: MergedFeatures, prompts: Sequence[Prompt], *, pad_token: int | None = None
) -> dict[str, Any]:
    """Keyword arguments for `encoder.model.generate`, or for the model's own forward.

    Args:
        encoder: of a whole model, language part included.
        features: what it made of a batch; the views are the prompts' pictures, in order.
        prompts: one or more, of any lengths; shorter ones are padded on the left.
        pad_token: what fills up; None for the model's own, or 0: it is masked and never seen.
    Returns:
        input_ids and attention_mask, int64, (prompts, length); mm_encoder_outputs; and, for models
        whose language part counts rows and columns, position_ids, float32, (4, prompts, length): text,
        time, row, column. Fractions lie between the patches of a full-resolution picture.
    Raises:
        ModelError: the encoder holds a tower without its language model.
        ValueError: no prompt, other pictures than views, or a run of placeholders of another length
            than its view has visual tokens.
    """
    model: Any = encoder.model
    token = getattr(model.config, "image_token_id", None)
    if token is None or not hasattr(model, "generate") or not hasattr(model, "lm_head"):
        raise ModelError(
            f"{encoder.name} holds no language model to hand over to; load the whole model, "
            "as its ForConditionalGeneration class"
        )
    parts = [_ids(prompt) for prompt in prompts]
    runs = [placeholder_runs(ids, token) for ids in parts]
    pictures = [len(found) for found in runs]
    if not parts or sum(pictures) != len(features):
        raise ValueError(
            f"{len(features)} views for prompts with {pictures} pictures; give one placeholder ({token}) a view"
        )
    counts = iter(features.counts)
    filled = [
        fill_placeholders(ids, found, [next(counts) for _ in found], token)
        for ids, found in zip(parts, runs, strict=True)
    ]
    if pad_token is None:
        pad_token = getattr(model.config.get_text_config(), "pad_token_id", None) or 0
    length = max(map(len, filled))
    input_ids = torch.full((len(filled), length), pad_token, dtype=torch.int64)
    mask = torch.zeros_like(input_ids)
    for row, ids in enumerate(filled):
        input_ids[row, length - len(ids) :], mask[row, length - len(ids) :] = ids, 1
    device = features.merged.device
    given = {"input_ids": input_ids.to(device), "attention_mask": mask.to(device)}
    if isinstance(encoder, QwenTower):
        given["position_ids"] = rotary_positions(filled, features, token=token).to(device)
    return given | {"mm_encoder_outputs": {"image": encoder_outputs(features)}}


def encoder_outputs(features: MergedFeatures) -> Any:
    """The features as the model's own vision part would give them: lists with one entry a view."""
    from transformers.modeling_outputs import BaseModelOutputWithPooling

    kept = ~features.square_padding

    def by_view(part: torch.Tensor) -> list[torch.Tensor]:
        return [tokens[here] for tokens, here in zip(part, kept, strict=True)]

    outputs: dict[str, Any] = {"last_hidden_state": features.tokens, "pooler_output": by_view(features.merged)}
    if not features.layers:
        return BaseModelOutputWithPooling(**outputs)
    from transformers.models.qwen3_vl.modeling_qwen3_vl import BaseModelOutputWithDeepstackFeatures

    outputs["deepstack_features"] = [by_view(layer) for layer in features.layers]
    return BaseModelOutputWithDeepstackFeatures(**outputs)


def rotary_positions(prompts: Sequence[torch.Tensor], features: MergedFeatures, *, token: int) -> torch.Tensor:
    """Positions of words and visual tokens for a language model that counts in rows and columns.

    Words count on. A picture starts where the words before it ended: its time stands still, its rows and
    columns count from there, and the words behind it start after its longer side, as in the model itself.

    Args:
        prompts: filled, int64, (length,) each; may differ in length.
        features: of the pictures, in order.
        token: the placeholder.
    Returns:
        (text, time, row, column), float32, (4, prompts, longest), 0 in the padding on the left.
    """
    longest = max(map(len, prompts))
    found = torch.zeros(4, len(prompts), longest)
    padding, places = features.square_padding.cpu(), features.places.cpu()
    extents = features.extent.cpu()
    view = 0
    for number, ids in enumerate(prompts):
        own = found[:, number, longest - len(ids) :]
        own[0] = torch.arange(len(ids))
        start, end = 0.0, 0
        for first, count in placeholder_runs(ids, token):
            own[1:, end:first] = torch.arange(first - end) + start
            start += first - end
            # a square that reaches over the edge counts as the outermost: words before and behind stay apart
            inside = places[view][~padding[view]].clamp_min(0).minimum((extents[view] - 1).clamp_min(0))
            own[1, first : first + count] = start
            own[2:, first : first + count] = inside.T + start
            start += float(extents[view].max().ceil())
            end, view = first + count, view + 1
        own[1:, end:] = torch.arange(len(ids) - end) + start
    return found


def placeholder_runs(ids: torch.Tensor, token: int) -> list[tuple[int, int]]:
    """(first, count) of each run of the placeholder in (length,)."""
    here = torch.nn.functional.pad((ids == token).to(torch.int8), (1, 1))
    steps = here.diff()
    firsts, ends = (steps == 1).nonzero()[:, 0].tolist(), (steps == -1).nonzero()[:, 0].tolist()
    return [(first, end - first) for first, end in zip(firsts, ends, strict=True)]


def fill_placeholders(
    ids: torch.Tensor, runs: Sequence[tuple[int, int]], counts: Sequence[int], token: int
) -> torch.Tensor:
    """The prompt with each run as long as its picture has visual tokens.

    Raises:
        ValueError: a run that is neither one placeholder nor as many as there are visual tokens.
    """
    parts, end = [], 0
    for (first, length), count in zip(runs, counts, strict=True):
        if length not in (1, count):
            raise ValueError(
                f"{length} placeholders ({token}) at {first} for a view of {count} visual tokens; give one, or "
                f"{count}, and something between two pictures"
            )
        parts += [ids[end:first], ids.new_full((count,), token)]
        end = first + length
    return torch.cat([*parts, ids[end:]])


def _ids(prompt: Prompt) -> torch.Tensor:
    """Token ids on the host, int64, (length,)."""
    ids = torch.as_tensor(prompt).cpu()
    ids = ids[0] if ids.ndim == 2 and len(ids) == 1 else ids
    if ids.ndim != 1 or ids.is_floating_point():
        raise ValueError(
            f"a prompt of shape {tuple(ids.shape)} and {ids.dtype}; give token ids, whole numbers, (length,)"
        )
    return ids.long()
