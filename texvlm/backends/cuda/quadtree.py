"""The quadtree planned on the device: the rows that `Quadtree.plan` gives, from fixations that stay there.

Refusals depend on sizes and weights alone, which the host knows. What a view needs beyond its fixations
travels in the kernel's arguments, so a call copies nothing and can be captured in a graph.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from texvlm.backends.cuda.api import Driver, Stream
from texvlm.backends.cuda.kernels import Definitions, Kernels
from texvlm.backends.cuda.launch import Launch
from texvlm.layouts import Quadtree
from texvlm.layouts._eccentricity import ARCTANGENT_DEG, SHALLOW, STEEP
from texvlm.layouts._quadtree_kernel import LONGEST_CHAIN, SETTLING_STEPS
from texvlm.layouts._quadtree_tree import SPARE_NODES
from texvlm.layouts.base import FARTHEST
from texvlm.layouts.table import TABLE_FIELDS, TOKEN_RECORD
from texvlm.visual_field import VisualField

THREADS = 128
"""Of a block: most rounds make fewer nodes than this, and one warp alone works on the tree's shape."""

SHARED_TOKENS = 512
"""Largest budget whose tree fits the 48 KiB of shared memory that every device has."""

VIEW_ROOM, WEIGHT_ROOM = 64, 128
"""Views and weights in one launch: a kernel's arguments have 4 KiB."""

EQUAL, IN_ARGUMENTS, IN_POINTS = range(3)
"""Where the kernel finds weights: `weight_source`."""

VIEW = np.dtype([("focal", "<f8"), ("size", "<i4", (2,)), ("layer", "<i4"), ("cells", "<i4", (2,)), ("budget", "<i4")])
"""ViewFields of cuda/plan_quadtree.cu."""

ARGUMENTS = np.dtype(
    [
        ("fixations", "<u8"),
        ("rows", "<u8"),
        ("points", "<u8"),
        ("scratch", "<u8"),
        ("scratch_bytes", "<i8"),
        ("series", "<f8", (len(ARCTANGENT_DEG),)),
        ("shallow", "<f8"),
        ("steep", "<f8"),
        ("e2_deg", "<f8"),
        ("unit", "<f8"),
        ("farthest", "<f8"),
        ("weights", "<f8", (WEIGHT_ROOM,)),
        ("views", VIEW, (VIEW_ROOM,)),
        ("tokens", "<i4"),
        ("fixation_count", "<i4"),
        ("max_level", "<i4"),
        ("node_room", "<i4"),
        ("slot_room", "<i4"),
        ("spare_nodes", "<i4"),
        ("is_double", "<i4"),
        ("weight_source", "<i4"),
        ("weight_stride", "<i4"),
        ("padding", "<i4"),
    ]
)
"""PlanQuadtreeArguments of cuda/plan_quadtree.cu."""

_NODE_BYTES = 8 + 5 * 4 + 1  # priority; place, region, child, list, chain; flags


@dataclass(frozen=True, slots=True, eq=False)
class QuadtreePlan:
    """Launches that plan one table a view, ready to be queued now or as nodes of a graph.

    Attributes:
        rows: where to: bits of TOKEN_RECORD, int32, (views, tokens, 6), on the device.
        launches: for up to VIEW_ROOM views each.
    """

    rows: torch.Tensor
    launches: tuple[Launch, ...]


def plan_quadtree(
    driver: Driver,
    kernels: Kernels,
    layout: Quadtree,
    sizes: Sequence[tuple[int, int]],
    layers: Sequence[int],
    fixations: torch.Tensor,
    weights: NDArray[np.float64] | None = None,
    *,
    stream: Stream,
) -> torch.Tensor:
    """Queue the planning of one table a view; equal to `layout.plan`, row for row and bit for bit.

    A view with a fixation that is not finite gets padding rows only: a kernel cannot raise.

    Args:
        driver: the device.
        kernels: its compiled kernels.
        layout: which quadtree.
        sizes: (width, height) of each view's frame.
        layers: layer of each view, written to its rows.
        fixations: (u, v), the frame spanning 0..1, float64 or taken as float32, (views, k, 2), on the device.
        weights: importance of each fixation, > 0, (k,) or (views, k), on the host; None for equal ones.
        stream: torch's current one.
    Returns:
        Bits of TOKEN_RECORD, int32, (views, tokens, 6), on the device.
    Raises:
        ValueError: as `layout.plan` does; or shapes, devices or weights that do not fit.
    """
    plan = prepare_quadtree(driver, kernels, layout, sizes, layers, fixations, weights)
    for launch in plan.launches:
        launch.run(stream)
    return plan.rows


def prepare_quadtree(
    driver: Driver,
    kernels: Kernels,
    layout: Quadtree,
    sizes: Sequence[tuple[int, int]],
    layers: Sequence[int],
    fixations: torch.Tensor,
    weights: NDArray[np.float64] | None = None,
) -> QuadtreePlan:
    """The launches of `plan_quadtree`, and where they write; nothing is queued."""
    if fixations.device != driver.device:
        raise ValueError(f"fixations lie on {fixations.device}; this backend reads tensors on {driver.device}")
    views = len(sizes)
    if fixations.ndim != 3 or fixations.shape[2] != 2 or 0 in fixations.shape or len(fixations) != views:
        raise ValueError(f"fixations of shape {tuple(fixations.shape)} for {views} views; accepted is (views, k, 2)")
    if len(layers) != views:
        raise ValueError(f"{len(layers)} layers for {views} views; give one each")
    if fixations.dtype != torch.float64:
        fixations = fixations.to(torch.float32)
    fixations = fixations.contiguous()
    count = int(fixations.shape[1])
    shares = None if weights is None else _relative(weights, views, count)
    fields = _view_fields(layout, tuple(sizes), tuple(layers))
    memory = _Memory.for_views(layout.tokens, count, int(fields["budget"].max()), views)
    words = torch.empty(memory.bytes // 4, dtype=torch.int32, device=driver.device)

    common = np.zeros(1, ARGUMENTS)
    common["series"], common["shallow"], common["steep"] = ARCTANGENT_DEG, SHALLOW, STEEP
    common["e2_deg"], common["unit"], common["farthest"] = layout.e2_deg, layout.least_side, FARTHEST
    common["tokens"], common["fixation_count"], common["max_level"] = layout.tokens, count, layout.max_level
    common["node_room"], common["slot_room"] = memory.nodes, memory.slots
    common["spare_nodes"], common["scratch_bytes"] = SPARE_NODES, memory.tree_bytes
    common["is_double"] = fixations.dtype == torch.float64
    together = VIEW_ROOM
    if shares is not None and count <= WEIGHT_ROOM:
        common["weight_source"], common["weight_stride"] = IN_ARGUMENTS, 0 if len(shares) == 1 else count
        together = VIEW_ROOM if len(shares) == 1 else min(VIEW_ROOM, WEIGHT_ROOM // count)
    elif shares is not None:
        # Rare, and the one case where something is copied to the device.
        common["weight_source"] = IN_POINTS
        points = words[memory.points // 4 :][: views * count * 6].view(torch.float64).view(views, count, 3)
        points[:, :, 2] = torch.from_numpy(shares).to(driver.device)

    kernel = kernels.get("plan_quadtree.cu", _definitions(scratch=memory.tree_bytes > 0), ARGUMENTS)
    launches = []
    for first in range(0, views, together):
        part = fields[first : first + together]
        arguments = common.copy()
        arguments["views"][0, : len(part)] = part
        if shares is not None and count <= WEIGHT_ROOM:
            own = shares if len(shares) == 1 else shares[first : first + together]
            arguments["weights"][0, : own.size] = own.ravel()
        base = words.data_ptr()
        arguments["fixations"] = fixations.data_ptr() + first * count * 2 * fixations.element_size()
        arguments["rows"] = base + first * layout.tokens * TOKEN_RECORD.itemsize
        arguments["points"] = base + memory.points + first * count * 3 * 8
        arguments["scratch"] = base + memory.trees + first * memory.tree_bytes
        launches.append(Launch(kernel, (len(part), 1, 1), (THREADS, 1, 1), arguments, (fixations, words)))
    shape = (views, layout.tokens, len(TABLE_FIELDS))
    rows = words[: views * layout.tokens * len(TABLE_FIELDS)].view(shape)
    return QuadtreePlan(rows, tuple(launches))


def variants() -> list[tuple[str, Definitions, np.dtype[Any]]]:
    """(file, definitions, argument record) of each kernel used here."""
    return [("plan_quadtree.cu", _definitions(scratch=scratch), ARGUMENTS) for scratch in (False, True)]


@dataclass(frozen=True, slots=True)
class _Memory:
    """One allocation: rows, points of every view, and the trees that do not fit in shared memory."""

    nodes: int  # room of one tree
    slots: int
    tree_bytes: int  # of one tree; 0 where shared memory holds it
    points: int  # offset, bytes
    trees: int
    bytes: int

    @staticmethod
    def for_views(tokens: int, fixation_count: int, budget: int, views: int) -> _Memory:
        """Room for trees of `budget` tokens."""
        nodes = _nodes(budget)
        slots = _slots(nodes)
        tree = 0 if budget <= SHARED_TOKENS else _aligned(nodes * _NODE_BYTES + 4 * slots)
        points = _aligned(views * tokens * TOKEN_RECORD.itemsize)
        trees = points + _aligned(views * fixation_count * 3 * 8)
        return _Memory(nodes, slots, tree, points, trees, trees + views * tree)


def _nodes(budget: int) -> int:
    """Nodes that a tree of so many tokens has room for, as on the host."""
    return 2 * budget + SPARE_NODES


def _slots(nodes: int) -> int:
    """Slots of the hash: a power of two, a fifth of them free at least."""
    return 1 << (nodes + nodes // 4).bit_length()


def _aligned(size: int) -> int:
    """Bytes up to the next multiple of what every type of a kernel needs."""
    return -(-size // 16) * 16


def _definitions(*, scratch: bool) -> Definitions:
    nodes = _nodes(SHARED_TOKENS)
    return (
        ("TEXVLM_THREADS", THREADS),
        ("TEXVLM_SCRATCH", int(scratch)),
        ("TEXVLM_NODES", nodes),
        ("TEXVLM_SLOTS", _slots(nodes)),
        ("TEXVLM_VIEWS", VIEW_ROOM),
        ("TEXVLM_WEIGHTS", WEIGHT_ROOM),
        ("TEXVLM_SERIES", len(ARCTANGENT_DEG)),
        ("TEXVLM_LONGEST_CHAIN", LONGEST_CHAIN),
        ("TEXVLM_SETTLING_STEPS", SETTLING_STEPS),
    )


@lru_cache(maxsize=64)
def _view_fields(layout: Quadtree, sizes: tuple[tuple[int, int], ...], layers: tuple[int, ...]) -> np.ndarray[Any, Any]:
    """VIEW of each view; ValueError where `layout.plan` refuses a size. Read only."""
    fields = np.zeros(len(sizes), VIEW)
    for field, size, layer in zip(fields, sizes, layers, strict=True):
        focal = VisualField(size, layout.fov_deg).focal_texels
        columns, rows = layout.check_budget(size)
        field["focal"], field["size"], field["layer"] = focal, size, layer
        field["cells"], field["budget"] = (columns, rows), min(layout.tokens, columns * rows)
    fields.flags.writeable = False
    return fields


def _relative(weights: NDArray[np.float64], views: int, count: int) -> NDArray[np.float64]:
    """Weights relative to each view's greatest, (views, k), or (1, k) where all views share them."""
    shares = np.asarray(weights, np.float64)
    if shares.shape not in ((count,), (views, count)):
        raise ValueError(f"weights of shape {shares.shape} for {views} views of {count} fixations; give one each")
    if not (np.isfinite(shares).all() and (shares > 0).all()):
        raise ValueError(f"weights are {shares.tolist()}; each must be a finite number above 0")
    shares = np.atleast_2d(shares)
    if (shares == shares[0]).all():
        shares = shares[:1]
    relative: NDArray[np.float64] = shares / shares.max(axis=1, keepdims=True)
    return relative
