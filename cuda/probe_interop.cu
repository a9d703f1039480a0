// Proves that CUDA and OpenGL see the same texels of a shared array: reads each through the sampler, and
// writes it back inverted through a surface.
//
// Grid: one block of 4 x 4 threads, one texel each from the top-left of level 0 of one layer.
// Reads and writes 8-bit texels of four channels.
struct ProbeInteropArguments {
    unsigned long long texture;
    unsigned long long surface;  // of level 0
    uchar4* seen;                // 16 texels, row by row
    float inverse_width;         // of the storage
    float inverse_height;
    int layer;
    int padding;
};
static_assert(sizeof(ProbeInteropArguments) == TEXVLM_ARGUMENT_BYTES, "differs from backends/cuda/gl_context.py");

__device__ __forceinline__ unsigned char byte_of(float value) {
    return static_cast<unsigned char>(value * 255.0f + 0.5f);
}

extern "C" __global__ void probe_interop(const ProbeInteropArguments a) {
    const int x = threadIdx.x, y = threadIdx.y;
    const float4 value = tex2DLayeredLod<float4>(
        a.texture, (x + 0.5f) * a.inverse_width, (y + 0.5f) * a.inverse_height, a.layer, 0.0f);
    const uchar4 texel = make_uchar4(byte_of(value.x), byte_of(value.y), byte_of(value.z), byte_of(value.w));
    a.seen[4 * y + x] = texel;
    const uchar4 inverted = make_uchar4(255 - texel.x, 255 - texel.y, 255 - texel.z, 255 - texel.w);
    surf2DLayeredwrite(inverted, a.surface, x * 4, y, a.layer, cudaBoundaryModeZero);
}
