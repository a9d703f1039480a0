// One broken rule for each mode; every one of them must be an error of the launch.

struct MisuseArguments {
    int* target;
    cudaSurfaceObject_t surface;
    cudaTextureObject_t texture;
    int mode;
    int unused;
};
static_assert(sizeof(MisuseArguments) == TEXVLM_ARGUMENT_BYTES, "differs from test_threads.py");

__device__ int deep(volatile int* from, int depth) {
    volatile int room[64];
    room[depth % 64] = *from;
    return depth ? deep(room, depth - 1) + room[depth % 64] : 0;
}

extern "C" __global__ void misuse(const MisuseArguments a) {
    __shared__ int held[32];
    int lane = threadIdx.x;
    switch (a.mode) {
        case 0: break;
        case 1:  // two barriers
            if (lane < 7) __syncthreads();
            else __syncthreads_or(0);
            break;
        case 2:  // a barrier and a warp call wait for each other
            if (lane < 7) __syncthreads();
            else __syncwarp();
            break;
        case 3:  // not in its own mask
            __shfl_sync(0x1u, lane, 0);
            break;
        case 4:  // other masks
            if (lane < 7) __ballot_sync(0xFFFFFFFFu, 1);
            else __ballot_sync(0xFFFFFFF0u, 1);
            break;
        case 5: __shfl_xor_sync(0xFFFFFFFFu, lane, 1, 12); break;
        case 6: *reinterpret_cast<volatile int*>(8) = lane; break;
        case 7: *a.target = deep(a.target, 1 << 20); break;
        case 8: *a.target = a.mode / a.target[0]; break;
        case 9: surf2DLayeredwrite(make_uchar4(1, 2, 3, 4), a.surface, 2, 0, 0, cudaBoundaryModeZero); break;
        case 10: surf2DLayeredwrite(make_uchar4(1, 2, 3, 4), a.surface, 64, 0, 0, cudaBoundaryModeTrap); break;
        case 11: tex2DLayeredLod<float4>(a.texture, 0.5f, 0.5f, 2, 0.0f); break;
        case 12: tex2DLayeredLod<float>(a.texture, 0.5f, 0.5f, 0, 0.0f); break;
        case 13: tex2D<float4>(a.texture, 0.5f, 0.5f); break;
        case 14: tex2DLayeredLod<float4>(a.surface, 0.5f, 0.5f, 0, 0.0f); break;
        case 15: surf2DLayeredread<uchar4>(12345, 0, 0, 0, cudaBoundaryModeZero); break;
        case 16: tex2DLayered<uchar4>(a.texture, 0.5f, 0.5f, 0); break;
        case 17: held[a.mode + 15 + lane] = lane; break;  // beyond shared memory
        case 18: *a.target = 1 << (a.mode + 14 + lane); break;
        case 19:
            held[lane] = lane;
            a.target[lane] = lane ? held[lane - 1] : -1;
            break;
    }
}
