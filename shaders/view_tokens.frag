// A token: its own pixels enlarged (what an encoder gets to see), its outline, or the frame under it: as DRAWN says.

#define PIXELS 0
#define OUTLINE 1
#define ANEW 2

// TAPS along each side are averaged where a token is drawn smaller than its pixels: programs of their own, since a loop
// that runs once costs a software renderer three times what no loop does.

#include "view_texels.glsl"

layout(binding = 2) uniform sampler2D atlas;  // patches, row by row, each with one texel more around it
uniform vec4 grid;

flat in vec3 paint;
flat in vec2 cell;
flat in float reach;
in vec2 inside;
in vec2 point;
out vec4 colour;

// The token's pixels at a place of it, in its pixels: between two of them, or one and its neighbour's, interpolated.
vec3 token_at(vec2 place) {
    return textureLod(atlas, (cell + clamp(place, -0.5, grid.w + 0.5)) / grid.yz, 0.0).rgb;
}

void main() {
#if DRAWN == PIXELS
    vec2 middle = inside * grid.w;
#if TAPS == 1
    colour = vec4(token_at(middle), 1.0);
#else
    vec3 sum = vec3(0.0);
    for (int k = 0; k < TAPS * TAPS; k++)
        sum += token_at(middle + ((vec2(k % TAPS, k / TAPS) + 0.5) / float(TAPS) - 0.5) * reach);
    colour = vec4(sum / float(TAPS * TAPS), 1.0);
#endif
#elif DRAWN == OUTLINE
    colour = vec4(paint, 1.0);
#else
    colour = vec4(frame_at(point), 1.0);
#endif
}
