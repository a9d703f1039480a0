// A token: its own pixels enlarged (what an encoder gets to see), its outline in the colour of its LOD, or
// the frame under it where it was sampled anew.

#include "view_texels.glsl"

#define PIXELS 0
#define OUTLINE 1
#define ANEW 2

layout(binding = 2) uniform sampler2D atlas;  // patches of PATCH x PATCH, row by row
uniform vec4 field;
uniform vec4 grid;  // patches in a row of the atlas, its (width, height) in texels, pixels along one token side
uniform int drawn;

flat in vec4 token;
flat in vec4 paint;
in vec2 inside;
in vec2 point;
out vec4 colour;

void main() {
    if (drawn == PIXELS) {
        vec2 cell = vec2(mod(token.w, grid.x), floor(token.w / grid.x)) * grid.w;
        vec2 at = clamp(inside * grid.w, 0.5, grid.w - 0.5);
        colour = vec4(textureLod(atlas, (cell + at) / grid.yz, 0.0).rgb, 1.0);
        return;
    }
    if (drawn == ANEW && paint.w < 0.5)
        discard;
    // the line that falls on a pixel is the one that lies left of or above its centre, so that shared borders stay thin
    vec2 pixel = inside * token.z / field.xy * field.zw;
    vec2 side = token.z / field.xy * field.zw;
    bool outlined = any(lessThan(pixel, vec2(1.0))) || any(greaterThan(pixel + 0.5, side));
    if (drawn == OUTLINE) {
        if (!outlined)
            discard;
        colour = vec4(paint.rgb, 1.0);
    } else
        colour = vec4(outlined ? paint.rgb : frame_at(point), 1.0);
}
