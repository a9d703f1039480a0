// Writes dirty tiles of level 0 from a packed buffer.
//
// Grid: one 16 x 16 workgroup for each tile of the list; one thread, one texel.
// Reads:  tiles (column, row) from the frame's top-left, and their texels (packed.glsl).
// Writes: level 0 of one layer.
#include "texels.glsl"
#include "packed.glsl"

layout(local_size_x = 16, local_size_y = 16) in;

layout(std430, binding = 0) readonly buffer Tiles { ivec2 tiles[]; };
layout(TEXVLM_WORD_FORMAT, binding = 0) writeonly uniform uimage2DArray level0;
uniform int layer;

void main() {
    ivec2 place = tiles[gl_WorkGroupID.x] * 16 + ivec2(gl_LocalInvocationID.xy);
    uvec4 texel = packed_texel(gl_WorkGroupID.x * 256u + gl_LocalInvocationIndex);
    imageStore(level0, ivec3(place, layer), texel);
}
