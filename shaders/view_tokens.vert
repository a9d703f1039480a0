// One instance a token, coarse ones first: finer ones are drawn over them. The viewport spans the frame.
// Four vertices fill the token's square; ten are a line of one pixel along its border.

#define PIXELS 0
#define OUTLINE 1
#define ANEW 2

layout(location = 0) in vec4 square;  // centre (x, y) and side, level-0 texels; its cell in the atlas
layout(location = 1) in vec4 ink;     // colour of its outline; in w, 1 where it was sampled anew

uniform vec4 field;     // frame's (width, height), texels, then the viewport's, pixels
uniform vec4 grid;      // patches in a row of the atlas, its (width, height) in texels, pixels along one token side
uniform int only_anew;  // 1 leaves out the tokens that were not sampled anew

flat out vec3 paint;
flat out vec2 cell;   // corner of its patch in the atlas, texels; its neighbours' texels lie before it
flat out float reach; // how many of the token's pixels a pixel of the viewport spans
out vec2 inside;     // 0..1 over the token from its top-left corner
out vec2 point;      // 0..1 over the frame

void main() {
    vec2 first = (square.xy - 0.5 * square.z) / field.xy * field.zw;
    vec2 last = (square.xy + 0.5 * square.z) / field.xy * field.zw;
    vec2 pixel;
#if DRAWN == OUTLINE
    {   // the right and bottom lines fall on the neighbour's first pixels, so that shared borders stay thin
        vec2 begin = floor(first), end = min(floor(last) + 1.0, field.zw);
        int corner = (gl_VertexID >> 1) & 3;
        vec2 to = vec2(corner == 1 || corner == 2, corner >= 2);
        pixel = mix(begin, end, to) + ((gl_VertexID & 1) == 1 ? 1.0 - 2.0 * to : vec2(0.0));
    }
#else
    pixel = mix(first, last, vec2(gl_VertexID & 1, gl_VertexID >> 1));
#endif
    point = pixel / field.zw;
    inside = (pixel - first) / (last - first);
    paint = ink.rgb;
    cell = vec2(mod(square.w, grid.x), floor(square.w / grid.x)) * (grid.w + 2.0) + 1.0;
    reach = grid.w / max(min(last.x - first.x, last.y - first.y), 1e-6);
    gl_Position = vec4(2.0 * point.x - 1.0, 1.0 - 2.0 * point.y, 0.0, 1.0);
    if (only_anew == 1 && ink.w < 0.5)
        gl_Position = vec4(-2.0, -2.0, 0.0, 1.0);  // all corners at one point: nothing is drawn
}
