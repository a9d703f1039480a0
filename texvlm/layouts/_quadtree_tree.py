"""The quadtree's memory: nodes, the hash that finds them, the queue of leaves, and their priority.

Space is counted in cells, squares of the smallest node side. A node of level m covers 2**m x 2**m
cells, and lies at (column, row) in units of its own side.

Nothing is sized by the frame. Nodes live in arrays sized by the budget and are found through a
hash of (level, row, column), so a plan costs the same at 720p and at 16384 x 16384, and each call
owns its memory: any number of threads may plan at once.

Numba's disk cache watches only the file of the outermost function: after an edit here, touch
`_quadtree_kernel.py` too.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from texvlm import _compiled
from texvlm.layouts._eccentricity import eccentricity_deg

compiled = _compiled.compiled()

# Columns of Tree.nodes. CHILD is the first of CHILDREN consecutive nodes, NOTHING for a leaf. STAMP
# marks members of the chain at hand. HELD is 1 for a node that may not split.
LEVEL, COLUMN, ROW, CHILD, CHILDREN, REGION, STAMP, HELD, FIELDS = range(9)
# Entries of Tree.tally.
NODES, LEAVES, QUEUED, STAMPS, ACTIONS, TALLIES = range(6)

NOTHING = -1
SPARE_NODES = 512  # beyond two per token: splits that add no leaf, and splits that are undone again
SIGNIFICANT = 1e-12  # of the whole mass of a score map; less is rounding of the integral image


class View(NamedTuple):
    """What decides priority. An empty `integral` means fixations."""

    cells_x: int  # cells that meet the frame, per axis
    cells_y: int
    unit: float  # texels along one cell
    width: float  # of the frame, texels
    height: float
    max_level: int  # nodes above it are split before all others
    fixations: NDArray[np.float64]  # (k, 2), texels
    weights: NDArray[np.float64]  # (k,)
    focal: float  # texels
    e2_deg: float
    integral: NDArray[np.float64]  # (rows + 1, columns + 1): integral image of the score map


class Tree(NamedTuple):
    """Every array that grows while splitting."""

    nodes: NDArray[np.int64]  # (capacity, FIELDS)
    priority: NDArray[np.float64]  # (capacity,)
    keys: NDArray[np.int64]  # open-addressing hash of nodes, a power of two long
    homes: NDArray[np.int64]  # node of each key
    queue: NDArray[np.int64]  # binary heap of leaves that may split, best first
    chain: NDArray[np.int64]  # leaves that must split together
    actions: NDArray[np.int64]  # (capacity, 2): node and its CHILD before it was split or merged
    tally: NDArray[np.int64]


@compiled
def plant(tokens: int) -> Tree:
    """Empty arrays with room for every node that a tree of `tokens` leaves can have."""
    capacity = 2 * tokens + SPARE_NODES
    buckets = 1
    while buckets < 2 * capacity:
        buckets *= 2
    return Tree(
        np.empty((capacity, FIELDS), np.int64),
        np.empty(capacity, np.float64),
        np.full(buckets, NOTHING, np.int64),
        np.empty(buckets, np.int64),
        np.empty(capacity, np.int64),
        np.empty(capacity, np.int64),
        np.empty((capacity, 2), np.int64),
        np.zeros(TALLIES, np.int64),
    )


@compiled
def add(tree: Tree, view: View, level: int, column: int, row: int) -> int:
    """A new leaf with its priority; returns its number."""
    nodes = tree.nodes
    node = int(tree.tally[NODES])
    tree.tally[NODES] += 1
    nodes[node, LEVEL], nodes[node, COLUMN], nodes[node, ROW] = level, column, row
    nodes[node, CHILD], nodes[node, CHILDREN] = NOTHING, 0
    nodes[node, STAMP], nodes[node, HELD] = 0, 0
    side = view.unit * (1 << level)
    x0, y0 = column * side, row * side
    x1, y1 = min(x0 + side, view.width), min(y0 + side, view.height)
    if view.integral.size:
        priority, region = _mass(view, x0, y0, x1, y1), 0
    else:
        density, region = _density(view, x0, y0, x1, y1)
        priority = side * side * density
    nodes[node, REGION] = region
    tree.priority[node] = np.inf if level > view.max_level else priority
    key = _key(level, column, row)
    slot = _slot(tree, key)
    tree.keys[slot], tree.homes[slot] = key, node
    return node


@compiled
def find(tree: Tree, level: int, column: int, row: int) -> int:
    """The node at this place, or NOTHING."""
    if column < 0 or row < 0:
        return NOTHING
    slot = _slot(tree, _key(level, column, row))
    return NOTHING if tree.keys[slot] == NOTHING else int(tree.homes[slot])


@compiled
def _key(level: int, column: int, row: int) -> int:
    """One integer per place: a frame has at most 2**28 cells per axis."""
    return (level << 56) | (row << 28) | column


@compiled
def _slot(tree: Tree, key: int) -> int:
    """Where a key is, or belongs, in the hash; linear probing, never more than half full."""
    last = len(tree.keys) - 1
    mixed = (key ^ (key >> 27)) * 0x2545F4914F6CDD1D
    slot = (mixed ^ (mixed >> 31)) & last
    while tree.keys[slot] != NOTHING and tree.keys[slot] != key:
        slot = (slot + 1) & last
    return slot


# --- priority: how many tokens a node deserves -------------------------------------------------------


@compiled
def _density(view: View, x0: float, y0: float, x1: float, y1: float) -> tuple[float, int]:
    """Token density at the point of the rectangle nearest to each fixation, and who adds most to it."""
    total, most, region = 0.0, -1.0, 0
    for i in range(len(view.weights)):
        dx = max(x0 - view.fixations[i, 0], view.fixations[i, 0] - x1, 0.0)
        dy = max(y0 - view.fixations[i, 1], view.fixations[i, 1] - y1, 0.0)
        spacing = eccentricity_deg(dx, dy, view.focal) + view.e2_deg
        share = view.weights[i] / (spacing * spacing)
        total += share
        if share > most:
            most, region = share, i
    return total, region


@compiled
def _mass(view: View, x0: float, y0: float, x1: float, y1: float) -> float:
    """Mass of the score map, stretched over the frame, inside the rectangle."""
    rows, columns = view.integral.shape[0] - 1, view.integral.shape[1] - 1
    left, right = x0 / view.width * columns, x1 / view.width * columns
    top, bottom = y0 / view.height * rows, y1 / view.height * rows
    lower = _integral_at(view.integral, right, bottom) - _integral_at(view.integral, left, bottom)
    upper = _integral_at(view.integral, right, top) - _integral_at(view.integral, left, top)
    mass = lower - upper
    return mass if mass > SIGNIFICANT * view.integral[rows, columns] else 0.0


@compiled
def integral_image(score: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sum of a map above and left of each grid point, shape (rows + 1, columns + 1).

    Relative to the greatest value, so that no sum overflows.
    """
    rows, columns = score.shape
    greatest = score.max()
    scale = 1 / greatest if greatest > np.finfo(np.float64).tiny else 1.0
    integral = np.zeros((rows + 1, columns + 1))
    for row in range(rows):
        total = 0.0
        for column in range(columns):
            total += score[row, column] * scale
            integral[row + 1, column + 1] = integral[row, column + 1] + total
    return integral


@compiled
def _integral_at(integral: NDArray[np.float64], x: float, y: float) -> float:
    """Integral image between its grid points: bilinear, exact for a map that is flat in each cell."""
    column = min(int(x), integral.shape[1] - 2)
    row = min(int(y), integral.shape[0] - 2)
    u, v = x - column, y - row
    upper = integral[row, column] * (1 - u) + integral[row, column + 1] * u
    lower = integral[row + 1, column] * (1 - u) + integral[row + 1, column + 1] * u
    return float(upper * (1 - v) + lower * v)


# --- the queue of leaves -----------------------------------------------------------------------------


@compiled
def _before(tree: Tree, a: int, b: int) -> bool:
    """Order of splitting: priority, then size, then age; total, hence deterministic."""
    if tree.priority[a] != tree.priority[b]:
        return bool(tree.priority[a] > tree.priority[b])
    if tree.nodes[a, LEVEL] != tree.nodes[b, LEVEL]:
        return bool(tree.nodes[a, LEVEL] > tree.nodes[b, LEVEL])
    return a < b


@compiled
def push(tree: Tree, node: int) -> None:
    """Queue a leaf."""
    at = tree.tally[QUEUED]
    tree.tally[QUEUED] += 1
    while at > 0:
        above = (at - 1) >> 1
        if not _before(tree, node, tree.queue[above]):
            break
        tree.queue[at] = tree.queue[above]
        at = above
    tree.queue[at] = node


@compiled
def pop(tree: Tree) -> int:
    """Take out the leaf to split first; the queue must not be empty."""
    best = tree.queue[0]
    tree.tally[QUEUED] -= 1
    size = tree.tally[QUEUED]
    node = tree.queue[size]
    at = 0
    while 2 * at + 1 < size:
        below = 2 * at + 1
        if below + 1 < size and _before(tree, tree.queue[below + 1], tree.queue[below]):
            below += 1
        if not _before(tree, tree.queue[below], node):
            break
        tree.queue[at] = tree.queue[below]
        at = below
    tree.queue[at] = node
    return int(best)
