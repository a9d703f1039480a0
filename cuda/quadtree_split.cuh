// Splitting leaves, with every neighbour that the 2:1 rule forces. One warp works on a tree.
//
// Mirrors _chain, _split_chain and _refine of texvlm/layouts/_quadtree_kernel.py: nodes get the numbers
// that they get there, because age decides between equals.
#pragma once

#include "quadtree_tree.cuh"

__device__ __forceinline__ unsigned int lanes_below(int lane) { return (1u << lane) - 1; }

// Splits one node in each lane that has one; numbers follow the lanes' order.
__device__ __forceinline__ void split_lanes(Tree& tree, int node, bool taken, int lane) {
    const int cost = taken ? split_cost(tree, node) : 0;
    const unsigned int splits = __ballot_sync(EVERY_LANE, taken);
    const unsigned int ones = __ballot_sync(EVERY_LANE, cost == 1), threes = __ballot_sync(EVERY_LANE, cost == 3);
    __syncwarp();  // votes order no memory: other lanes may still be reading what changes now
    if (taken) {
        const unsigned int before = lanes_below(lane);
        const int first = tree.nodes + __popc(splits & before) + __popc(ones & before) + 3 * __popc(threes & before);
        const int level = level_of(tree, node) - 1;
        int child = first;
        for (int corner = 0; corner < 4; ++corner) {  // Z order
            const int column = 2 * column_of(tree, node) + (corner & 1), row = 2 * row_of(tree, node) + (corner >> 1);
            if (column << level < tree.cells_x && row << level < tree.cells_y) {
                add(tree, child, level, column, row);
                ++child;
            }
        }
        tree.child[node] = (NodeIndex)first;
    }
    const int added = __popc(ones) + 3 * __popc(threes);
    tree.nodes += __popc(splits) + added;
    tree.leaves += added;
    __syncwarp();
}

// A larger leaf that has to split before a node does, or NOTHING. A node touches larger leaves only across
// the two outer sides (which = 0, 1) and the outer corner (2) of its own parent.
__device__ __forceinline__ int larger_leaf(const Tree& tree, int node, int which) {
    const int column = column_of(tree, node), row = row_of(tree, node);
    const int beside = (column >> 1) + (which == 1 ? 0 : (column & 1) ? 1 : -1);
    const int below = (row >> 1) + (which == 0 ? 0 : (row & 1) ? 1 : -1);
    const int other = find(tree, level_of(tree, node) + 1, beside, below);
    return other != NOTHING && tree.child[other] == NOTHING ? other : NOTHING;
}

// The least that splitting a leaf can add: itself and the larger leaves that touch it.
__device__ __forceinline__ int least_cost(const Tree& tree, int node, bool* forces) {
    int cost = split_cost(tree, node);
    *forces = false;
    for (int which = 0; which < 3; ++which) {
        const int other = larger_leaf(tree, node, which);
        if (other == NOTHING) continue;
        *forces = true;
        cost += split_cost(tree, other);
    }
    return cost;
}

struct Chain {
    bool fits;   // whether all of it may split and adds no more than the budget
    int length;  // leaves in tree.chain, larger ones later
    int cost;    // leaves that it adds
};

// Collects the leaves that must split with `node`, itself first.
__device__ __forceinline__ Chain collect_chain(const Tree& tree, int node, int budget, int lane) {
    Chain chain = {true, 1, 0};
    if (lane == 0) {
        tree.chain[0] = (NodeIndex)node;
        tree.flags[node] |= MARKED;
    }
    __syncwarp();
    for (int at = 0; at < chain.length && chain.fits; ++at) {
        const int member = tree.chain[at];
        chain.cost += split_cost(tree, member);
        chain.fits = chain.cost <= budget && !(tree.flags[member] & HELD);
        int other = chain.fits && lane < 3 ? larger_leaf(tree, member, lane) : NOTHING;
        if (other != NOTHING && (tree.flags[other] & MARKED)) other = NOTHING;
        const unsigned int found = __ballot_sync(EVERY_LANE, other != NOTHING);
        if (other != NOTHING) {
            tree.chain[chain.length + __popc(found & lanes_below(lane))] = (NodeIndex)other;
            tree.flags[other] |= MARKED;
        }
        chain.length += __popc(found);
        __syncwarp();
    }
    for (int i = lane; i < chain.length; i += 32) tree.flags[tree.chain[i]] &= (unsigned char)~MARKED;
    __syncwarp();
    return chain;
}

// Splits the chain, the largest leaf (last found) first.
__device__ __forceinline__ void split_chain(Tree& tree, int length, int lane) {
    for (int last = length - 1; last >= 0; last -= 32) {
        const bool taken = lane <= last;
        split_lanes(tree, taken ? tree.chain[last - lane] : 0, taken, lane);
    }
}

// Splits the first `listed` leaves of tree.list in their order, as far as the budget goes.
//
// What costs more than is left is passed over for good, as on the host: other splits shorten a chain only
// by what they take from the budget themselves. So a lane may drop a leaf before its turn, and runs of
// leaves that force no other split in one step.
__device__ __forceinline__ void split_listed(Tree& tree, int listed, int tokens, int lane) {
    int done = 0;
    while (done < listed) {
        const int left = tokens - tree.leaves;
        const int node = done + lane < listed ? tree.list[done + lane] : NOTHING;
        bool forces = false;
        const bool open = node != NOTHING && tree.child[node] == NOTHING && least_cost(tree, node, &forces) <= left;
        const unsigned int forcing = __ballot_sync(EVERY_LANE, open && forces);
        int stop = forcing ? __ffs((int)forcing) - 1 : 32;
        const bool alone = open && lane < stop;
        const int cost = alone ? split_cost(tree, node) : 0;
        const unsigned int upto = lanes_below(lane) | (1u << lane);
        const unsigned int ones = __ballot_sync(EVERY_LANE, cost == 1), threes = __ballot_sync(EVERY_LANE, cost == 3);
        const bool over = __popc(ones & upto) + 3 * __popc(threes & upto) > left;
        const unsigned int beyond = __ballot_sync(EVERY_LANE, alone && over);
        if (beyond) stop = __ffs((int)beyond) - 1;
        split_lanes(tree, node, alone && lane < stop, lane);
        if (!beyond && forcing) {
            const int next = __shfl_sync(EVERY_LANE, node, stop);
            const Chain chain = collect_chain(tree, next, tokens - tree.leaves, lane);
            if (chain.fits) split_chain(tree, chain.length, lane);
            ++stop;
        }
        done += stop;
    }
}
