// How many tokens a node deserves: its area times the density that the fixations ask for.
//
// Mirrors _density of texvlm/layouts/_quadtree_tree.py and eccentricity_deg of _eccentricity.py: the same
// IEEE operations in the same order. Products are __dmul_rn, which the compiler may not fuse with a sum:
// a fused one is rounded once less, and nodes that tie on the host would not tie here.
//
// TEXVLM_SERIES: terms of ARCTANGENT_DEG, an odd number.
#pragma once

#include "quadtree_tree.cuh"

// The fixations of one view.
struct Gaze {
    const double* points;  // (fixations, 3): x and y in texels, weight relative to the greatest
    const double* series;  // ARCTANGENT_DEG
    double shallow, steep; // SHALLOW and STEEP
    double focal;          // texels
    double e2_deg;
    double unit;           // texels along a cell
    double width, height;  // of the frame, texels
    int count;
};

// Degrees between a fixation and a texel (dx, dy) texels away from it.
__device__ __forceinline__ double eccentricity_deg(const Gaze& gaze, double dx, double dy) {
    const double distance = sqrt(__dmul_rn(dx, dx) + __dmul_rn(dy, dy));
    double base = 0.0, above = distance, below = gaze.focal;
    if (distance > __dmul_rn(gaze.steep, gaze.focal)) {
        base = 90.0;
        above = -gaze.focal;
        below = distance;
    } else if (distance > __dmul_rn(gaze.shallow, gaze.focal)) {
        base = 45.0;
        above = distance - gaze.focal;
        below = distance + gaze.focal;
    }
    const double t = above / below;
    const double square = __dmul_rn(t, t), fourth = __dmul_rn(square, square);
    double even = gaze.series[TEXVLM_SERIES - 1], odd = gaze.series[TEXVLM_SERIES - 2];
#pragma unroll
    for (int power = TEXVLM_SERIES - 3; power > 0; power -= 2) {
        even = __dmul_rn(even, fourth) + gaze.series[power];
        odd = __dmul_rn(odd, fourth) + gaze.series[power - 1];
    }
    even = __dmul_rn(even, fourth) + gaze.series[0];
    return base + __dmul_rn(t, even + __dmul_rn(odd, square));
}

// Sets a node's priority and region, and queues it if it can be split.
__device__ __forceinline__ void prioritise(const Tree& tree, const Gaze& gaze, int node) {
    const int level = level_of(tree, node);
    const double side = __dmul_rn(gaze.unit, (double)(1 << level));
    const double x0 = __dmul_rn((double)column_of(tree, node), side);
    const double y0 = __dmul_rn((double)row_of(tree, node), side);
    const double x1 = fmin(x0 + side, gaze.width), y1 = fmin(y0 + side, gaze.height);
    double density = 0.0, most = -1.0;
    int region = 0;
    for (int i = 0; i < gaze.count; ++i) {
        const double x = gaze.points[3 * i], y = gaze.points[3 * i + 1];
        const double dx = fmax(fmax(x0 - x, x - x1), 0.0), dy = fmax(fmax(y0 - y, y - y1), 0.0);
        const double spacing = eccentricity_deg(gaze, dx, dy) + gaze.e2_deg;
        const double share = gaze.points[3 * i + 2] / __dmul_rn(spacing, spacing);
        density += share;
        if (share > most) {
            most = share;
            region = i;
        }
    }
    const double infinite = __longlong_as_double(0x7ff0000000000000LL);
    tree.region[node] = region;
    tree.priority[node] = level > tree.max_level ? infinite : __dmul_rn(__dmul_rn(side, side), density);
    if (level > 0) tree.flags[node] |= QUEUED;
}
