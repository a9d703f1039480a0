// Rebuilds levels 1..4 of dirty tiles from level 0.
//
// Grid: see columns.glsl. Reads: level 0 of one layer, the list of tiles. Writes: levels 1..4, only
// texels above the listed tiles.
#include "columns.glsl"

layout(binding = 0) uniform TEXEL_SAMPLER texels;

SUM sum_of_quad(uint index, ivec2 tile, ivec2 corner) {
    ivec2 place = tile * 16 + corner;
#if TEXVLM_INTEGER
    // the corner that four texels share lies half a texel from every decision about which ones they are
    return sum_of_words(textureGather(texels, vec3(vec2(place + 1) / vec2(textureSize(texels, 0).xy), layer)));
#else
    return (texelFetch(texels, ivec3(place, layer), 0) + texelFetch(texels, ivec3(place + ivec2(1, 0), layer), 0))
         + (texelFetch(texels, ivec3(place + ivec2(0, 1), layer), 0) + texelFetch(texels, ivec3(place + 1, layer), 0));
#endif
}

#include "tile_list.glsl"
