// The exact count, from one or two leaves below it, when no split fits any more. One warp works on a tree.
//
// Mirrors _settle, _merge_least, _split_border and _split_adding of texvlm/layouts/_quadtree_kernel.py.
// What the host takes back action by action, a copy of the tree's children undoes here at once.
//
// TEXVLM_LONGEST_CHAIN, TEXVLM_SETTLING_STEPS: the host's limits.
#pragma once

#include "quadtree_priority.cuh"
#include "quadtree_split.cuh"

// Splits a chain that was collected, and gives the new nodes their priorities.
__device__ __forceinline__ void split_and_prioritise(Tree& tree, const Gaze& gaze, int length, int lane) {
    const int first = tree.nodes;
    split_chain(tree, length, lane);
    for (int node = first + lane; node < tree.nodes; node += 32) prioritise(tree, gaze, node);
    __syncwarp();
}

// Whether undoing this split gives `cost` rows back and keeps 2:1 and the greatest side.
__device__ __forceinline__ bool mergeable(const Tree& tree, int node, int cost) {
    if (tree.child[node] == NOTHING) return false;
    const int level = level_of(tree, node);
    if (level > tree.max_level || split_cost(tree, node) != cost) return false;
    const int left = 2 * column_of(tree, node) - 1, top = 2 * row_of(tree, node) - 1;
    for (int i = 0; i < 16; ++i) {
        const int other = find(tree, level - 1, left + (i & 3), top + (i >> 2));
        if (other != NOTHING && tree.child[other] != NOTHING) return false;
    }
    return true;
}

// Undoes the least important split that added `cost` leaves, the youngest of equals; false if none can be
// undone. The node may not split again; its children stay in the hash as leaves that nobody can reach.
__device__ __forceinline__ bool merge_least(Tree& tree, int cost, int lane) {
    int best = NOTHING;
    double least = 0.0;
    for (int node = tree.nodes - 1 - lane; node >= 0; node -= 32) {
        if ((best == NOTHING || tree.priority[node] < least) && mergeable(tree, node, cost)) {
            best = node;
            least = tree.priority[node];
        }
    }
    for (int distance = 16; distance > 0; distance /= 2) {
        const int other = __shfl_xor_sync(EVERY_LANE, best, distance);
        const double priority = __shfl_xor_sync(EVERY_LANE, least, distance);
        const bool wins = best == NOTHING || priority < least || (priority == least && other > best);
        if (other != NOTHING && wins) {
            best = other;
            least = priority;
        }
    }
    if (best == NOTHING) return false;
    __syncwarp();
    if (lane == 0) {
        tree.flags[best] |= HELD;
        tree.child[best] = NOTHING;
    }
    tree.leaves -= cost;
    __syncwarp();
    return true;
}

// Whether this is a leaf of the tree that may split; merged-away children are not.
__device__ __forceinline__ bool is_live(const Tree& tree, int node) {
    const int level = level_of(tree, node);
    if (tree.child[node] != NOTHING || level == 0 || (tree.flags[node] & HELD)) return false;
    if (node == 0) return true;  // the root has no parent
    const int parent = find(tree, level + 1, column_of(tree, node) >> 1, row_of(tree, node) >> 1);
    return parent == NOTHING || tree.child[parent] != NOTHING;
}

// Splits of this leaf, then of its outermost child and so on, until one adds 1 leaf; 0 for never.
__device__ __forceinline__ int steps_to_border_split(const Tree& tree, int node) {
    int column = column_of(tree, node), row = row_of(tree, node), steps = 0;
    for (int level = level_of(tree, node); level > 0; --level) {
        ++steps;
        const bool across = reaches_half(column, level, tree.cells_x), down = reaches_half(row, level, tree.cells_y);
        if (across != down) return steps;
        column = 2 * column + across;
        row = 2 * row + down;
    }
    return 0;
}

// Makes a border split of cost 1 where it takes the fewest splits, then where it matters most, then the oldest.
__device__ __forceinline__ bool split_border(Tree& tree, const Gaze& gaze, int lane) {
    int best = NOTHING, fewest = 0;
    double most = 0.0;
    for (int node = lane; node < tree.nodes; node += 32) {
        const int steps = steps_to_border_split(tree, node);
        if (steps == 0 || !is_live(tree, node)) continue;
        const double priority = tree.priority[node];
        if (best == NOTHING || steps < fewest || (steps == fewest && priority > most)) {
            best = node;
            fewest = steps;
            most = priority;
        }
    }
    for (int distance = 16; distance > 0; distance /= 2) {
        const int other = __shfl_xor_sync(EVERY_LANE, best, distance);
        const int steps = __shfl_xor_sync(EVERY_LANE, fewest, distance);
        const double priority = __shfl_xor_sync(EVERY_LANE, most, distance);
        const bool older = priority > most || (priority == most && other < best);
        if (other != NOTHING && (best == NOTHING || steps < fewest || (steps == fewest && older))) {
            best = other;
            fewest = steps;
            most = priority;
        }
    }
    int node = best;
    for (int step = 0; step < fewest; ++step) {
        const Chain chain = collect_chain(tree, node, TEXVLM_LONGEST_CHAIN, lane);
        if (!chain.fits || tree.nodes + 4 * chain.length > tree.capacity) return false;
        split_and_prioritise(tree, gaze, chain.length, lane);
        node = tree.child[node] + split_cost(tree, node);  // the outermost child
    }
    return best != NOTHING;
}

// Splits the most important leaf whose chain adds exactly `cost` leaves; false if there is none.
__device__ __forceinline__ bool split_adding(Tree& tree, const Gaze& gaze, int cost, int lane) {
    for (int node = lane; node < tree.nodes; node += 32) {
        bool forces;
        const bool possible = is_live(tree, node) && least_cost(tree, node, &forces) <= cost;
        tree.flags[node] = (unsigned char)(possible ? tree.flags[node] | QUEUED : tree.flags[node] & ~QUEUED);
    }
    __syncwarp();
    for (;;) {
        int best = NOTHING;
        for (int node = lane; node < tree.nodes; node += 32)
            if ((tree.flags[node] & QUEUED) && (best == NOTHING || splits_before(tree, node, best))) best = node;
        for (int distance = 16; distance > 0; distance /= 2) {
            const int other = __shfl_xor_sync(EVERY_LANE, best, distance);
            if (other != NOTHING && (best == NOTHING || splits_before(tree, other, best))) best = other;
        }
        if (best == NOTHING) return false;
        __syncwarp();
        if (lane == 0) tree.flags[best] &= (unsigned char)~QUEUED;
        const Chain chain = collect_chain(tree, best, cost, lane);
        if (chain.fits && chain.cost == cost && tree.nodes + 4 * chain.length <= tree.capacity) {
            split_and_prioritise(tree, gaze, chain.length, lane);
            return true;
        }
    }
}

// First the residue modulo 3 is put right, by border splits; then splits of cost 3 are given back, or one made.
__device__ __forceinline__ bool try_to_settle(Tree& tree, const Gaze& gaze, int tokens, int lane) {
    for (int step = 0; step < TEXVLM_SETTLING_STEPS; ++step) {
        const int missing = ((tokens - tree.leaves) % 3 + 3) % 3;
        if (missing == 0) break;
        const bool merge_first = missing == 2;
        const bool done = (merge_first && merge_least(tree, 1, lane)) || split_border(tree, gaze, lane)
                       || (!merge_first && merge_least(tree, 1, lane));
        if (!done) return false;
    }
    while (tree.leaves > tokens)
        if (!merge_least(tree, 3, lane)) return false;
    while (tree.leaves < tokens)
        if (!split_adding(tree, gaze, 3, lane)) return false;
    return tree.leaves == tokens;
}

// Reaches `tokens` leaves, or leaves the tree as it is where the frame offers no way.
__device__ __forceinline__ void settle(Tree& tree, const Gaze& gaze, int tokens, int lane) {
    const int nodes = tree.nodes, leaves = tree.leaves;
    for (int node = lane; node < nodes; node += 32) tree.list[node] = tree.child[node];
    __syncwarp();
    if (try_to_settle(tree, gaze, tokens, lane)) return;
    for (int node = lane; node < nodes; node += 32) tree.child[node] = tree.list[node];
    __syncwarp();
    tree.nodes = nodes;
    tree.leaves = leaves;
}
