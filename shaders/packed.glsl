// Tiles as the host packs them: 256 texels of a tile row by row, tile after tile, as they are stored
// (8-bit gray packs four to a word). Partial tiles are packed whole, edge texels repeated.
layout(std430, binding = 1) readonly buffer Texels { TEXVLM_PACKED texel_words[]; };

// One texel as unsigned words; `number` counts from the first texel of the first tile.
uvec4 packed_texel(uint number) {
#if TEXVLM_TEXEL_BYTES == 1
    return uvec4(bitfieldExtract(texel_words[number >> 2], int(number & 3u) * 8, 8), 0, 0, 0);
#elif TEXVLM_TEXEL_BYTES == 4
    return uvec4(texel_words[number], 0, 0, 0);
#else
    return texel_words[number];
#endif
}
