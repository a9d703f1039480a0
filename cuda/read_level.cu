// A frame's own texels of one level as packed pixels, for tests and viewers.
//
// Grid: (ceil(width / 32), ceil(height / 8), 1) blocks of 32 x 8 threads; a thread copies one texel. Reads one
// layer of one level, writes (height, width, channels). Origin: top-left.
#define SUM_BITS 32
#include "texels.cuh"

#if TEXVLM_FLOAT
typedef float Element;
#else
typedef unsigned char Element;
#endif

struct ReadLevelArguments {
    Surface level;
    Element* target;
    int width, height;  // of the frame at this level
    int layer;
    int padding;
};
static_assert(sizeof(ReadLevelArguments) == TEXVLM_ARGUMENT_BYTES, "differs from backends/cuda/ingest_kernels.py");

extern "C" __global__ void __launch_bounds__(256) read_level(const ReadLevelArguments a) {
    const int x = blockIdx.x * 32 + threadIdx.x, y = blockIdx.y * 8 + threadIdx.y;
    if (x >= a.width || y >= a.height) return;
    const Texel texel = read_texel(a.level, x, y, a.layer);
    Element* pixel = a.target + (static_cast<long long>(y) * a.width + x) * TEXVLM_CHANNELS;
#pragma unroll
    for (int c = 0; c < TEXVLM_CHANNELS; c++)
#if TEXVLM_FLOAT
        pixel[c] = texel.channel[c];
#else
        pixel[c] = static_cast<unsigned char>(texel >> (8 * c));
#endif
}
