// Makes one level of a kept picture: luma of the stored texels, smoothed 1 2 1 both ways.
//
// Grid: x = words of a row, 64 to a workgroup, y = rows, those beyond the edges among them; one thread, one word.
// Reads:  one level of one layer. Writes: that level of one half of the layer's kept pictures.
#include "kept_picture.glsl"

layout(local_size_x = 64) in;

layout(std430, binding = 0) writeonly buffer Pictures { uint words[]; };
layout(binding = 0) uniform usampler2DArray texels;
uniform int level;
uniform int layer;
uniform int half_start;  // word of the half that is written

uint luma(int x, int y) {
    uint word = texelFetch(texels, ivec3(clamp(x, 0, size.x - 1), clamp(y, 0, size.y - 1), layer), level).x;
#if TEXVLM_GRAY
    return word;
#else
    return (77u * (word & 255u) + 150u * ((word >> 8) & 255u) + 29u * ((word >> 16) & 255u) + 128u) >> 8;
#endif
}

uint column(int x, int y) {
    return luma(x, y - 1) + 2u * luma(x, y) + luma(x, y + 1);
}

void main() {
    ivec2 place = ivec2(gl_GlobalInvocationID.xy);
    if (place.x >= stride) return;
    int y = clamp(place.y - PAD, 0, size.y - 1);
    uint word = 0u;
    for (int i = 0; i < 4; i++) {
        int x = clamp(4 * place.x - PAD + i, 0, size.x - 1);
        word |= ((column(x - 1, y) + 2u * column(x, y) + column(x + 1, y) + 8u) >> 4) << (8 * i);
    }
    words[half_start + start + place.y * stride + place.x] = word;
}
