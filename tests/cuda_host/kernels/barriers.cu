// A block reverses its row through shared memory, and counts; (5, 2, 3) threads a block.

struct BarriersArguments {
    int* row;      // 30 numbers a block
    int* counts;   // 4 a block: count, or, and, first word of shared memory as the block found it
    int* total;
    long long unused;
};
static_assert(sizeof(BarriersArguments) == TEXVLM_ARGUMENT_BYTES, "differs from test_threads.py");

extern "C" __global__ void barriers(const BarriersArguments a) {
    __shared__ int held[30];
    int thread = threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z);
    int block = blockIdx.x + gridDim.x * (blockIdx.y + gridDim.y * blockIdx.z);
    int found = held[0];
    __syncthreads();
    held[thread] = a.row[30 * block + thread];
    int count = __syncthreads_count(thread % 4 == 0), some = __syncthreads_or(thread == 29);
    int every = __syncthreads_and(thread != 3);
    a.row[30 * block + thread] = held[29 - thread];
    atomicAdd(a.total, thread);
    if (thread == 0) {
        a.counts[4 * block] = count;
        a.counts[4 * block + 1] = some;
        a.counts[4 * block + 2] = every;
        a.counts[4 * block + 3] = found;
    }
}
