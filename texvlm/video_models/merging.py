"""Token merging: the r most alike pairs become one token each, within a frame and across frames.

Bipartite soft matching of Bolya et al., "Token Merging: Your ViT But Faster" (ICLR 2023), section 3,
written from the paper: tokens are dealt into two sets, each token of the first draws an edge to the
most similar one of the second, the r best edges are kept and what they join is averaged, weighted by
size. Across frames the sets are a frame and the one before it, so that content is merged into where it
was first seen. Everything is decided by the keys and by the order of rows: ties go to the lower row.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import torch
from torch import nn

from texvlm.video_models.head import check_at_least
from texvlm.video_models.merge_map import MergeMap


def match(
    keys: torch.Tensor,
    r: int,
    *,
    prefix: int = 1,
    protected: torch.Tensor | None = None,
    sizes: torch.Tensor | None = None,
) -> MergeMap:
    """Merge exactly r tokens of each view into others of it.

    Behind the prefix, rows 0, 2, 4, ... are the first set and rows 1, 3, 5, ... the second.

    Args:
        keys: what tokens are compared by (cosine), (views, tokens, any): the paper takes attention keys.
        r: tokens to lose; 0 for the identity.
        prefix: first rows, such as the class token, that nothing happens to.
        protected: bool, (views, tokens): more such rows, as padding.
        sizes: what each token counts for already, (views, tokens); None for 1.
    Raises:
        ValueError: r is more than there are tokens to lose, or shapes disagree.
    """
    _check(keys, r, prefix, protected, sizes)
    tokens = keys.shape[1]
    rows = torch.arange(prefix, tokens, device=keys.device)
    first, second = rows[::2], rows[1::2]
    keys = nn.functional.normalize(keys, dim=-1)
    scores = keys[:, first] @ keys[:, second].transpose(1, 2)
    if protected is not None:
        scores = scores.masked_fill(protected[:, first, None] | protected[:, None, second], -math.inf)
    best, place = _best_of(scores)
    parents = _parents(best, first.expand_as(best), prefix + 1 + 2 * place, r, tokens, masked=protected is not None)
    return MergeMap.of_parents(parents, depth=1, groups=tokens - r, weights=_weights(parents, sizes))


def match_frames(
    keys: torch.Tensor,
    r: int,
    *,
    prefix: int = 1,
    protected: torch.Tensor | None = None,
    sizes: torch.Tensor | None = None,
) -> MergeMap:
    """Merge exactly r tokens of each clip into others of the frame before theirs; those may go on to the one before.

    The map is over rows in the order of time, (views, frames * tokens): `clip.flatten(1, 2)`. What a
    group holds of time is `map.span(times)`.

    Args:
        keys: (views, frames, tokens, any); two frames or more.
        r: tokens to lose of each clip, altogether.
        prefix: first rows of every frame that nothing happens to.
        protected: bool, (views, frames, tokens).
        sizes: what each token counts for already, (views, frames, tokens).
    Raises:
        ValueError: as for `match`.
    """
    if keys.ndim != 4:
        raise ValueError(f"keys of shape {tuple(keys.shape)}; need (views, frames, tokens, width)")
    views, frames, count = keys.shape[:3]
    for name, part in (("protected", protected), ("sizes", sizes)):
        if part is not None and part.shape != keys.shape[:3]:
            raise ValueError(f"{name} of shape {tuple(part.shape)}; need {(views, frames, count)}")
    protected, sizes = (None if part is None else part.flatten(1) for part in (protected, sizes))
    check_at_least("prefix", prefix, 0)
    flat = keys.flatten(1, 2)
    _check(flat, r, 0, protected, sizes)
    keys = nn.functional.normalize(keys, dim=-1)[:, :, prefix:]
    scores = keys[:, 1:] @ keys[:, :-1].transpose(2, 3)  # (views, frames - 1, tokens, tokens)
    if protected is not None:
        kept = protected.reshape(views, frames, count)[:, :, prefix:]
        scores = scores.masked_fill(kept[:, 1:, :, None] | kept[:, :-1, None], -math.inf)
    best, place = (part.flatten(1) for part in _best_of(scores))
    rows = torch.arange(frames * count, device=keys.device).reshape(frames, count)[:, prefix:]
    before = rows[:-1, :1].expand(-1, rows.shape[1]).flatten()  # first row of the frame before each row's own
    first = rows[1:].flatten().expand_as(best)
    parents = _parents(best, first, before + place, r, frames * count, masked=protected is not None)
    depth = max(frames - 1, 1)
    return MergeMap.of_parents(parents, depth=depth, groups=frames * count - r, weights=_weights(parents, sizes))


def run_merged(
    blocks: Iterable[nn.Module], hidden: torch.Tensor, *, r: int | Sequence[int], prefix: int = 1
) -> tuple[torch.Tensor, MergeMap]:
    """A model's own blocks with fewer tokens after each: r are merged behind every block.

    The paper merges between attention and network, by the attention's keys; a block of transformers is
    one piece, so tokens are merged behind it, by their features. Sizes go into attention as `MergeMap.bias`.

    Args:
        blocks: each called as `block(hidden, attention_mask=...)`, as by texvlm.encoders.run_blocks.
        hidden: (views, tokens, width), without padding rows.
        r: tokens to lose behind each block; or one number for every block.
        prefix: see `match`.
    Returns:
        The last block's tokens, and the map from the first tokens to them.
    Raises:
        ValueError: not one r for each block, or more than there are tokens to lose.
    """
    listed = list(blocks)
    counts = [r] * len(listed) if isinstance(r, int) else list(r)
    if len(counts) != len(listed):
        raise ValueError(f"{len(counts)} values of r for {len(listed)} blocks; give one, or one a block")
    merged = MergeMap.identity(*hidden.shape[:2], device=hidden.device)
    for block, count in zip(listed, counts, strict=True):
        bias = merged.bias(hidden.dtype) if merged.count < merged.tokens else None
        result = block(hidden, attention_mask=bias)
        hidden = result[0] if isinstance(result, tuple) else result
        step = match(hidden, count, prefix=prefix, sizes=merged.sizes)
        hidden, merged = step.merge(hidden), merged.then(step)
    return hidden, merged


def _best_of(scores: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Highest score along the last axis and where it is, the first of equals; of no scores -inf and 0."""
    if not scores.shape[-1]:
        none = scores.new_full(scores.shape[:-1], -math.inf)
        return none, torch.zeros_like(none, dtype=torch.int64)
    place = scores.argmax(dim=-1)
    return scores.gather(-1, place[..., None])[..., 0], place


def _parents(
    best: torch.Tensor, rows: torch.Tensor, into: torch.Tensor, r: int, tokens: int, *, masked: bool
) -> torch.Tensor:
    """Token that each one goes into, itself for all but those of the r best edges, (views, tokens).

    Args:
        best: score of each edge, (views, edges); -inf where there is none.
        rows: token that each edge leads from, (views, edges).
        into: token that it leads to.
        r: edges to keep.
        tokens: rows of a view.
        masked: edges may be missing, which only a look at the scores can tell.
    """
    views, most = best.shape
    if masked or 0 in best.shape or tokens < 2:
        most = int(torch.isfinite(best).sum(1).min()) if best.numel() else 0
    if r > most:
        raise ValueError(f"r is {r}; of {tokens} tokens at most {most} can be merged into others here")
    chosen = best.argsort(dim=1, descending=True, stable=True)[:, :r]
    parents = torch.arange(tokens, device=best.device).repeat(views, 1)
    return parents.scatter(1, rows.gather(1, chosen), into.gather(1, chosen))


def _weights(parents: torch.Tensor, sizes: torch.Tensor | None) -> torch.Tensor:
    return torch.ones(parents.shape, device=parents.device) if sizes is None else sizes.float()


def _check(keys: torch.Tensor, r: int, prefix: int, protected: torch.Tensor | None, sizes: torch.Tensor | None) -> None:
    """ValueError or TypeError unless the arguments of `match` fit each other."""
    if keys.ndim != 3:
        raise ValueError(f"keys of shape {tuple(keys.shape)}; need (views, tokens, width)")
    check_at_least("r", r, 0)
    check_at_least("prefix", prefix, 0)
    lead = tuple(keys.shape[:2])
    for name, part in (("protected", protected), ("sizes", sizes)):
        if part is not None and tuple(part.shape) != lead:
            raise ValueError(f"{name} of shape {tuple(part.shape)}; need {lead}")
    if prefix > lead[1]:
        raise ValueError(f"a prefix of {prefix} rows, of {lead[1]}")
