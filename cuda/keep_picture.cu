// Makes one level of a kept picture: luma of the stored texels, smoothed 1 2 1 both ways.
//
// Grid: (ceil(words of a row / 32), ceil(rows / 8), 1) blocks of 32 x 8 threads, those beyond the edges among
// them; a thread makes four texels. Reads one level of one layer, writes that level of a kept picture.
#define SUM_BITS 32
#include "kept_picture.cuh"
#include "texels.cuh"

struct KeepPictureArguments {
    Surface level;
    KeptLevel kept;
    int layer;
    int padding;
};
static_assert(sizeof(KeepPictureArguments) == TEXVLM_ARGUMENT_BYTES, "differs from backends/cuda/motion.py");

__device__ __forceinline__ unsigned luma(const KeepPictureArguments& a, int x, int y) {
    const int inner_x = min(max(x, 0), a.kept.width - 1), inner_y = min(max(y, 0), a.kept.height - 1);
    const unsigned texel = read_texel(a.level, inner_x, inner_y, a.layer);
#if TEXVLM_STORED == 4
    return (77u * (texel & 255u) + 150u * ((texel >> 8) & 255u) + 29u * ((texel >> 16) & 255u) + 128u) >> 8;
#else
    return texel;
#endif
}

__device__ __forceinline__ unsigned column(const KeepPictureArguments& a, int x, int y) {
    return luma(a, x, y - 1) + 2u * luma(a, x, y) + luma(a, x, y + 1);
}

extern "C" __global__ void __launch_bounds__(256) keep_picture(const KeepPictureArguments a) {
    const int word = static_cast<int>(blockIdx.x * 32 + threadIdx.x), row = static_cast<int>(blockIdx.y * 8 + threadIdx.y);
    if (4 * word >= a.kept.stride || row >= a.kept.height + 2 * PAD) return;
    const int y = min(max(row - PAD, 0), a.kept.height - 1);
    unsigned packed = 0;
#pragma unroll
    for (int i = 0; i < 4; i++) {
        const int x = min(max(4 * word - PAD + i, 0), a.kept.width - 1);
        packed |= ((column(a, x - 1, y) + 2u * column(a, x, y) + column(a, x + 1, y) + 8u) >> 4) << (8 * i);
    }
    reinterpret_cast<unsigned*>(a.kept.texels + static_cast<long long>(row) * a.kept.stride)[word] = packed;
}
