// What every lane gets from each warp call; one row of eight numbers a thread.

struct WarpsArguments {
    int* results;
    int skip;  // this lane ends early
    int unused;
};
static_assert(sizeof(WarpsArguments) == TEXVLM_ARGUMENT_BYTES, "differs from test_warps.py");

extern "C" __global__ void __launch_bounds__(96) warps(const WarpsArguments a) {
    __shared__ int sums[3];
    int lane = threadIdx.x % 32;
    if (lane == a.skip) return;
    unsigned mask = 0xFFFFFFFFu;
    int* row = a.results + 8 * threadIdx.x;
    row[0] = __shfl_xor_sync(mask, int(threadIdx.x), 5);
    row[1] = __shfl_down_sync(mask, int(threadIdx.x), 3, 8);
    row[2] = __shfl_up_sync(mask, int(threadIdx.x), 3, 8);
    row[3] = __shfl_sync(mask, int(threadIdx.x), 9, 8);
    row[4] = int(__ballot_sync(mask, lane % 3 == 0));
    row[5] = __any_sync(mask, lane == 7) * 2 + __all_sync(mask, lane < 31);
    if (lane < 16) row[6] = __shfl_xor_sync(0x0000FFFFu, lane, 1);
    int sum = lane;
    for (int step = 16; step; step /= 2) sum += __shfl_xor_sync(mask, sum, step);
    if (lane == 0) sums[threadIdx.x / 32] = sum + threadIdx.x / 32;
    __syncthreads();
    row[7] = sums[0] + sums[1] + sums[2];
}
