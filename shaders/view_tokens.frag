// A token: its own pixels enlarged (what an encoder gets to see), its outline, or the frame under it: as DRAWN says.

#define PIXELS 0
#define OUTLINE 1
#define ANEW 2

#include "view_texels.glsl"

layout(binding = 2) uniform sampler2D atlas;  // patches, row by row
uniform vec4 grid;

flat in vec3 paint;
flat in vec2 cell;
in vec2 inside;
in vec2 point;
out vec4 colour;

void main() {
#if DRAWN == PIXELS
    colour = textureLod(atlas, (cell + clamp(inside * grid.w, 0.5, grid.w - 0.5)) / grid.yz, 0.0);
#elif DRAWN == OUTLINE
    colour = vec4(paint, 1.0);
#else
    colour = vec4(frame_at(point), 1.0);
#endif
}
