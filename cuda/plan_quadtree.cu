// Token tables of the quadtree layout, planned where the fixations lie: the rows that the host would plan.
//
// Grid: x = views of this launch; a block of TEXVLM_THREADS plans one view.
// Reads:  fixations (u, v) and weights. Writes: rows[view][token], TOKEN_RECORD in Morton order, padding rows
//         at the end. A view with a fixation that is not finite gets padding rows only: a device cannot raise
//         an error without making the host wait.
// Origin: top-left, level-0 texels. Source: texvlm/layouts/_quadtree_kernel.py, bit by bit, ties included.
//
// How it is made parallel. The host takes leaves from a queue one at a time, best first. Here they are taken
// in rounds. A child deserves at most a quarter of what its parent does, so every leaf above a quarter of the
// best one's priority comes before any child that this round makes; among themselves they are sorted, and one
// warp splits them in that order, 32 at a time unless one forces others. All threads find the best leaf, sort,
// and give new nodes their priorities. There is no queue beyond that.
//
// What bounds the time: latency, not throughput. One round a level of the tree and a few more, each of five
// barriers, a few hundred dependent integer instructions of one warp, and one chain of double arithmetic
// (a square root, two divisions, eleven terms) for each fixation and each 128 new nodes; then the exact count,
// on one warp, where the frame's residue asks for it. Work in the tree grows with `tokens` times its logarithm;
// sorting within a round grows with the square of the round. More views cost nothing until the device is full.
//
// TEXVLM_SCRATCH: 0: trees lie in shared memory, TEXVLM_NODES nodes and TEXVLM_SLOTS slots; 1: in `scratch`.
// TEXVLM_VIEWS, TEXVLM_WEIGHTS: views and weights that the arguments have room for.
#include "quadtree_settle.cuh"
#include "token_record.cuh"

#define TEXVLM_WARPS (TEXVLM_THREADS / 32)

struct ViewFields {
    double focal;          // texels
    int width, height;     // of the frame, texels
    int layer;
    int cells_x, cells_y;  // cells that meet the frame
    int budget;            // tokens, or all cells where the frame has fewer
};

struct PlanQuadtreeArguments {
    const void* fixations;    // (views, fixations, 2), u and v; double or float
    TokenRecord* rows;        // (views, tokens)
    double* points;           // (views, fixations, 3): scratch of Gaze
    unsigned char* scratch;   // scratch_bytes a view
    long long scratch_bytes;
    double series[TEXVLM_SERIES];
    double shallow, steep;
    double e2_deg;
    double unit;              // texels along a cell
    double farthest;          // frames away; fixations beyond are brought nearer
    double weights[TEXVLM_WEIGHTS];  // relative to each view's greatest, where weight_source says that they are here
    ViewFields views[TEXVLM_VIEWS];
    int tokens, fixation_count;
    int max_level;
    int node_room, slot_room;  // of one view's scratch
    int spare_nodes;           // beyond two a token
    int is_double;             // fixations
    int weight_source;         // 0: all equal, 1: `weights`, 2: in `points` already
    int weight_stride;         // of `weights`, from view to view; 0: shared
    int padding;
};
static_assert(sizeof(PlanQuadtreeArguments) == TEXVLM_ARGUMENT_BYTES, "differs from ARGUMENTS in quadtree.py");

// What the warps tell each other.
struct Board {
    double priority[TEXVLM_WARPS];
    int level[TEXVLM_WARPS];
    int listed, nodes, leaves;
};

// The greatest priority of all threads, and the greatest level among those that have it. All threads call.
__device__ __forceinline__ void greatest(Board& board, double& priority, int& level) {
    for (int distance = 16; distance > 0; distance /= 2) {
        const double other = __shfl_xor_sync(EVERY_LANE, priority, distance);
        const int other_level = __shfl_xor_sync(EVERY_LANE, level, distance);
        if (other > priority || (other == priority && other_level > level)) {
            priority = other;
            level = other_level;
        }
    }
    if (threadIdx.x % 32 == 0) {
        board.priority[threadIdx.x / 32] = priority;
        board.level[threadIdx.x / 32] = level;
    }
    __syncthreads();
    for (int warp = 0; warp < TEXVLM_WARPS; ++warp) {
        const double other = board.priority[warp];
        if (other > priority || (other == priority && board.level[warp] > level)) {
            priority = other;
            level = board.level[warp];
        }
    }
}

// Fixations in texels, and their weights; false if one is not finite. All threads call.
__device__ __forceinline__ bool prepare(const PlanQuadtreeArguments& a, int index, double* points) {
    const ViewFields& view = a.views[index];
    bool bad = false;
    for (int i = threadIdx.x; i < a.fixation_count; i += TEXVLM_THREADS) {
        const long long at = 2 * ((long long)index * a.fixation_count + i);
        const double u = a.is_double ? ((const double*)a.fixations)[at] : (double)((const float*)a.fixations)[at];
        const double v = a.is_double ? ((const double*)a.fixations)[at + 1] : (double)((const float*)a.fixations)[at + 1];
        bad |= !(u - u == 0.0 && v - v == 0.0);
        points[3 * i] = fmin(fmax(u, -a.farthest), a.farthest) * (double)view.width;
        points[3 * i + 1] = fmin(fmax(v, -a.farthest), a.farthest) * (double)view.height;
        if (a.weight_source == 0) points[3 * i + 2] = 1.0;
        if (a.weight_source == 1) points[3 * i + 2] = a.weights[index * a.weight_stride + i];
    }
    return !__syncthreads_or(bad);
}

// One leaf to begin with: the least square of cells that holds the frame. All threads call.
__device__ __forceinline__ void plant(Tree& tree, const Gaze& gaze) {
    for (int slot = threadIdx.x; slot <= tree.last_slot; slot += TEXVLM_THREADS) tree.slots[slot] = NOTHING;
    __syncthreads();
    if (threadIdx.x == 0) {
        int level = 0;
        while ((1 << level) < max(tree.cells_x, tree.cells_y)) ++level;
        add(tree, 0, level, 0, 0);
        prioritise(tree, gaze, 0);
    }
    tree.nodes = tree.leaves = 1;
    __syncthreads();
}

// Lists, unsorted in tree.chain, the leaves that split before any child they will have; 0 when the queue is
// empty. Takes them from the queue, and with them whatever costs more than is left: it will always do so.
__device__ __forceinline__ int take_leaves(const Tree& tree, Board& board, int left) {
    double best = -1.0;
    int level = -1;
    for (int node = threadIdx.x; node < tree.nodes; node += TEXVLM_THREADS) {
        if (!(tree.flags[node] & QUEUED)) continue;
        if (tree.child[node] != NOTHING || split_cost(tree, node) > left) {
            tree.flags[node] &= (unsigned char)~QUEUED;
        } else if (tree.priority[node] > best || (tree.priority[node] == best && level_of(tree, node) > level)) {
            best = tree.priority[node];
            level = level_of(tree, node);
        }
    }
    if (threadIdx.x == 0) board.listed = 0;
    greatest(board, best, level);
    if (best < 0.0) return 0;
    // A quarter, and room for rounding. Where quarters mean nothing (nodes above the greatest side are infinite,
    // and doubles end), leaves of one size go together: their children are smaller, and no better.
    const double infinite = __longlong_as_double(0x7ff0000000000000LL);
    const double bound = best > 1e-290 ? best * 0.250001 : infinite;
    for (int node = threadIdx.x; node < tree.nodes; node += TEXVLM_THREADS) {
        if (!(tree.flags[node] & QUEUED)) continue;
        const double priority = tree.priority[node];
        if (priority > bound || (priority == best && level_of(tree, node) == level)) {
            tree.flags[node] &= (unsigned char)~QUEUED;
            tree.chain[atomicAdd(&board.listed, 1)] = (NodeIndex)node;
        }
    }
    __syncthreads();
    return board.listed;
}

// Splits leaves, best first, until the budget allows no more. All threads call.
__device__ __forceinline__ void refine(Tree& tree, const Gaze& gaze, Board& board, int budget) {
    for (;;) {
        const int listed = take_leaves(tree, board, budget - tree.leaves);
        if (listed == 0) return;
        for (int i = threadIdx.x; i < listed; i += TEXVLM_THREADS) {
            const int node = tree.chain[i];
            int rank = 0;
            for (int j = 0; j < listed; ++j) rank += splits_before(tree, tree.chain[j], node);
            tree.list[rank] = (NodeIndex)node;
        }
        __syncthreads();
        const int first = tree.nodes;
        if (threadIdx.x < 32) {
            split_listed(tree, listed, budget, (int)threadIdx.x);
            if (threadIdx.x == 0) {
                board.nodes = tree.nodes;
                board.leaves = tree.leaves;
            }
        }
        __syncthreads();
        tree.nodes = board.nodes;
        tree.leaves = board.leaves;
        for (int node = first + (int)threadIdx.x; node < tree.nodes; node += TEXVLM_THREADS)
            prioritise(tree, gaze, node);
        __syncthreads();
    }
}

// Leaves below each node into tree.list; the number of leaves before it, depth first, into tree.chain, NOTHING
// for nodes that a merge cut off. All threads call.
__device__ __forceinline__ void number_leaves(const Tree& tree) {
    const int top = level_of(tree, 0);
    for (int node = threadIdx.x; node < tree.nodes; node += TEXVLM_THREADS) {
        tree.list[node] = 1;
        tree.chain[node] = (NodeIndex)(node == 0 ? 0 : NOTHING);
    }
    __syncthreads();
    for (int level = 1; level <= top; ++level) {
        for (int node = threadIdx.x; node < tree.nodes; node += TEXVLM_THREADS) {
            if (tree.child[node] == NOTHING || level_of(tree, node) != level) continue;
            int below = 0;
            for (int i = split_cost(tree, node); i >= 0; --i) below += tree.list[tree.child[node] + i];
            tree.list[node] = (NodeIndex)below;
        }
        __syncthreads();
    }
    for (int level = top; level > 0; --level) {
        for (int node = threadIdx.x; node < tree.nodes; node += TEXVLM_THREADS) {
            if (tree.child[node] == NOTHING || level_of(tree, node) != level || tree.chain[node] == NOTHING) continue;
            int before = tree.chain[node];
            for (int i = 0; i <= split_cost(tree, node); ++i) {
                tree.chain[tree.child[node] + i] = (NodeIndex)before;
                before += tree.list[tree.child[node] + i];
            }
        }
        __syncthreads();
    }
}

extern "C" __global__ void __launch_bounds__(TEXVLM_THREADS, 1) plan_quadtree(const PlanQuadtreeArguments a) {
    const int index = (int)blockIdx.x;
    const ViewFields& view = a.views[index];
    __shared__ Board board;
    Tree tree;
#if TEXVLM_SCRATCH
    const int nodes = a.node_room, slots = a.slot_room;
    unsigned char* memory = a.scratch + index * a.scratch_bytes;
    tree.priority = (double*)memory;
    tree.place = (unsigned int*)(tree.priority + nodes);
    tree.region = (int*)(tree.place + nodes);
    tree.slots = tree.region + nodes;
    tree.child = tree.slots + slots;
    tree.list = tree.child + nodes;
    tree.chain = tree.list + nodes;
    tree.flags = (unsigned char*)(tree.chain + nodes);
    tree.last_slot = slots - 1;
#else
    __shared__ double priority[TEXVLM_NODES];
    __shared__ unsigned int place[TEXVLM_NODES];
    __shared__ int region[TEXVLM_NODES], slots[TEXVLM_SLOTS];
    __shared__ NodeIndex child[TEXVLM_NODES], list[TEXVLM_NODES], chain[TEXVLM_NODES];
    __shared__ unsigned char flags[TEXVLM_NODES];
    tree.priority = priority;
    tree.place = place;
    tree.region = region;
    tree.slots = slots;
    tree.child = child;
    tree.list = list;
    tree.chain = chain;
    tree.flags = flags;
    tree.last_slot = TEXVLM_SLOTS - 1;
#endif
    tree.cells_x = view.cells_x;
    tree.cells_y = view.cells_y;
    tree.max_level = a.max_level;
    tree.capacity = 2 * view.budget + a.spare_nodes;

    TokenRecord* rows = a.rows + (long long)index * a.tokens;
    double* points = a.points + 3LL * index * a.fixation_count;
    if (!prepare(a, index, points)) {  // the same for the whole block
        for (int row = threadIdx.x; row < a.tokens; row += TEXVLM_THREADS) rows[row] = padding_row();
        return;
    }
    const Gaze gaze = {points,   a.series,           a.shallow,           a.steep,         view.focal, a.e2_deg,
                       a.unit,   (double)view.width, (double)view.height, a.fixation_count};
    plant(tree, gaze);
    refine(tree, gaze, board, view.budget);
    if (tree.leaves < view.budget) {
        if (threadIdx.x < 32) {
            settle(tree, gaze, view.budget, (int)threadIdx.x);
            if (threadIdx.x == 0) {
                board.nodes = tree.nodes;
                board.leaves = tree.leaves;
            }
        }
        __syncthreads();
        tree.nodes = board.nodes;
        tree.leaves = board.leaves;
    }
    number_leaves(tree);
    for (int node = threadIdx.x; node < tree.nodes; node += TEXVLM_THREADS) {
        if (tree.child[node] != NOTHING || tree.chain[node] == NOTHING) continue;
        const double side = a.unit * (double)(1 << level_of(tree, node));
        const double x = ((double)column_of(tree, node) + 0.5) * side, y = ((double)row_of(tree, node) + 0.5) * side;
        rows[tree.chain[node]] = make_row(x, y, side, view.layer, tree.region[node], view.width, view.height);
    }
    for (int row = tree.leaves + (int)threadIdx.x; row < a.tokens; row += TEXVLM_THREADS) rows[row] = padding_row();
}
