// Levels 1..4 of a tile: each texel is the area mean of the level-0 texels it covers, rounded half up
// once from an exact integer sum.
//
// Grid: one thread for each 4 x 4 block of level 0, 16 threads a tile, TEXVLM_TILES tiles a workgroup.
// A thread writes its block's four texels of level 1 and one of level 2. Sums then meet in shared
// memory, four by four: for level 3, and once more for level 4.
// Whoever includes this defines where level-0 texels come from: sum_of_quad; and calls build_columns,
// with tiles of a list (tile_list.glsl) or others.
#include "texels.glsl"

layout(local_size_x = 16, local_size_y = TEXVLM_TILES) in;

layout(TEXVLM_WORD_FORMAT, binding = 1) writeonly uniform uimage2DArray level1;
layout(TEXVLM_WORD_FORMAT, binding = 2) writeonly uniform uimage2DArray level2;
layout(TEXVLM_WORD_FORMAT, binding = 3) writeonly uniform uimage2DArray level3;
layout(TEXVLM_WORD_FORMAT, binding = 4) writeonly uniform uimage2DArray level4;
uniform int layer;

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

shared SUM sums[16 * TEXVLM_TILES];

// The 4 x 4 block of a tile that this thread does. Four neighbouring threads share a quarter of the tile,
// so that their sums lie side by side.
ivec2 quarter_of_thread() {
    return ivec2((gl_LocalInvocationID.x >> 2) & 1u, gl_LocalInvocationID.x >> 3);
}

ivec2 block_of_thread() {
    return quarter_of_thread() * 2 + ivec2(gl_LocalInvocationID.x & 1u, (gl_LocalInvocationID.x >> 1) & 1u);
}

// Writes the mips of a tile; all threads of a workgroup call it. Nothing is written where not `live`.
void build_columns(uint index, ivec2 tile, bool live) {
    uint thread = gl_LocalInvocationID.x;
    uint own = gl_LocalInvocationIndex;
    ivec2 quarter = quarter_of_thread();
    SUM sum = SUM(0);
    if (live) {
        ivec2 block = block_of_thread();
        for (int quad = 0; quad < 4; quad++) {
            ivec2 place = block * 2 + ivec2(quad & 1, quad >> 1);
            SUM part = sum_of_quad(index, tile, place * 2);
            imageStore(level1, ivec3(tile * 8 + place, layer), mean(part, 2u));
            sum += part;
        }
        imageStore(level2, ivec3(tile * 4 + block, layer), mean(sum, 4u));
        sums[own] = sum;
    }
    barrier();
    bool first = (thread & 3u) == 0u;
    if (live && first) {
        sum = (sum + sums[own + 1u]) + (sums[own + 2u] + sums[own + 3u]);
        imageStore(level3, ivec3(tile * 2 + quarter, layer), mean(sum, 6u));
        sums[own] = sum;
    }
    barrier();
    if (live && thread == 0u) {
        sum = (sum + sums[own + 4u]) + (sums[own + 8u] + sums[own + 12u]);
        imageStore(level4, ivec3(tile, layer), mean(sum, 8u));
    }
}
