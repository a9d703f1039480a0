// Bytes of a surface, from or to a buffer, TEXVLM_BYTES with each access.

#if TEXVLM_BYTES == 1
typedef unsigned char Wide;
#elif TEXVLM_BYTES == 2
typedef unsigned short Wide;
#elif TEXVLM_BYTES == 4
typedef unsigned Wide;
#elif TEXVLM_BYTES == 8
typedef uint2 Wide;
#else
typedef uint4 Wide;
#endif

struct WideArguments {
    cudaSurfaceObject_t surface;
    Wide* buffer;  // (height, accesses)
    int accesses, height;
    int layer;
    int unused;
};
static_assert(sizeof(WideArguments) == TEXVLM_ARGUMENT_BYTES, "differs from test_cuda_device.py");

extern "C" __global__ void wide(const WideArguments a) {
    const int i = threadIdx.x, y = threadIdx.y, x = i * static_cast<int>(sizeof(Wide));
    if (i >= a.accesses || y >= a.height) return;
    Wide* place = a.buffer + y * a.accesses + i;
#if TEXVLM_WRITES
    surf2DLayeredwrite(*place, a.surface, x, y, a.layer, cudaBoundaryModeZero);
#else
    *place = surf2DLayeredread<Wide>(a.surface, x, y, a.layer, cudaBoundaryModeZero);
#endif
}
