// One fetch a thread: hardware filtering, points, or surfaces, as TEXVLM_FETCH says.

struct FetchArguments {
    cudaTextureObject_t texture;
    const float4* places;  // x, y, layer, LOD
    TEXVLM_TEXEL* results;
    int count;
    int unused;
};
static_assert(sizeof(FetchArguments) == TEXVLM_ARGUMENT_BYTES, "differs from test_images.py");

extern "C" __global__ void fetch(const FetchArguments a) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= a.count) return;
    float4 at = a.places[i];
#if TEXVLM_FETCH == 0
    a.results[i] = tex2DLayeredLod<TEXVLM_TEXEL>(a.texture, at.x, at.y, int(at.z), at.w);
#elif TEXVLM_FETCH == 1
    a.results[i] = tex2DLayered<TEXVLM_TEXEL>(a.texture, at.x, at.y, int(at.z));
#elif TEXVLM_FETCH == 2
    a.results[i] = tex2D<TEXVLM_TEXEL>(a.texture, at.x, at.y);
#else
    surf2DLayeredread(&a.results[i], a.texture, int(at.x) * int(sizeof(TEXVLM_TEXEL)), int(at.y), int(at.z),
                      cudaBoundaryModeZero);
#endif
}
