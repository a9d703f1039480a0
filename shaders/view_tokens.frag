// A token: its own pixels enlarged (what an encoder gets to see), its outline, or the frame under it: as DRAWN says.

#define PIXELS 0
#define OUTLINE 1
#define ANEW 2

#define MOST_TAPS 4  // along one side of a pixel: a token drawn at less than 1/8 of its size is not averaged whole

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
    // the mean of what lies under the pixel: an interpolated tap stands for two of the token's pixels
    int taps = clamp(int(ceil(0.5 * reach)), 1, MOST_TAPS);
    vec2 middle = inside * grid.w;
    vec3 sum = vec3(0.0);
    for (int k = 0; k < taps * taps; k++)
        sum += token_at(middle + ((vec2(k % taps, k / taps) + 0.5) / float(taps) - 0.5) * reach);
    colour = vec4(sum / float(taps * taps), 1.0);
#elif DRAWN == OUTLINE
    colour = vec4(paint, 1.0);
#else
    colour = vec4(frame_at(point), 1.0);
#endif
}
