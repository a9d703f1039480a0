// The quadtree in memory: its nodes, and the hash that finds a node by its place.
//
// Space is counted in cells, squares of the least side. A node of level m covers 2^m x 2^m cells and lies
// at (column, row) in units of its own side. Mirrors texvlm/layouts/_quadtree_tree.py; nothing is sized
// by the frame.
//
// TEXVLM_SCRATCH: 0: the tree lies in shared memory, 1: in a scratch buffer, for counts that do not fit.
#pragma once

#define EVERY_LANE 0xffffffffu
#define NOTHING (-1)

#if TEXVLM_SCRATCH
typedef int NodeIndex;
#else
typedef short NodeIndex;
#endif

const unsigned char QUEUED = 1;  // a leaf that may still be split
const unsigned char HELD = 2;    // a node that may not split again
const unsigned char MARKED = 4;  // a member of the chain at hand

// Level, row and column in one word: a frame has at most 2^14 cells along an axis, hence 15 levels.
const int COORDINATE_BITS = 14;
const unsigned int COORDINATE = (1u << COORDINATE_BITS) - 1;

struct Tree {
    double* priority;      // the tokens that a node deserves
    unsigned int* place;   // level, row and column
    int* region;           // the fixation that adds most
    int* slots;            // open-addressing hash: nodes, NOTHING where none is
    NodeIndex* child;      // first of consecutive children, NOTHING for a leaf
    NodeIndex* list;       // leaves in the order in which they are split; then whatever needs a word a node
    NodeIndex* chain;      // leaves that must split together; the same
    unsigned char* flags;  // QUEUED, HELD, MARKED
    int last_slot;         // slots, a power of two, less 1
    int cells_x, cells_y;  // cells that meet the frame, per axis
    int max_level;         // nodes above it are split before all others
    int capacity;          // nodes that the host's planner has room for; some of its decisions ask
    int nodes, leaves;     // how many; each thread that works on the tree has its own copy
};

__device__ __forceinline__ int level_of(const Tree& tree, int node) {
    return (int)(tree.place[node] >> (2 * COORDINATE_BITS));
}

__device__ __forceinline__ int row_of(const Tree& tree, int node) {
    return (int)((tree.place[node] >> COORDINATE_BITS) & COORDINATE);
}

__device__ __forceinline__ int column_of(const Tree& tree, int node) { return (int)(tree.place[node] & COORDINATE); }

__device__ __forceinline__ unsigned int packed(int level, int column, int row) {
    return ((unsigned int)level << (2 * COORDINATE_BITS)) | ((unsigned int)row << COORDINATE_BITS)
         | (unsigned int)column;
}

__device__ __forceinline__ unsigned int first_slot(const Tree& tree, unsigned int place) {
    const unsigned int mixed = place * 0x9e3779b1u;
    return (mixed ^ (mixed >> 15)) & (unsigned int)tree.last_slot;
}

// The node at a place, or NOTHING. Probing ends at an empty slot: there are more slots than nodes.
__device__ __forceinline__ int find(const Tree& tree, int level, int column, int row) {
    if (column < 0 || row < 0 || column << level >= tree.cells_x || row << level >= tree.cells_y) return NOTHING;
    const unsigned int place = packed(level, column, row);
    unsigned int slot = first_slot(tree, place);
    int node = tree.slots[slot];
    while (node != NOTHING && tree.place[node] != place) {
        slot = (slot + 1) & (unsigned int)tree.last_slot;
        node = tree.slots[slot];
    }
    return node;
}

// A new leaf, with all but its priority. Lanes may add different nodes at the same time.
__device__ __forceinline__ void add(const Tree& tree, int node, int level, int column, int row) {
    const unsigned int place = packed(level, column, row);
    tree.place[node] = place;
    tree.child[node] = NOTHING;
    tree.flags[node] = 0;
    unsigned int slot = first_slot(tree, place);
    while (atomicCAS(&tree.slots[slot], NOTHING, node) != NOTHING) slot = (slot + 1) & (unsigned int)tree.last_slot;
}

// Whether the second half of a node lies in the frame, along an axis with `cells` cells; level > 0.
__device__ __forceinline__ bool reaches_half(int coordinate, int level, int cells) {
    return (2 * coordinate + 1) << (level - 1) < cells;
}

// Leaves that splitting a node of a level above 0 adds: children that meet the frame, less the node itself.
__device__ __forceinline__ int split_cost(const Tree& tree, int node) {
    const int level = level_of(tree, node);
    const int across = reaches_half(column_of(tree, node), level, tree.cells_x) ? 2 : 1;
    const int down = reaches_half(row_of(tree, node), level, tree.cells_y) ? 2 : 1;
    return across * down - 1;
}

// Order of splitting: priority, then size, then age; total, hence the same on every machine.
__device__ __forceinline__ bool splits_before(const Tree& tree, int a, int b) {
    const double first = tree.priority[a], second = tree.priority[b];
    if (first != second) return first > second;
    const int level_a = level_of(tree, a), level_b = level_of(tree, b);
    return level_a != level_b ? level_a > level_b : a < b;
}
