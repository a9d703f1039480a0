// The tail: levels 5 and up, from level 4; and the account of an update, which ends here.
//
// Grid: (blocks of 16 columns, blocks of 16 rows, 1) of one warp each. A warp does 16 x 16 cells and writes
// the texels of the next four levels that lie above a flagged cell. Cells of the first launch are texels of
// level 4, one a tile. Where the pyramid goes on, it leaves each block's sum and flag as the cells of another
// launch: sums, so that every texel is rounded once. The frame's last cells go on for ever, so there is one
// more column and row of blocks then, wholly beyond the edge, which stands for all that follow.
//
// The first launch also counts, tells the layer's frame size, and advances the layer's clock, also when no
// tile changed: no other block is asked.
#define SUM_BITS 32
#include "columns.cuh"

struct BuildTailArguments {
    Surface level4;
    Surface above[4];               // the next four levels; 0 beyond the last
    const unsigned char* flags;     // (rows, columns) cells, 1 = changed; no cells, if 0
    const Sum* sums;                // (rows + 1, columns + 1) cells; 0 in the first launch
    unsigned char* block_flags;     // cells of the next launch; 0 in the last
    Sum* block_sums;
    unsigned long long* totals;     // see `ingest.TOTALS`
    long long* clock;               // the layer's
    int* frame_size;                // the layer's (width, height)
    int columns, rows;              // cells that belong to the frame
    int levels;                     // to write, 0..4
    int shift;                      // a cell stands for 2^shift texels of level 4
    int layer;
    int width, height;              // of the frame
    int texel_bytes;                // of the frame's packed pixels
    int mode;
    int padding;
};
static_assert(sizeof(BuildTailArguments) == TEXVLM_ARGUMENT_BYTES, "differs from backends/cuda/ingest_kernels.py");

const int TILE_COLUMN_TEXELS = 64 + 16 + 4 + 1;  // of levels 1..4 that `refresh` wrote above a dirty tile

__device__ __forceinline__ int sum_of_lanes(int value) {
#pragma unroll
    for (int mask = 16; mask > 0; mask /= 2) value += __shfl_xor_sync(FULL_WARP, value, mask);
    return value;
}

__device__ __forceinline__ Sum cell_at(const BuildTailArguments& a, int x, int y) {
    if (a.sums) return a.sums[min(y, a.rows) * (a.columns + 1) + min(x, a.columns)];
    return sum_of(read_texel(a.level4, min(x, a.columns - 1), min(y, a.rows - 1), a.layer));
}

extern "C" __global__ void __launch_bounds__(32) build_tail(const BuildTailArguments a) {
    const int lane = threadIdx.x;
    const Place place = {static_cast<int>(blockIdx.x), static_cast<int>(blockIdx.y), a.layer};
    const int x = place.column * CELLS + group_x(lane) * GROUP_WIDTH;
    const int y = place.row * CELLS + group_y(lane) * GROUP_HEIGHT;
    const bool first = a.sums == nullptr;

    bool flagged[2] = {false, false};  // halves of the group
    int tiles = 0, texels = 0;         // flagged, and their texels inside the frame
#pragma unroll
    for (int j = 0; j < GROUP_HEIGHT; j++)
#pragma unroll
        for (int i = 0; i < GROUP_WIDTH; i++) {
            if (x + i >= a.columns || y + j >= a.rows || !a.flags[(y + j) * a.columns + x + i]) continue;
            flagged[i / 2] = true;
            tiles++;
            texels += min(CELLS, a.width - (x + i) * CELLS) * min(CELLS, a.height - (y + j) * CELLS);
        }
    const Writers writers =
        writers_above(__ballot_sync(FULL_WARP, flagged[0]), __ballot_sync(FULL_WARP, flagged[1]));

    if (first && lane == 0 && place.column == 0 && place.row == 0) {
        if (a.mode & TEXVLM_MODE_STAMP) *a.clock += 1;
        if (a.mode & TEXVLM_MODE_WRITE) {
            a.frame_size[0] = a.width;
            a.frame_size[1] = a.height;
        }
    }
    if (writers.fourth) {
        int rebuilt = a.levels > 0 ? __popc(writers.left) + __popc(writers.right) : 0;
        rebuilt += a.levels > 1 ? __popc(writers.second) : 0;
        rebuilt += a.levels > 2 ? __popc(writers.third) : 0;
        rebuilt += a.levels > 3 ? 1 : 0;
        tiles = sum_of_lanes(tiles);
        texels = sum_of_lanes(texels);
        if (first) rebuilt += TILE_COLUMN_TEXELS * tiles;
        const bool written = first && (a.mode & TEXVLM_MODE_WRITE), built = (a.mode & TEXVLM_MODE_BUILD) != 0;
        if (lane == 0 && written) atomicAdd(a.totals, static_cast<unsigned long long>(tiles));
        if (lane == 1 && written) atomicAdd(a.totals + 1, static_cast<unsigned long long>(texels) * a.texel_bytes);
        if (lane == 2 && built) atomicAdd(a.totals + 2, static_cast<unsigned long long>(rebuilt));
    }
    if (!(a.mode & TEXVLM_MODE_BUILD) || a.levels == 0 || (!writers.fourth && !a.block_sums)) return;

    Sum halves[2];
#pragma unroll
    for (int half = 0; half < 2; half++)
        halves[half] = (cell_at(a, x + 2 * half, y) + cell_at(a, x + 2 * half + 1, y)) +
                       (cell_at(a, x + 2 * half, y + 1) + cell_at(a, x + 2 * half + 1, y + 1));
    const Sum sum = build_above(a.above, a.levels, place, halves[0], halves[1], a.shift + 2, writers);
    if (a.block_sums && lane == 0) {
        a.block_sums[place.row * static_cast<int>(gridDim.x) + place.column] = sum;
        const int inner_columns = gridDim.x - 1, inner_rows = gridDim.y - 1;
        if (place.column < inner_columns && place.row < inner_rows)
            a.block_flags[place.row * inner_columns + place.column] = writers.fourth != 0;
    }
}
