// The frame: as it is, dimmed, gray and dark, or with its changed tiles tinted.
// As texvlm/drawing does on the host: a changed tile keeps 3/4 of its colour, others are gray at half brightness.

// SHADING says which: a program each, since a branch costs what both its sides do.

#define AS_IT_IS 0
#define DIMMED 1
#define CHANGED_TILES 2
#define DARK 3

#include "view_texels.glsl"

layout(binding = 1) uniform sampler2D tiles;  // one texel a tile, 1 where it changed
uniform vec4 tint;  // of changed tiles; in w, what a dimmed frame keeps of its brightness

in vec2 place;
out vec4 colour;

void main() {
    vec3 rgb = frame_at(place);
#if SHADING == DIMMED
    rgb *= tint.w;
#elif SHADING != AS_IT_IS
    vec3 dark = vec3(dot(rgb, vec3(0.15, 0.295, 0.055)));
#if SHADING == CHANGED_TILES
    ivec2 tile = min(ivec2(place * extent.xy / float(TILE)), textureSize(tiles, 0) - 1);
    dark = texelFetch(tiles, tile, 0).r > 0.5 ? mix(tint.rgb, rgb, 0.75) : dark;
#endif
    rgb = dark;
#endif
    colour = vec4(rgb, 1.0);
}
