// Finds where each window of a frame was in another one, on one level of their kept pictures; see block_search.py.
//
// Grid: (columns, rows, 1) of blocks, a warp each. Four lanes share a displacement, four rows of the window each, so
// eight displacements are tried at a time. The cheapest one wins, of equal ones the first: cost and number go into
// one word, and the least is taken.
// Reads:  both kept pictures, the displacements of the coarser level, the list of displacements to try.
// Writes: the displacements of this level and, on the finest one, a record for each block.
#include "kept_picture.cuh"

struct MatchBlocksArguments {
    KeptLevel ours;
    const unsigned char* theirs;  // the other picture's texel (-PAD, -PAD); else like ours
    int2* vectors;                // of this level's blocks, (rows, columns); written
    const int2* parents;          // of the coarser level's; 0 on the coarsest one
    const int2* near;             // displacements to try around the best guess
    const int2* spiral;           // and anywhere
    int* found;                   // (rows, columns, TEXVLM_RECORD), written on the finest level; else 0
    int columns, rows;
    int parent_columns, parent_rows;
    int near_count;               // 0 on the coarsest level
    int spiral_count;
    int between;                  // whether this level is neither the coarsest nor the finest
    int pitch;                    // texels from block to block
};
static_assert(sizeof(MatchBlocksArguments) == TEXVLM_ARGUMENT_BYTES, "differs from backends/cuda/motion.py");

const int WINDOW = TEXVLM_WINDOW;
const unsigned NOTHING = 0xffffffffu, WARP = 0xffffffffu;

// First byte of a window. Those wholly outside the frame look alike.
__device__ __forceinline__ const unsigned char* corner_of(const KeptLevel& kept, const unsigned char* texels, int x, int y) {
    const int inner_x = min(max(x, -WINDOW), kept.width) + PAD, inner_y = min(max(y, -WINDOW), kept.height) + PAD;
    return texels + static_cast<long long>(inner_y) * kept.stride + inner_x;
}

// Four bytes from any address on.
__device__ __forceinline__ unsigned bytes_at(const unsigned char* address) {
    const unsigned long long place = reinterpret_cast<unsigned long long>(address);
    const unsigned* words = reinterpret_cast<const unsigned*>(place & ~3ull);
    const unsigned long long both = words[0] | static_cast<unsigned long long>(words[1]) << 32;
    return static_cast<unsigned>(both >> (8 * (place & 3)));
}

// Sum of absolute differences of four rows from `row` on.
__device__ __forceinline__ unsigned differences(
    const unsigned char* ours, const unsigned char* theirs, int stride, int row
) {
    unsigned total = 0;
#pragma unroll
    for (int j = 0; j < 4; j++)
#pragma unroll
        for (int x = 0; x < WINDOW; x += 4) {
            const long long offset = static_cast<long long>(row + j) * stride + x;
            const unsigned apart = __vabsdiffu4(bytes_at(ours + offset), bytes_at(theirs + offset));
            total += (apart & 255u) + ((apart >> 8) & 255u) + ((apart >> 16) & 255u) + (apart >> 24);
        }
    return total;
}

// Of a whole window; lanes 4k..4k+3 share a displacement, and all get the sum.
__device__ __forceinline__ unsigned cost_of(
    const MatchBlocksArguments& a, const unsigned char* ours, int x, int y, int lane
) {
    unsigned total = differences(ours, corner_of(a.ours, a.theirs, x, y), a.ours.stride, 4 * (lane & 3));
    total += __shfl_xor_sync(WARP, total, 1);
    return total + __shfl_xor_sync(WARP, total, 2);
}

__device__ __forceinline__ unsigned least_of_lanes(unsigned key) {
#pragma unroll
    for (int mask = 16; mask > 0; mask /= 2) key = min(key, __shfl_xor_sync(WARP, key, mask));
    return key;
}

__device__ __forceinline__ int sum_of_lanes(int value) {
#pragma unroll
    for (int mask = 16; mask > 0; mask /= 2) value += __shfl_xor_sync(WARP, value, mask);
    return value;
}

// Sums of gradients and differences over eight texels of one row; see block_search.RECORD.
__device__ __forceinline__ void add_gradients(
    const unsigned char* ours, const unsigned char* theirs, int stride, int (&sums)[5]
) {
    int across[3][8], slope[3][8], apart[3][8];  // smoothed sum, slope of the sum, smoothed difference
#pragma unroll
    for (int j = 0; j < 3; j++) {
        const unsigned char* a = ours + static_cast<long long>(j - 1) * stride - 1;
        const unsigned char* b = theirs + static_cast<long long>(j - 1) * stride - 1;
        int left_a = a[0], left_b = b[0], here_a = a[1], here_b = b[1];
#pragma unroll
        for (int x = 0; x < 8; x++) {
            const int right_a = a[x + 2], right_b = b[x + 2];
            across[j][x] = left_a + left_b + 2 * (here_a + here_b) + right_a + right_b;
            slope[j][x] = right_a + right_b - left_a - left_b;
            apart[j][x] = left_a - left_b + 2 * (here_a - here_b) + right_a - right_b;
            left_a = here_a;
            left_b = here_b;
            here_a = right_a;
            here_b = right_b;
        }
    }
#pragma unroll
    for (int i = 0; i < 8; i++) {
        const int x = slope[0][i] + 2 * slope[1][i] + slope[2][i], y = across[2][i] - across[0][i];
        const int t = apart[0][i] + 2 * apart[1][i] + apart[2][i];
        sums[0] += x * x;
        sums[1] += x * y;
        sums[2] += y * y;
        sums[3] += x * t;
        sums[4] += y * t;
    }
}

// The least of `best` and the keys of displacements around (x, y), numbered from `first` on; the same in all lanes.
__device__ __forceinline__ unsigned tried(
    const MatchBlocksArguments& a, const unsigned char* ours, int2 window, int2 around, const int2* steps, int count,
    int first, unsigned fee, unsigned best, int lane
) {
    for (int start = 0; start < count; start += 8) {
        const int k = start + lane / 4;
        const int2 step = k < count ? steps[k] : make_int2(0, 0);
        const int x = around.x + step.x, y = around.y + step.y;
        const unsigned cost = cost_of(a, ours, window.x + x, window.y + y, lane) + fee;
        if (k < count && (x != 0 || y != 0)) best = min(best, cost << 8 | static_cast<unsigned>(first + k));
    }
    return least_of_lanes(best);
}

const int FIRST_NEAR = 16, FIRST_SPIRAL = 32;  // numbers of displacements; guesses have 0..4

extern "C" __global__ void __launch_bounds__(32) match_blocks(const MatchBlocksArguments a) {
    const int lane = threadIdx.x, column = blockIdx.x, row = blockIdx.y;
    const int block = row * a.columns + column;
    const int corner = a.pitch / 2 - WINDOW / 2;
    const int2 window = make_int2(column * a.pitch + corner, row * a.pitch + corner);
    const unsigned char* ours = corner_of(a.ours, a.ours.texels, window.x, window.y);

    // none, then the guesses: those that are none, too, come after it and cannot win
    const int number = lane / 4;
    int2 guess = make_int2(0, 0);
    if (a.parents && number > 0 && number < 5) {
        const int up = row / 2, left = column / 2;
        const int beside_y = min(max(up + 2 * (row & 1) - 1, 0), a.parent_rows - 1);
        const int beside_x = min(max(left + 2 * (column & 1) - 1, 0), a.parent_columns - 1);
        const int chosen_x = (number - 1) & 1 ? beside_x : left, chosen_y = number < 3 ? up : beside_y;
        const int2 parent = a.parents[chosen_y * a.parent_columns + chosen_x];
        guess = make_int2(2 * parent.x, 2 * parent.y);
    }
    const unsigned cost = cost_of(a, ours, window.x + guess.x, window.y + guess.y, lane);
    const unsigned sad_still = __shfl_sync(WARP, cost, 0);
    const bool counts = number == 0 || (a.parents && number < 5);
    const unsigned fee = TEXVLM_STILL + (sad_still >> TEXVLM_STILL_SHIFT);
    unsigned best = least_of_lanes(counts ? (cost + (number ? fee : 0u)) << 8 | static_cast<unsigned>(number) : NOTHING);

    const int winner = static_cast<int>(best & 255u) * 4;
    int2 moved = make_int2(__shfl_sync(WARP, guess.x, winner), __shfl_sync(WARP, guess.y, winner));
    int sums[5] = {0, 0, 0, 0, 0};
    unsigned sad = sad_still;
    if (sad_still != 0) {  // for all lanes or none
        best = tried(a, ours, window, moved, a.near, a.near_count, FIRST_NEAR, fee, best, lane);
        if (!a.parents || (a.between && 2 * (best >> 8) > sad_still && best >> 8 > TEXVLM_STRAY))
            best = tried(a, ours, window, make_int2(0, 0), a.spiral, a.spiral_count, FIRST_SPIRAL, fee, best, lane);
        const int chosen = static_cast<int>(best & 255u);
        if (chosen >= FIRST_SPIRAL) {
            moved = a.spiral[chosen - FIRST_SPIRAL];
        } else if (chosen >= FIRST_NEAR) {
            moved = make_int2(moved.x + a.near[chosen - FIRST_NEAR].x, moved.y + a.near[chosen - FIRST_NEAR].y);
        }
        sad = (best >> 8) - (moved.x != 0 || moved.y != 0 ? fee : 0u);
    }
    if (lane == 0) a.vectors[block] = moved;
    if (!a.found) return;
    if (sad_still != 0) {
        const long long offset = static_cast<long long>(lane / 2) * a.ours.stride + 8 * (lane & 1);
        const unsigned char* theirs = corner_of(a.ours, a.theirs, window.x + moved.x, window.y + moved.y);
        add_gradients(ours + offset, theirs + offset, a.ours.stride, sums);
#pragma unroll
        for (int k = 0; k < 5; k++) sums[k] = sum_of_lanes(sums[k]);
    }
    if (lane == 0) {
        int* record = a.found + static_cast<long long>(block) * TEXVLM_RECORD;
        record[0] = moved.x;
        record[1] = moved.y;
        record[2] = static_cast<int>(sad);
        record[3] = static_cast<int>(sad_still);
#pragma unroll
        for (int k = 0; k < 5; k++) record[4 + k] = sums[k];
    }
}
