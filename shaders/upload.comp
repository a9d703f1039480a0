// Writes dirty tiles of level 0 from a packed buffer.
//
// Grid: one 16 x 16 workgroup for each tile of the list; one thread, one texel.
// Reads:  tiles (column, row) from the frame's top-left, and their texels: 256 of a tile row by row,
//         tile after tile, as they are stored (8-bit gray packs four to a word).
// Writes: level 0 of one layer. Partial tiles at the right and bottom edge are packed whole.
#include "texels.glsl"

layout(local_size_x = 16, local_size_y = 16) in;

layout(std430, binding = 0) readonly buffer Tiles { ivec2 tiles[]; };
layout(std430, binding = 1) readonly buffer Texels { TEXVLM_PACKED texel_words[]; };
layout(TEXVLM_WORD_FORMAT, binding = 0) writeonly uniform uimage2DArray level0;
uniform int layer;

void main() {
    uint index = gl_WorkGroupID.x * 256u + gl_LocalInvocationIndex;
#if TEXVLM_TEXEL_BYTES == 1
    uvec4 texel = uvec4(bitfieldExtract(texel_words[index >> 2], int(index & 3u) * 8, 8), 0, 0, 0);
#elif TEXVLM_TEXEL_BYTES == 4
    uvec4 texel = uvec4(texel_words[index], 0, 0, 0);
#else
    uvec4 texel = texel_words[index];
#endif
    ivec2 place = tiles[gl_WorkGroupID.x] * 16 + ivec2(gl_LocalInvocationID.xy);
    imageStore(level0, ivec3(place, layer), texel);
}
