// Writes one value over a box of a surface, which may reach beyond it.

struct FillArguments {
    cudaSurfaceObject_t surface;
    int width, height;
    int layer;
    int value;
};
static_assert(sizeof(FillArguments) == TEXVLM_ARGUMENT_BYTES, "differs from test_images.py");

extern "C" __global__ void fill(const FillArguments a) {
    int x = blockIdx.x * blockDim.x + threadIdx.x, y = blockIdx.y * blockDim.y + threadIdx.y;
    if (x >= a.width || y >= a.height) return;
    unsigned char v = static_cast<unsigned char>(a.value + x + 10 * y);
    surf2DLayeredwrite(make_uchar4(v, v, v, 255), a.surface, x * 4, y, a.layer, cudaBoundaryModeZero);
}
