// Rebuilds texels of one level above the tiles (level 5 and up): each is the mean of a square block
// of level-4 texels, rounded half up once.
//
// Grid: one thread for each texel of the list. Reads: level 4 of one layer. Writes: the level bound
// as image 0. Blocks that reach beyond the frame repeat its last level-4 texels.
#include "texels.glsl"

layout(local_size_x = 64) in;

layout(std430, binding = 0) readonly buffer Places { ivec2 places[]; };  // texels of this level
layout(binding = 0) uniform TEXEL_SAMPLER texels;
layout(TEXVLM_WORD_FORMAT, binding = 0) writeonly uniform uimage2DArray coarse;
uniform int layer;
uniform uint first;  // where this level's part of the list starts
uniform uint count;  // and how long it is
uniform int steps;   // levels above level 4; the block's side is 2**steps
uniform ivec2 last;  // the frame's last level-4 texel

void main() {
    if (gl_GlobalInvocationID.x >= count) return;
    ivec2 place = places[first + gl_GlobalInvocationID.x];
    ivec2 corner = place << steps;
    int side = 1 << steps;
#if TEXVLM_INTEGER
    uvec4 sum = uvec4(0);
    for (int y = 0; y < side; y++) {
        for (int x = 0; x < side; x++) {
            uint word = texelFetch(texels, ivec3(min(corner + ivec2(x, y), last), layer), 4).x;
            sum += (uvec4(word) >> uvec4(0, 8, 16, 24)) & 255u;
        }
    }
    uvec4 texel = (sum + (1u << (2 * steps - 1))) >> (2 * steps);
    uvec4 stored = uvec4(texel.x | (texel.y << 8) | (texel.z << 16) | (texel.w << 24), 0, 0, 0);
#else
    // compensated summation: thousands of texels, and the error stays that of one addition
    precise vec4 sum = vec4(0), lost = vec4(0);
    for (int y = 0; y < side; y++) {
        for (int x = 0; x < side; x++) {
            precise vec4 term = texelFetch(texels, ivec3(min(corner + ivec2(x, y), last), layer), 4) - lost;
            precise vec4 next = sum + term;
            lost = (next - sum) - term;
            sum = next;
        }
    }
    uvec4 stored = floatBitsToUint(sum / float(side * side));
#endif
    imageStore(coarse, ivec3(place, layer), stored);
}
