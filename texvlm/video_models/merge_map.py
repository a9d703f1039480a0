"""MergeMap: which token went into which, so that merging can be followed and undone.

Merging tokens makes groups of them; the map says the group of every token, and which token stands for
a group (its *head*: the one that the others went into). Merged values are means weighted by size, the
number of original tokens that each stands for; a token that nobody joined keeps its bits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch


@dataclass(frozen=True, slots=True, eq=False)
class MergeMap:
    """Groups of tokens. Every token is in exactly one group, and groups keep the order of their heads.

    Attributes:
        groups: group of each token, int64, (views, tokens).
        heads: token that stands for each group, int64, (views, groups), ascending.
        weights: what each token counts for, float32, (views, tokens): 1 unless it was merged before.

    Raises:
        ValueError: shapes that disagree.
    """

    groups: torch.Tensor
    heads: torch.Tensor
    weights: torch.Tensor

    def __post_init__(self) -> None:
        if self.groups.ndim != 2 or self.weights.shape != self.groups.shape or len(self.heads) != len(self.groups):
            raise ValueError(
                f"groups {tuple(self.groups.shape)}, heads {tuple(self.heads.shape)} and weights "
                f"{tuple(self.weights.shape)} disagree; need (views, tokens), (views, groups), (views, tokens)"
            )

    @classmethod
    def identity(cls, views: int, tokens: int, *, device: torch.device | str | None = None) -> MergeMap:
        """Every token is a group of its own."""
        own = torch.arange(tokens, device=device).expand(views, tokens)
        return cls(own, own, torch.ones(views, tokens, device=device))

    @classmethod
    def of_parents(cls, parents: torch.Tensor, *, depth: int, groups: int, weights: torch.Tensor) -> MergeMap:
        """The groups of a forest: each token belongs with the one it went into, and that with its own.

        Args:
            parents: token that each one went into, itself where it stays, int64, (views, tokens).
            depth: longest chain of such steps.
            groups: how many tokens stay; the same in every view.
            weights: see MergeMap.
        """
        reached = 1
        while reached < depth:  # each round doubles how far a token sees
            parents, reached = parents.gather(1, parents), 2 * reached
        stays = parents == torch.arange(parents.shape[1], device=parents.device)
        place = stays.cumsum(1) - 1  # of each head among the heads
        heads = torch.argsort((~stays).to(torch.uint8), dim=1, stable=True)[:, :groups]
        return cls(place.gather(1, parents), heads, weights)

    def __len__(self) -> int:
        return int(self.groups.shape[0])

    @property
    def tokens(self) -> int:
        """Tokens of a view before."""
        return int(self.groups.shape[1])

    @property
    def count(self) -> int:
        """Tokens of a view afterwards."""
        return int(self.heads.shape[1])

    @property
    def sizes(self) -> torch.Tensor:
        """What each group counts for: the sum of its tokens' weights, float32, (views, groups)."""
        return self.weights.new_zeros(self.heads.shape).scatter_add_(1, self.groups, self.weights)

    @property
    def alone(self) -> torch.Tensor:
        """bool, (views, groups): nobody joined the head."""
        return torch.zeros_like(self.heads).scatter_add_(1, self.groups, torch.ones_like(self.groups)) == 1

    def merge(self, values: torch.Tensor) -> torch.Tensor:
        """Mean of each group, weighted by size, (views, groups, ...), of values (views, tokens, ...)."""
        if not values.is_floating_point():
            raise TypeError(f"values of {values.dtype} have no mean; of_heads takes the heads' own")
        self._check(values, self.tokens)
        rows, heads = values.flatten(2) if values.ndim > 2 else values[..., None], self.of_heads(values)
        # in 32 bits or more: a sum of many in half precision would lose what it is a sum of
        exact = torch.promote_types(values.dtype, torch.float32)
        share = (self.weights / self.sizes.gather(1, self.groups))[..., None]
        at = self.groups[..., None].expand_as(rows)
        mean = torch.zeros(len(self), self.count, rows.shape[2], dtype=exact, device=values.device)
        mean = mean.scatter_add(1, at, rows.to(exact) * share).to(values.dtype).reshape(heads.shape)
        return torch.where(_like(self.alone, heads), heads, mean)

    def of_heads(self, values: torch.Tensor) -> torch.Tensor:
        """The values of the heads alone, (views, groups, ...), such as where they lie; of any element type."""
        self._check(values, self.tokens)
        return values.gather(1, _like(self.heads, values).expand(-1, -1, *values.shape[2:]))

    def unmerge(self, merged: torch.Tensor) -> torch.Tensor:
        """The value of each token's group, (views, tokens, ...), of values (views, groups, ...)."""
        self._check(merged, self.count)
        return merged.gather(1, _like(self.groups, merged).expand(-1, -1, *merged.shape[2:]))

    def span(self, tags: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Least and largest tag in each group, (views, groups), of tags (views, tokens), such as times or sources."""
        self._check(tags, self.tokens)
        start = self.of_heads(tags)
        least, most = (start.scatter_reduce(1, self.groups, tags, how) for how in ("amin", "amax"))
        return least, most

    def then(self, after: MergeMap) -> MergeMap:
        """This merge and one of its result, as one map of the tokens before both.

        Raises:
            ValueError: the other one is of another count of tokens.
        """
        if (len(after), after.tokens) != (len(self), self.count):
            raise ValueError(
                f"a merge of {len(after)} x {after.tokens} tokens after one that leaves {len(self)} x {self.count}"
            )
        return MergeMap(after.groups.gather(1, self.groups), self.heads.gather(1, after.heads), self.weights)

    def bias(self, dtype: torch.dtype = torch.float32) -> torch.Tensor:
        """Log of the sizes, (views, 1, 1, groups): added to attention scores, a token counts as often as it stands for.

        Eq. 1 of Bolya et al. (2023), proportional attention.
        """
        return self.sizes.log().to(dtype)[:, None, None]

    def _check(self, values: torch.Tensor, rows: int) -> None:
        if tuple(values.shape[:2]) != (len(self), rows):
            raise ValueError(f"values of shape {tuple(values.shape)}; this map needs ({len(self)}, {rows}, ...)")


def chain(maps: Sequence[MergeMap]) -> MergeMap:
    """Several merges, one after the other, as one; ValueError without any."""
    if not maps:
        raise ValueError("no merges to chain; start with MergeMap.identity")
    found = maps[0]
    for after in maps[1:]:
        found = found.then(after)
    return found


def _like(index: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    """(views, rows) with as many trailing axes as the values have."""
    return index.reshape(*index.shape, *[1] * (values.ndim - 2))
