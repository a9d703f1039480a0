// Writes dirty tiles of level 0 from a packed buffer, and levels 1..4 above them in the same pass.
//
// Grid: see columns.glsl. Reads: the list of tiles and their texels (packed.glsl). Writes: levels 0..4,
// only texels of the listed tiles and above them. The bits are those of upload.comp and build_mips.comp.
#include "columns.glsl"
#include "packed.glsl"

layout(TEXVLM_WORD_FORMAT, binding = 0) writeonly uniform uimage2DArray level0;

uvec4 moved(uint index, ivec2 tile, ivec2 place) {
    uvec4 texel = packed_texel(index * 256u + uint(place.y * 16 + place.x));
    imageStore(level0, ivec3(tile * 16 + place, layer), texel);
    return texel;
}

SUM sum_of_quad(uint index, ivec2 tile, ivec2 corner) {
    uvec4 a = moved(index, tile, corner), b = moved(index, tile, corner + ivec2(1, 0));
    uvec4 c = moved(index, tile, corner + ivec2(0, 1)), d = moved(index, tile, corner + 1);
#if TEXVLM_INTEGER
    return sum_of_words(uvec4(a.x, b.x, c.x, d.x));
#else
    return (uintBitsToFloat(a) + uintBitsToFloat(b)) + (uintBitsToFloat(c) + uintBitsToFloat(d));
#endif
}

#include "tile_list.glsl"
