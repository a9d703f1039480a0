"""The quadtree's inner loop: best-first splitting under a token budget, 2:1 balanced.

Children wholly outside the frame are never made, so a split adds 3, 1 or 0 leaves: 1 at a border
that cuts half of the node off, 0 at a corner that cuts off three quarters. That is why an exact
count is a matter of the residue modulo 3: where the frame cuts no node, counts come in steps of 3;
elsewhere one border split more or less reaches any count, which `_settle` arranges.

`cuda/plan_quadtree.cu` plans the same rows on a device, ties included; what changes here changes there.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from texvlm.layouts._quadtree_tree import (
    ACTIONS,
    CHILD,
    CHILDREN,
    COLUMN,
    HELD,
    LEAVES,
    LEVEL,
    NODES,
    NOTHING,
    QUEUED,
    REGION,
    ROW,
    STAMP,
    STAMPS,
    Tree,
    View,
    add,
    compiled,
    find,
    plant,
    pop,
    push,
)

LONGEST_CHAIN = 60  # leaves that one split may add while settling; keeps the undoable part small
SETTLING_STEPS = 4  # two border splits or two merges change any residue; the rest is for surprises


@compiled
def grow(view: View, tokens: int) -> tuple[Any, Any, Any, Any]:
    """Split from one root until `tokens` leaves are reached, or no split fits.

    Returns:
        x, y, side (texels, float64) and region (int64) of each leaf, in Morton order; 0, 1 or 2
        fewer than `tokens`. The caller has checked that the cells, and the nodes of `max_level`
        that meet the frame, allow `tokens`.
    """
    tree = plant(tokens)
    level = 0
    while (1 << level) < max(view.cells_x, view.cells_y):
        level += 1
    add(tree, view, level, 0, 0)
    tree.tally[LEAVES] = 1
    if level > 0:
        push(tree, 0)
    _refine(tree, view, tokens)
    if tree.tally[LEAVES] < tokens:
        tree.tally[ACTIONS] = 0
        if not _settle(tree, view, tokens):
            _undo(tree)
    return _leaves(tree, view)  # type: ignore[no-any-return]


@compiled
def _refine(tree: Tree, view: View, tokens: int) -> None:
    """Split the best leaf that the budget allows, with every neighbour that this forces, and repeat.

    A split that costs more than what is left never becomes affordable: other splits can only
    shorten its chain by what they take from the budget themselves. So it is dropped for good.
    """
    while tree.tally[QUEUED] > 0:
        node = pop(tree)
        if tree.nodes[node, CHILD] == NOTHING:
            left = tokens - tree.tally[LEAVES]
            length, cost = _chain(tree, view, node, left)
            if cost <= left:
                tree.tally[ACTIONS] = 0  # nothing here is ever undone
                _split_chain(tree, view, length)


# --- splitting and merging ---------------------------------------------------------------------------


@compiled
def _chain(tree: Tree, view: View, node: int, budget: int) -> tuple[int, int]:
    """Collect the leaves that must split with `node` to keep 2:1, itself first, and what that costs.

    A node touches larger leaves only across the two outer sides and the outer corner of its own
    parent; by the 2:1 rule those leaves are of the parent's level.

    Returns:
        (length of tree.chain, leaves added); the cost is above `budget` when it is not affordable,
        and the chain is then incomplete.
    """
    nodes, chain = tree.nodes, tree.chain
    tree.tally[STAMPS] += 1
    stamp = tree.tally[STAMPS]
    chain[0] = node
    nodes[node, STAMP] = stamp
    length, cost, at = 1, 0, 0
    while at < length:
        member = chain[at]
        at += 1
        cost += _cost(tree, view, member)
        if cost > budget or nodes[member, HELD]:
            return length, budget + 1
        level = nodes[member, LEVEL] + 1
        column, row = nodes[member, COLUMN] >> 1, nodes[member, ROW] >> 1
        beside = column + (1 if nodes[member, COLUMN] & 1 else -1)
        below = row + (1 if nodes[member, ROW] & 1 else -1)
        for x, y in ((beside, row), (column, below), (beside, below)):
            other = find(tree, level, x, y)
            if other != NOTHING and nodes[other, CHILD] == NOTHING and nodes[other, STAMP] != stamp:
                nodes[other, STAMP] = stamp
                chain[length] = other
                length += 1
    return length, cost


@compiled
def _cost(tree: Tree, view: View, node: int) -> int:
    """Leaves that splitting adds: children that meet the frame, less the node itself."""
    half = tree.nodes[node, LEVEL] - 1
    across = 2 if (2 * tree.nodes[node, COLUMN] + 1) << half < view.cells_x else 1
    down = 2 if (2 * tree.nodes[node, ROW] + 1) << half < view.cells_y else 1
    return across * down - 1


@compiled
def _split_chain(tree: Tree, view: View, length: int) -> None:
    """Split the nodes of the chain, the largest (last found) first, and queue their children."""
    for at in range(length - 1, -1, -1):
        node = tree.chain[at]
        level = tree.nodes[node, LEVEL] - 1
        first = tree.tally[NODES]
        for corner in range(4):  # Z order
            column = 2 * tree.nodes[node, COLUMN] + (corner & 1)
            row = 2 * tree.nodes[node, ROW] + (corner >> 1)
            if column << level < view.cells_x and row << level < view.cells_y:
                child = add(tree, view, level, column, row)
                if level > 0:
                    push(tree, child)
        tree.nodes[node, CHILDREN] = tree.tally[NODES] - first
        _change(tree, node, first)


@compiled
def _change(tree: Tree, node: int, child: int) -> None:
    """Give a node its children (split) or NOTHING (merge), count, and remember how it was."""
    at = tree.tally[ACTIONS]
    tree.actions[at, 0], tree.actions[at, 1] = node, tree.nodes[node, CHILD]
    tree.tally[ACTIONS] += 1
    added = tree.nodes[node, CHILDREN] - 1
    tree.tally[LEAVES] += -added if child == NOTHING else added
    tree.nodes[node, CHILD] = child


@compiled
def _undo(tree: Tree) -> None:
    """Take back every action; the tree is only read afterwards."""
    for at in range(tree.tally[ACTIONS] - 1, -1, -1):
        node = tree.actions[at, 0]
        added = tree.nodes[node, CHILDREN] - 1
        tree.tally[LEAVES] += -added if tree.actions[at, 1] == NOTHING else added
        tree.nodes[node, CHILD] = tree.actions[at, 1]


@compiled
def _merge_least(tree: Tree, view: View, cost: int) -> bool:
    """Undo the least important split that added `cost` leaves; False if none can be undone.

    The node may not split again; its children stay in the hash as leaves that nobody can reach.
    """
    best = NOTHING
    for node in range(tree.tally[NODES] - 1, -1, -1):  # the youngest matter least, so few are looked at
        if (best == NOTHING or tree.priority[node] < tree.priority[best]) and _mergeable(tree, view, node, cost):
            best = node
    if best == NOTHING:
        return False
    tree.nodes[best, HELD] = 1
    _change(tree, best, NOTHING)
    return True


@compiled
def _mergeable(tree: Tree, view: View, node: int, cost: int) -> bool:
    """Whether undoing this split gives `cost` rows back and keeps 2:1 and the greatest side."""
    nodes = tree.nodes
    child = nodes[node, CHILD]
    if child == NOTHING or nodes[node, LEVEL] > view.max_level or _cost(tree, view, node) != cost:
        return False
    level = nodes[node, LEVEL] - 1
    left, top = 2 * nodes[node, COLUMN] - 1, 2 * nodes[node, ROW] - 1
    for row in range(top, top + 4):
        for column in range(left, left + 4):
            other = find(tree, level, column, row)
            if other != NOTHING and nodes[other, CHILD] != NOTHING:
                return False
    return True


# --- the exact count ---------------------------------------------------------------------------------


@compiled
def _settle(tree: Tree, view: View, tokens: int) -> bool:
    """Reach the exact count from 1 or 2 below it, when no split fits any more.

    First the residue modulo 3 is put right, by one or two border splits of cost 1 more or fewer;
    then the least important splits of cost 3 are given back, or the most important one is made.
    Returns False, with every action recorded, when the frame offers no way.
    """
    for _ in range(SETTLING_STEPS):
        missing = (tokens - tree.tally[LEAVES]) % 3
        if missing == 0:
            break
        if missing == 2:
            done = _merge_least(tree, view, 1) or _split_border(tree, view)
        else:
            done = _split_border(tree, view) or _merge_least(tree, view, 1)
        if not done:
            return False
    while tree.tally[LEAVES] > tokens:
        if not _merge_least(tree, view, 3):
            return False
    while tree.tally[LEAVES] < tokens:
        if not _split_adding(tree, view, 3):
            return False
    return bool(tree.tally[LEAVES] == tokens)


@compiled
def _split_border(tree: Tree, view: View) -> bool:
    """Make a border split of cost 1 where it takes the fewest splits, then where it matters most."""
    best, least = NOTHING, 0
    for node in range(tree.tally[NODES]):
        steps = _steps_to_border_split(tree, view, node)
        if steps > 0 and _is_live(tree, node):
            fewer = best == NOTHING or steps < least
            if fewer or (steps == least and tree.priority[node] > tree.priority[best]):
                best, least = node, steps
    node = best
    for _ in range(least):
        length, cost = _chain(tree, view, node, LONGEST_CHAIN)
        if cost > LONGEST_CHAIN or tree.tally[NODES] + 4 * length > len(tree.nodes):
            return False
        _split_chain(tree, view, length)
        node = tree.nodes[node, CHILD] + tree.nodes[node, CHILDREN] - 1  # the outermost child
    return best != NOTHING


@compiled
def _steps_to_border_split(tree: Tree, view: View, node: int) -> int:
    """Splits of this leaf, then of its outermost child and so on, until one adds 1 leaf; 0 for never."""
    column, row, level = tree.nodes[node, COLUMN], tree.nodes[node, ROW], tree.nodes[node, LEVEL]
    steps = 0
    while level > 0:
        steps += 1
        level -= 1
        across = (2 * column + 1) << level < view.cells_x
        down = (2 * row + 1) << level < view.cells_y
        if across != down:
            return steps
        column, row = 2 * column + across, 2 * row + down
    return 0


@compiled
def _is_live(tree: Tree, node: int) -> bool:
    """Whether this is a leaf of the tree that may split; merged-away children are not."""
    nodes = tree.nodes
    if nodes[node, CHILD] != NOTHING or nodes[node, LEVEL] == 0 or nodes[node, HELD]:
        return False
    parent = find(tree, nodes[node, LEVEL] + 1, nodes[node, COLUMN] >> 1, nodes[node, ROW] >> 1)
    return bool(parent == NOTHING or nodes[parent, CHILD] != NOTHING)


@compiled
def _split_adding(tree: Tree, view: View, cost: int) -> bool:
    """Split the most important leaf whose chain adds exactly `cost` leaves; False if there is none."""
    tree.tally[QUEUED] = 0
    for node in range(tree.tally[NODES]):
        if _is_live(tree, node):
            push(tree, node)
    while tree.tally[QUEUED] > 0:
        length, found = _chain(tree, view, pop(tree), cost)
        if found == cost and tree.tally[NODES] + 4 * length <= len(tree.nodes):
            _split_chain(tree, view, length)
            return True
    return False


@compiled
def _leaves(tree: Tree, view: View) -> tuple[Any, Any, Any, Any]:
    """Centre, side and region of the leaves, depth first in Z order."""
    count = tree.tally[LEAVES]
    x, y, sides = np.empty(count), np.empty(count), np.empty(count)
    regions = np.empty(count, np.int64)
    stack, depth, at = tree.queue, 1, 0  # the queue has done its work
    stack[0] = 0
    while depth:
        depth -= 1
        node = stack[depth]
        child = tree.nodes[node, CHILD]
        if child == NOTHING:
            side = view.unit * (1 << tree.nodes[node, LEVEL])
            x[at] = (tree.nodes[node, COLUMN] + 0.5) * side
            y[at] = (tree.nodes[node, ROW] + 0.5) * side
            sides[at], regions[at] = side, tree.nodes[node, REGION]
            at += 1
        else:
            for i in range(tree.nodes[node, CHILDREN] - 1, -1, -1):
                stack[depth] = child + i
                depth += 1
    return x, y, sides, regions
