// A new frame into one layer: compares its tiles with level 0, writes those that changed, and their mips.
//
// Grid: (ceil(columns / 4), rows, 1) blocks of 128 threads; a warp does one tile of 16 x 16 pixels, a lane
// 4 x 2 of them. Reads the frame once, and level 0. Writes, of the tiles that changed: level 0 (beyond the
// frame's edge its last pixels repeat), levels 1..4, and the tile's version; and which tiles those are.
// `mode` says which of these steps are done; without TEXVLM_MODE_WRITE texels come from level 0.
// Origin: top-left. Nothing of another tile is read, so a warp waits for no other.
#define SUM_BITS 16
#include "frame_pixels.cuh"

struct RefreshArguments {
    FrameFields frame;
    Surface surfaces[5];            // levels 0..4
    unsigned char* tiles;           // (rows, columns), 1 = changed; written by COMPARE and ALL, else read
    long long* versions;            // the layer's, rows of `version_columns`
    const long long* clock;         // the layer's
    int columns, rows;              // tiles
    int version_columns;
    int layer;
    float limit;                    // the largest difference that is no change; whole for bytes
    int mode;
};
static_assert(sizeof(RefreshArguments) == TEXVLM_ARGUMENT_BYTES, "differs from backends/cuda/ingest_kernels.py");

const int TILES_IN_BLOCK = 4;

#if TEXVLM_FLOAT
#define LAUNCH_BOUNDS __launch_bounds__(32 * TILES_IN_BLOCK, 4)  // registers for wide texels, or they spill
#else
#define LAUNCH_BOUNDS __launch_bounds__(32 * TILES_IN_BLOCK)
#endif

extern "C" __global__ void LAUNCH_BOUNDS refresh(const RefreshArguments a) {
    const int lane = threadIdx.x & 31;
    const int column = blockIdx.x * TILES_IN_BLOCK + threadIdx.x / 32, row = blockIdx.y;
    if (column >= a.columns) return;
    const int x = column * CELLS + group_x(lane) * GROUP_WIDTH, y = row * CELLS + group_y(lane) * GROUP_HEIGHT;
    unsigned char* tile = a.tiles + row * a.columns + column;
    Group group;
    bool dirty;
    if (a.mode & TEXVLM_MODE_COMPARE) {
        Group stored;  // asked for first: the frame's words are taken apart while these are on their way
#pragma unroll
        for (int j = 0; j < GROUP_HEIGHT; j++) read_row(a.surfaces[0], x, y + j, a.layer, stored[j]);
        read_group(a.frame, x, y, group);
        bool changed = false;
#pragma unroll
        for (int j = 0; j < GROUP_HEIGHT; j++)
#pragma unroll
            for (int i = 0; i < GROUP_WIDTH; i++) {
                const bool inside = x + i < a.frame.width && y + j < a.frame.height;
                changed |= inside && differs(group[j][i], stored[j][i], a.limit);
            }
        dirty = __any_sync(FULL_WARP, changed);
    } else {
        dirty = (a.mode & TEXVLM_MODE_ALL) != 0 || *tile != 0;
        if (dirty && (a.mode & TEXVLM_MODE_WRITE)) {
            read_group(a.frame, x, y, group);
        } else if (dirty) {
#pragma unroll
            for (int j = 0; j < GROUP_HEIGHT; j++) read_row(a.surfaces[0], x, y + j, a.layer, group[j]);
        }
    }
    if (lane == 0 && (a.mode & (TEXVLM_MODE_COMPARE | TEXVLM_MODE_ALL))) *tile = dirty;
    if (!dirty) return;
    if (a.mode & TEXVLM_MODE_WRITE) {
#pragma unroll
        for (int j = 0; j < GROUP_HEIGHT; j++) write_row(a.surfaces[0], x, y + j, a.layer, group[j]);
    }
    if (a.mode & TEXVLM_MODE_BUILD) {
        const Sum left = (sum_of(group[0][0]) + sum_of(group[0][1])) + (sum_of(group[1][0]) + sum_of(group[1][1]));
        const Sum right = (sum_of(group[0][2]) + sum_of(group[0][3])) + (sum_of(group[1][2]) + sum_of(group[1][3]));
        const Surface above[4] = {a.surfaces[1], a.surfaces[2], a.surfaces[3], a.surfaces[4]};
        build_above(above, 4, Place{column, row, a.layer}, left, right, 2, writers_above(FULL_WARP, FULL_WARP));
    }
    if (lane == 0 && (a.mode & TEXVLM_MODE_STAMP)) a.versions[row * a.version_columns + column] = *a.clock + 1;
}
