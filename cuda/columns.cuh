// How a warp averages 16 x 16 cells of one level into the four levels above it.
//
// A lane holds a group of 4 x 2 cells: lane & 3 counts groups to the right, lane >> 2 downwards. The first
// level above comes from a lane's own cells, the next three through shuffles. `refresh` does this to the
// texels of a tile, `build_tail` to texels of level 4 and then to sums of them.
#pragma once

#include "texels.cuh"

const int CELLS = 16;  // along a side of what a warp does
const int GROUP_WIDTH = 4, GROUP_HEIGHT = 2;

__device__ __forceinline__ int group_x(int lane) { return lane & 3; }
__device__ __forceinline__ int group_y(int lane) { return lane >> 2; }

// Texels of the four levels above to be written, a bit for each lane that could write one. The first
// level has two a lane: one above the left, one above the right half of its group.
struct Writers {
    unsigned left, right, second, third, fourth;
};

// The texels above flagged cells, from a bit a lane for each half of its group.
__device__ __forceinline__ Writers writers_above(unsigned left, unsigned right) {
    const unsigned groups = left | right;
    const unsigned second = (groups | (groups >> 4)) & 0x0f0f0f0fu;
    const unsigned third = (second | (second >> 1) | (second >> 8) | (second >> 9)) & 0x00050005u;
    const unsigned fourth = (third | (third >> 2) | (third >> 16) | (third >> 18)) & 1u;
    return Writers{left, right, second, third, fourth};
}

// Where the warp's cells lie: its place among blocks of 16 x 16 cells, and the layer.
struct Place {
    int column, row, layer;
};

// Writes the means of the levels above, and returns the sum of all cells, the same in every lane.
// `left` and `right` are the sums over the halves of the lane's group, of 2^shift texels each; no more
// than `levels` levels are written.
__device__ __forceinline__ Sum build_above(
    const Surface (&above)[4], int levels, Place place, Sum left, Sum right, int shift, Writers writers) {
    const int lane = threadIdx.x & 31;
    const int x = group_x(lane), y = group_y(lane);
    if (levels > 0) {
        const int column = place.column * 8 + x * 2, row = place.row * 8 + y;
        if ((writers.left & writers.right) >> lane & 1u)
            write_pair(above[0], column, row, place.layer, mean(left, shift), mean(right, shift));
        else if (writers.left >> lane & 1u)
            write_texel(above[0], column, row, place.layer, mean(left, shift));
        else if (writers.right >> lane & 1u)
            write_texel(above[0], column + 1, row, place.layer, mean(right, shift));
    }
    Sum sum = with_lane(left + right, 4);
    if (levels > 1 && ((writers.second >> lane) & 1u))
        write_texel(above[1], place.column * 4 + x, place.row * 4 + y / 2, place.layer, mean(sum, shift + 2));
    sum = with_lane(with_lane(sum, 1), 8);
    if (levels > 2 && ((writers.third >> lane) & 1u))
        write_texel(above[2], place.column * 2 + x / 2, place.row * 2 + y / 4, place.layer, mean(sum, shift + 4));
    sum = with_lane(with_lane(sum, 2), 16);
    if (levels > 3 && ((writers.fourth >> lane) & 1u))
        write_texel(above[3], place.column, place.row, place.layer, mean(sum, shift + 6));
    return sum;
}
