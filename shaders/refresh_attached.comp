// Brings a layer up to date with a texture of the application: compares it with level 0, writes the
// tiles that differ and levels 1..4 above them, and tells which tiles those were.
//
// Grid: x = TEXVLM_TILES (four) neighbouring tiles of a row, y = rows of tiles; threads: see columns.glsl.
// Reads:  a rectangle of the application's image, and level 0 of one layer.
// Writes: levels 0..4, only texels of tiles that differ and above them; a byte for each tile.
//
// An image and not a sampler reads the source: what filters, mip range and comparison the application
// set on its texture does not matter then.
#include "columns.glsl"

layout(TEXVLM_WORD_FORMAT, binding = 0) uniform uimage2DArray level0;
layout(TEXVLM_SOURCE_FORMAT, binding = 5) readonly uniform image2D source;
layout(std430, binding = 0) writeonly buffer Dirty { uint dirty[]; };  // four tiles to a word
uniform ivec2 size;           // of the picture
uniform ivec2 source_corner;  // its lowest texel in the source
uniform int bottom_up;        // the lowest row is the picture's last
uniform int take_all;         // every tile differs
uniform float limit;          // largest difference that is no change, in texel values

#if TEXVLM_TILES != 4
#error "a workgroup's flags fill one word"
#endif

// One texel of the source as it is stored; places beyond the picture repeat its edge.
uvec4 source_words(ivec2 place) {
    place = min(place, size - 1);
    if (bottom_up != 0) place.y = size.y - 1 - place.y;
    vec4 value = imageLoad(source, source_corner + place);
#if TEXVLM_CHANNELS == 3
    value.a = 1.0;
#endif
#if TEXVLM_INTEGER
    // what is not a number is not above 0; half up; 16-bit floats times 255 are exact
    precise vec4 scaled = mix(vec4(0.0), min(value, 1.0), greaterThan(value, vec4(0.0))) * 255.0 + 0.5;
    uvec4 bytes = uvec4(scaled);
    return uvec4(bytes.x | (bytes.y << 8) | (bytes.z << 16) | (bytes.w << 24), 0, 0, 0);
#else
    return floatBitsToUint(value);
#endif
}

bool differs(uvec4 shown, uvec4 stored) {
#if TEXVLM_INTEGER
    const uvec4 places = uvec4(0, 8, 16, 24);
    ivec4 distance = abs(ivec4((shown.xxxx >> places) & 255u) - ivec4((stored.xxxx >> places) & 255u));
    return any(greaterThan(vec4(distance), vec4(limit)));
#else
    // decided by bits, because compilers may take for granted that nothing is NaN
    const uint sign_bit = 0x80000000u, infinity = 0x7f800000u;
    bvec4 broken = greaterThan(max(shown & ~sign_bit, stored & ~sign_bit), uvec4(infinity));
    bvec4 beyond = greaterThan(abs(uintBitsToFloat(shown) - uintBitsToFloat(stored)), vec4(limit));
    bvec4 same = equal(shown, stored);  // equal infinities have the difference NaN, and are not a change
    for (int channel = 0; channel < TEXVLM_CHANNELS; channel++) {
        if (broken[channel] || (beyond[channel] && !same[channel])) return true;
    }
    return false;
#endif
}

SUM sum_of_quad(uint index, ivec2 tile, ivec2 corner) {
    uvec4 words[4];
    for (int texel = 0; texel < 4; texel++) {
        ivec2 place = tile * 16 + corner + ivec2(texel & 1, texel >> 1);
        words[texel] = source_words(place);
        imageStore(level0, ivec3(place, layer), words[texel]);
    }
#if TEXVLM_INTEGER
    return sum_of_words(uvec4(words[0].x, words[1].x, words[2].x, words[3].x));
#else
    return (uintBitsToFloat(words[0]) + uintBitsToFloat(words[1]))
         + (uintBitsToFloat(words[2]) + uintBitsToFloat(words[3]));
#endif
}

shared uint changed;

void main() {
    uint place_in_word = gl_LocalInvocationID.y * 8u;
    ivec2 tile = ivec2(gl_WorkGroupID.x * TEXVLM_TILES + gl_LocalInvocationID.y, gl_WorkGroupID.y);
    if (gl_LocalInvocationIndex == 0u) changed = 0u;
    barrier();
    if (tile.x * 16 < size.x) {
        bool mine = take_all != 0;
        ivec2 corner = tile * 16 + block_of_thread() * 4;
        for (int texel = 0; texel < 16 && !mine; texel++) {
            ivec2 place = corner + ivec2(texel & 3, texel >> 2);
            if (all(lessThan(place, size))) {
                mine = differs(source_words(place), imageLoad(level0, ivec3(place, layer)));
            }
        }
        if (mine) atomicOr(changed, 1u << place_in_word);
    }
    barrier();
    if (gl_LocalInvocationIndex == 0u) dirty[gl_WorkGroupID.y * gl_NumWorkGroups.x + gl_WorkGroupID.x] = changed;
    build_columns(0u, tile, ((changed >> place_in_word) & 1u) != 0u);
}
