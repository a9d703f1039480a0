// What every lane gets from each warp call; one row of eight numbers a thread.

struct WarpsArguments {
    int* results;
    int skip;  // this lane ends early
    int unused;
};
static_assert(sizeof(WarpsArguments) == TEXVLM_ARGUMENT_BYTES, "differs from test_threads.py");

extern "C" __global__ void __launch_bounds__(96) warps(const WarpsArguments a) {
    __shared__ int sums[3];
    int lane = threadIdx.x % 32, me = int(threadIdx.x);
    if (lane == a.skip) return;
    unsigned all = 0xFFFFFFFFu;
    int* row = a.results + 8 * me;
    row[0] = __shfl_xor_sync(all, me, 5);
    row[1] = __shfl_down_sync(all, me, 3, 8);
    row[2] = __shfl_up_sync(all, me, 3, 8);
    row[3] = __shfl_sync(all, me, 9, 8);
    row[4] = int(__ballot_sync(all, lane % 3 == 0));
    row[5] = __any_sync(all, lane == 7) * 2 + __all_sync(all, lane < 31);
    if (lane < 16) row[6] = __shfl_xor_sync(0x0000FFFFu, lane, 1);
    int sum = lane;
    for (int step = 16; step; step /= 2) sum += __shfl_xor_sync(all, sum, step);
    if (lane == 0) sums[me / 32] = sum + me / 32;
    __syncthreads();
    row[7] = sums[0] + sums[1] + sums[2];
}
