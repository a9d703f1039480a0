"""Layouts: where tokens lie in a frame, as plain geometry.

A layout turns (frame size, focus) into a token table; it never sees pixels, and it does not know
which backend will sample. Six are offered, with the ring presets by name:

    quadtree    exact count, covers the whole frame once, any fixations or score map: the default
    uniform     equal squares; the baseline, and a model's native layout
    rings       nested squares around the fixation; a partition of their own field
    crops       one coarse grid over the frame plus a fine crop per fixation
    sunflower   exact count, scattered; does not cover
    logpolar    rings x wedges, for compatibility; does not cover, and cells leave the frame

Any of them can place whole squares of tokens, for models that merge them: see MergeBlocks.

Why partitions are preferred: with every texel in exactly one token, no text, no thin object and no
count can fall into a gap; token areas sum to the frame, so pooling by area and painting the frame
back from its tokens are exact; and positions of a plain ViT can be looked up at token centres. The
scattered layouts leave a seventh of the frame or more unseen, which one-token objects do not survive.
Rejected for the same reason: clamping tokens that leave the frame onto its border (they repeat
texels), and thresholds on distance (the count changes with the fixation, 268 in the middle
and 103 in a corner, so batches need padding or variable-length attention).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from texvlm.layouts.base import Focus, Layout, check_count
from texvlm.layouts.crops import GlobalAndCrops, split_budget
from texvlm.layouts.logpolar import LogPolar, split_count
from texvlm.layouts.merge_blocks import MergeBlocks
from texvlm.layouts.quadtree import Quadtree
from texvlm.layouts.rings import RING_PRESETS, Rings
from texvlm.layouts.sunflower import Sunflower
from texvlm.layouts.table import (
    PADDING_LAYER,
    TABLE_FIELDS,
    TOKEN_RECORD,
    Table,
    lod_of_side,
    make_table,
    pad_table,
)
from texvlm.layouts.uniform import UniformGrid

__all__ = [
    "DEFAULT_TOKENS",
    "LAYOUTS",
    "PADDING_LAYER",
    "RING_PRESETS",
    "TABLE_FIELDS",
    "TOKEN_RECORD",
    "Focus",
    "GlobalAndCrops",
    "Layout",
    "LogPolar",
    "MergeBlocks",
    "Quadtree",
    "Rings",
    "Sunflower",
    "Table",
    "UniformGrid",
    "lod_of_side",
    "make_layout",
    "make_table",
    "pad_table",
]

DEFAULT_TOKENS = 268


def make_layout(
    name: str,
    *,
    tokens: int | None = None,
    patch: int = 16,
    fov_deg: float = 60.0,
    e2_deg: float = 2.0,
    block: int = 1,
    **options: Any,
) -> Layout:
    """A layout by name.

    Args:
        name: one of LAYOUTS.
        tokens: rows of every table; None for the layout's own default (the frame's count for uniform
            at native resolution).
        patch: output pixels along one token side.
        fov_deg: field of view across the longer side, degrees; uniform, rings and crops do not depend on it.
        e2_deg: eccentricity at which tokens are twice as wide, degrees; as `fov_deg`.
        block: whole squares of block x block tokens are placed, see MergeBlocks; 1 for single tokens.
        **options: other attributes of the layout's class, such as `fixations` or `max_side`.

    Raises:
        ValueError: an unknown name, a count that the layout cannot give, or a value out of range;
            says what is accepted.
        TypeError: an option that the layout does not have; lists those it has.
    """
    if name not in LAYOUTS:
        raise ValueError(f"unknown layout {name!r}; accepted: {', '.join(LAYOUTS)}")
    check_count("block", block, unit=" of tokens")
    if block == 1:
        return LAYOUTS[name](name, tokens, patch, {"fov_deg": fov_deg, "e2_deg": e2_deg}, options)
    check_count("patch", patch, unit=" of pixels")
    if tokens is not None:
        check_count("tokens", tokens)
        if tokens % block**2:
            raise ValueError(
                f"{tokens} tokens are not whole squares of {block} x {block}; take a multiple of {block**2}, such as "
                f"{-(-tokens // block**2) * block**2}"
            )
        tokens //= block**2
    squares = LAYOUTS[name](name, tokens, patch * block, {"fov_deg": fov_deg, "e2_deg": e2_deg}, options)
    return MergeBlocks(squares, block)


Field = dict[str, float]
Options = dict[str, Any]


def _quadtree(name: str, tokens: int | None, patch: int, field: Field, options: Options) -> Layout:
    if tokens is None:  # nobody insisted on a count: a frame too small for it is padded, not refused
        options = {"small_frames": "pad", **options}
    return _build(
        Quadtree, name, {"tokens": DEFAULT_TOKENS if tokens is None else tokens, "patch": patch, **field}, options
    )


def _sunflower(name: str, tokens: int | None, patch: int, field: Field, options: Options) -> Layout:
    count = DEFAULT_TOKENS if tokens is None else tokens
    return _build(Sunflower, name, {"tokens": count, "patch": patch, **field}, options)


def _uniform(name: str, tokens: int | None, patch: int, field: Field, options: Options) -> Layout:
    return _build(UniformGrid, name, {"tokens": tokens, "patch": patch}, options)


def _crops(name: str, tokens: int | None, patch: int, field: Field, options: Options) -> Layout:
    if tokens is not None:
        crops = options.get("fixations", 1)
        check_count("fixations", crops)
        whole, crop_grid = split_budget(tokens, crops)
        if "crop_grid" in options:
            check_count("crop_grid", options["crop_grid"])
            whole = tokens - crops * options["crop_grid"] ** 2
            if whole < 1:
                raise ValueError(
                    f"{tokens} tokens cannot hold {crops} crops of {options['crop_grid']} x {options['crop_grid']} "
                    "and a global grid; ask for more tokens or a smaller crop_grid"
                )
        options = {"crop_grid": crop_grid, **options, "global_tokens": whole}
    return _build(GlobalAndCrops, name, {"patch": patch}, options)


def _rings(name: str, tokens: int | None, patch: int, field: Field, options: Options) -> Layout:
    fixations = options.get("fixations", 1)
    check_count("fixations", fixations)
    per_fixation = None if tokens is None else tokens // fixations
    preset = RING_PRESETS.get(f"rings-{per_fixation}")
    if preset is not None and not {"strides", "grids"} & options.keys():
        options = {"strides": preset[0], "grids": preset[1], **options}
    return _checked(_build(Rings, name, {"patch": patch}, options), name, tokens)


def _ring_preset(name: str, tokens: int | None, patch: int, field: Field, options: Options) -> Layout:
    strides, grids = RING_PRESETS[name]
    preset = {"patch": patch, "strides": strides, "grids": grids}
    return _checked(_build(Rings, name, preset, options), name, tokens)


def _logpolar(name: str, tokens: int | None, patch: int, field: Field, options: Options) -> Layout:
    if tokens is not None and not {"rings", "wedges"} & options.keys():
        rings, wedges = split_count(tokens)
        options = {"rings": rings, "wedges": wedges, **options}
    return _checked(_build(LogPolar, name, {"patch": patch, **field}, options), name, tokens)


def _build(layout: Callable[..., Layout], name: str, given: Options, options: Options) -> Layout:
    """The layout, or a TypeError that lists its options when one is unknown."""
    known = [option for option in layout.__dataclass_fields__ if option not in given]  # type: ignore[attr-defined]
    for option in options:
        if option not in known:
            raise TypeError(f"layout {name} has no option {option!r}; it has: {', '.join(known) or 'none'}")
    return layout(**given, **options)


def _checked(layout: Layout, name: str, tokens: int | None) -> Layout:
    """The layout, or a ValueError when its own count is not the one that was asked for."""
    if tokens is not None and layout.tokens != tokens:
        raise ValueError(
            f"layout {name} has {layout.tokens} tokens, not {tokens}; leave tokens out, or take one of: "
            f"{', '.join(RING_PRESETS)}, or quadtree for any count"
        )
    return layout


LAYOUTS: dict[str, Callable[[str, int | None, int, Field, Options], Layout]] = {
    "quadtree": _quadtree,
    "uniform": _uniform,
    "rings": _rings,
    **dict.fromkeys(RING_PRESETS, _ring_preset),
    "crops": _crops,
    "sunflower": _sunflower,
    "logpolar": _logpolar,
}
"""Name -> constructor; `make_layout` is the way in."""
