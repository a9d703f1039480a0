// target[i] = a * source[i] + b

struct AddArguments {
    int* target;
    const int* source;
    int count;
    int a;
    int b;
    int unused;
};
static_assert(sizeof(AddArguments) == TEXVLM_ARGUMENT_BYTES, "differs from test_streams.py");

extern "C" __global__ void add(const AddArguments a) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < a.count) a.target[i] = a.a * a.source[i] + a.b;
}
