// Rebuilds texels of the levels above the tiles (level 5 and up): each is the mean of a square block
// of level-4 texels, rounded half up once.
//
// Grid: TEXVLM_THREADS threads for each texel of the list: 1, or a workgroup where blocks are large.
// Reads:  level 4 of one layer. Blocks that reach beyond the frame repeat its last level-4 texels.
// Writes: TEXVLM_LEVELS levels from level 4 + `lowest` on, only texels of the list.
#include "texels.glsl"

layout(local_size_x = 64) in;

layout(std430, binding = 0) readonly buffer Places { ivec4 places[]; };  // (x, y, steps, -) of level 4 + steps
layout(binding = 0) uniform TEXEL_SAMPLER texels;
layout(TEXVLM_WORD_FORMAT, binding = 0) writeonly uniform uimage2DArray coarse[TEXVLM_LEVELS];
uniform int layer;
uniform uint first;  // where these levels' part of the list starts
uniform uint count;  // and how long it is
uniform int lowest;  // steps of coarse[0]
uniform ivec2 last;  // the frame's last level-4 texel

#if TEXVLM_INTEGER
#define SUM uvec4

SUM term(ivec2 place) {
    uint word = texelFetch(texels, ivec3(min(place, last), layer), 4).x;
    return (uvec4(word) >> uvec4(0, 8, 16, 24)) & 255u;
}

void add(inout SUM sum, inout SUM lost, SUM more) {
    sum += more;
}

uvec4 mean(SUM sum, int steps) {
    uvec4 texel = (sum + (1u << (2 * steps - 1))) >> (2 * steps);
    return uvec4(texel.x | (texel.y << 8) | (texel.z << 16) | (texel.w << 24), 0, 0, 0);
}
#else
#define SUM vec4

SUM term(ivec2 place) {
    return texelFetch(texels, ivec3(min(place, last), layer), 4);
}

// Compensated: thousands of terms, and the error stays that of one addition.
void add(inout SUM sum, inout SUM lost, SUM more) {
    precise SUM corrected = more - lost;
    precise SUM next = sum + corrected;
    precise SUM rest = (next - sum) - corrected;
    lost = rest;
    sum = next;
}

uvec4 mean(SUM sum, int steps) {
    return floatBitsToUint(sum / float(1 << (2 * steps)));
}
#endif

#if TEXVLM_THREADS > 1
shared SUM partial[TEXVLM_THREADS];
#endif

void main() {
    uint index = gl_GlobalInvocationID.x / TEXVLM_THREADS;
    uint thread = gl_GlobalInvocationID.x % TEXVLM_THREADS;
    if (index >= count) return;  // all threads of a workgroup or none, where they work together
    ivec2 place = places[first + index].xy;
    int steps = places[first + index].z;
    ivec2 corner = place << steps;
    uint inside = (1u << steps) - 1u;
    SUM sum = SUM(0), lost = SUM(0);
    for (uint cell = thread; cell < 1u << (2 * steps); cell += TEXVLM_THREADS) {
        add(sum, lost, term(corner + ivec2(cell & inside, cell >> steps)));
    }
#if TEXVLM_THREADS > 1
    partial[thread] = sum;
    barrier();
    if (thread != 0u) return;
    for (uint other = 1u; other < TEXVLM_THREADS; other++) {
        add(sum, lost, partial[other]);
    }
#endif
    uvec4 stored = mean(sum, steps);
    // image arrays take constant indices only where threads may differ
    for (int image = 0; image < TEXVLM_LEVELS; image++) {
        if (image == steps - lowest) imageStore(coarse[image], ivec3(place, layer), stored);
    }
}
