"""The modules inside the blocks of a BlockEncoder, under one set of names, whichever family they belong to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import nn

from texvlm.encoders.base import Encoder
from texvlm.encoders.block_encoder import BlockEncoder
from texvlm.errors import ModelError

_NORMS = ("layernorm_before", "layer_norm1", "norm1"), ("layernorm_after", "layer_norm2", "norm2")
_IN_A_BLOCK = {"attention", "self_attn", "mlp", "layer_scale1", "layer_scale2", *_NORMS[0], *_NORMS[1]}

Rows = Callable[[torch.Tensor], torch.Tensor]
"""Something that is done to each row, (..., width), by itself."""


@dataclass(frozen=True, slots=True)
class BlockParts:
    """A pre-norm transformer block, taken apart. All but attention itself is done row by row.

    Attributes:
        norm_attention, norm_mlp: before attention, before the MLP.
        query, key, value: (n, width) -> (n, heads * head width).
        project: mixes the heads, with the block's layer scale.
        mlp: likewise with its layer scale.
        heads: of attention.
        scaling: of the scores.
        row_flops: floating-point operations a row of query, key and value; of `project`; of `mlp`.
    """

    norm_attention: Rows
    query: Rows
    key: Rows
    value: Rows
    project: Rows
    norm_mlp: Rows
    mlp: Rows
    heads: int
    scaling: float
    row_flops: tuple[int, int, int]


def parts_of(encoder: Encoder) -> tuple[BlockParts, ...]:
    """The blocks of an encoder.

    Raises:
        ModelError: the encoder is not a plain row of blocks, or they hold modules that this does not know.
    """
    if not isinstance(encoder, BlockEncoder):
        raise ModelError(
            f"{encoder.name} is not a plain row of blocks, so nothing is kept between them; use level L0 or L1, "
            "or an encoder that derives from BlockEncoder"
        )
    return tuple(_parts(block, encoder.name) for block in encoder.blocks)


class FullFlops:
    """Floating-point operations of encoding whole views, blocks and embedding, a multiply-add counting two.

    Args:
        encoder: which one; 0 is told of one whose blocks are not known.
    """

    def __init__(self, encoder: Encoder) -> None:
        self._a_token, self._a_row, self._a_pair, self._prefix = 0, 0, 0, 0
        try:
            parts = parts_of(encoder)
        except ModelError:
            return
        if isinstance(encoder, BlockEncoder):
            self._a_token, self._prefix = token_flops(encoder), encoder.prefix_tokens
            self._a_row = sum(sum(part.row_flops) for part in parts)
            self._a_pair = 4 * encoder.width * len(parts)

    def __call__(self, tokens: int) -> int:
        """Of a view of as many tokens; nothing is run for none."""
        rows = self._prefix + tokens if tokens else 0
        return tokens * self._a_token + rows * self._a_row + rows * rows * self._a_pair


def token_flops(encoder: BlockEncoder) -> int:
    """Floating-point operations of embedding one token."""
    return 2 * len(encoder.mean) * encoder.patch**2 * encoder.width


def _parts(block: nn.Module, name: str) -> BlockParts:
    attention = _one_of(block, name, "attention", "self_attn")
    query, key, value = (_one_of(attention, name, f"{what}_proj") for what in ("q", "k", "v"))
    project = _one_of(attention, name, "o_proj", "out_proj")
    mlp = _one_of(block, name, "mlp")
    _no_others(attention, name, {"q_proj", "k_proj", "v_proj", "o_proj", "out_proj"})
    _no_others(block, name, _IN_A_BLOCK)
    heads = int(_one_of(attention, name, "num_attention_heads", "num_heads"))
    scaling = float(_one_of(attention, name, "scaling", "scale"))
    return BlockParts(
        norm_attention=_one_of(block, name, *_NORMS[0]),
        query=query,
        key=key,
        value=value,
        project=_scaled(project, getattr(block, "layer_scale1", None)),
        norm_mlp=_one_of(block, name, *_NORMS[1]),
        mlp=_scaled(mlp, getattr(block, "layer_scale2", None)),
        heads=heads,
        scaling=scaling,
        row_flops=(sum(_row_flops(part) for part in (query, key, value)), _row_flops(project), _row_flops(mlp)),
    )


def _one_of(module: nn.Module, name: str, *names: str) -> Any:
    for candidate in names:
        if hasattr(module, candidate):
            return getattr(module, candidate)
    raise ModelError(
        f"{type(module).__name__} of {name} has no {' or '.join(names)}; levels L2 and L3 know the blocks of ViT, "
        "DINOv2, DINOv3, CLIP and SigLIP of transformers"
    )


def _no_others(module: nn.Module, name: str, known: set[str]) -> None:
    """ModelError where a module holds another one that does something: leaving it out would change the answer."""
    for child, part in module.named_children():
        if child not in known and any(True for _ in part.parameters()):
            raise ModelError(
                f"{child!r} of {type(module).__name__} of {name} is not known to levels L2 and L3; use level L0 or L1"
            )


def _scaled(module: Rows, scale: nn.Module | None) -> Rows:
    if scale is None:
        return module

    def both(rows: torch.Tensor) -> torch.Tensor:
        return cast(torch.Tensor, scale(module(rows)))

    return both


def _row_flops(module: nn.Module) -> int:
    """Of its matrices: a multiply-add for each entry of a weight; the rest is small against that."""
    return sum(2 * part.weight.numel() for part in module.modules() if isinstance(part, nn.Linear))
