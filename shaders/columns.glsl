// Levels 1..4 of a tile: each texel is the area mean of the level-0 texels it covers, rounded half up
// once from an exact integer sum.
//
// Grid: one thread for each 4 x 4 block of level 0, 16 threads a tile, TEXVLM_TILES tiles a workgroup.
// A thread writes its block's four texels of level 1 and one of level 2; the tile's 16 sums then meet
// in shared memory for level 3 (four threads) and level 4 (one thread): one barrier in all.
// Whoever includes this defines where level-0 texels come from: sum_of_quad.
#include "texels.glsl"

layout(local_size_x = 16, local_size_y = TEXVLM_TILES) in;

layout(std430, binding = 0) readonly buffer Tiles { ivec2 tiles[]; };  // (column, row)
layout(TEXVLM_WORD_FORMAT, binding = 1) writeonly uniform uimage2DArray level1;
layout(TEXVLM_WORD_FORMAT, binding = 2) writeonly uniform uimage2DArray level2;
layout(TEXVLM_WORD_FORMAT, binding = 3) writeonly uniform uimage2DArray level3;
layout(TEXVLM_WORD_FORMAT, binding = 4) writeonly uniform uimage2DArray level4;
uniform int layer;
uniform uint count;  // tiles in the list

#if TEXVLM_INTEGER
// Channels 0 and 2 in x, 1 and 3 in y, 16 bits each: a whole tile's sum and its rounding fit
// (256 * 255 + 128 < 65536), so four channels cost two additions.
#define SUM uvec2
const uint PAIR = 0x00ff00ffu;

uvec4 mean(SUM sum, uint shift) {
    uvec2 rounded = ((sum + 0x00010001u * (1u << (shift - 1u))) >> shift) & PAIR;
    return uvec4(rounded.x | (rounded.y << 8), 0, 0, 0);
}

SUM sum_of_words(uvec4 words) {
    uvec4 even = words & PAIR, odd = (words >> 8) & PAIR;
    return SUM(even.x + even.y + even.z + even.w, odd.x + odd.y + odd.z + odd.w);
}
#else
#define SUM vec4

uvec4 mean(SUM sum, uint shift) {
    return floatBitsToUint(sum / float(1u << shift));
}
#endif

// Sum of the 2 x 2 texels of level 0 from `corner` on, counted from the top-left of tile number `index`,
// which lies at `tile`.
SUM sum_of_quad(uint index, ivec2 tile, ivec2 corner);

shared SUM block_sums[16 * TEXVLM_TILES];

void main() {
    uint index = gl_WorkGroupID.x * TEXVLM_TILES + gl_LocalInvocationID.y;
    uint thread = gl_LocalInvocationID.x;
    bool live = index < count;
    ivec2 tile = ivec2(0);
    if (live) {
        tile = tiles[index];
        ivec2 block = ivec2(thread % 4u, thread / 4u);
        SUM whole = SUM(0);
        for (int quad = 0; quad < 4; quad++) {
            ivec2 place = block * 2 + ivec2(quad & 1, quad >> 1);
            SUM sum = sum_of_quad(index, tile, place * 2);
            imageStore(level1, ivec3(tile * 8 + place, layer), mean(sum, 2u));
            whole += sum;
        }
        imageStore(level2, ivec3(tile * 4 + block, layer), mean(whole, 4u));
        block_sums[gl_LocalInvocationIndex] = whole;
    }
    barrier();
    if (live && thread < 4u) {
        ivec2 half_tile = ivec2(thread % 2u, thread / 2u);
        uint first = gl_LocalInvocationIndex - thread + uint(half_tile.x) * 2u + uint(half_tile.y) * 8u;
        SUM sum = (block_sums[first] + block_sums[first + 1u]) + (block_sums[first + 4u] + block_sums[first + 5u]);
        imageStore(level3, ivec3(tile * 2 + half_tile, layer), mean(sum, 6u));
    }
    if (live && thread == 0u) {
        SUM sum = SUM(0);
        for (uint row = 0u; row < 4u; row++) {
            uint first = gl_LocalInvocationIndex + row * 4u;
            sum += (block_sums[first] + block_sums[first + 1u]) + (block_sums[first + 2u] + block_sums[first + 3u]);
        }
        imageStore(level4, ivec3(tile, layer), mean(sum, 8u));
    }
}
