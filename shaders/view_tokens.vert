// One instanced square a token, coarse ones first: finer ones are drawn over them. The viewport spans the frame.

layout(location = 0) in vec4 square;  // centre (x, y) and side, level-0 texels; its cell in the atlas
layout(location = 1) in vec4 ink;     // colour of its outline; in w, 1 where it was sampled anew

uniform vec4 field;  // frame's (width, height), texels, then the viewport's, pixels

flat out vec4 token;
flat out vec4 paint;
out vec2 inside;    // 0..1 over the token from its top-left corner
out vec2 point;     // 0..1 over the frame

void main() {
    inside = vec2(gl_VertexID & 1, gl_VertexID >> 1);
    point = (square.xy + (inside - 0.5) * square.z) / field.xy;
    token = square;
    paint = ink;
    gl_Position = vec4(2.0 * point.x - 1.0, 1.0 - 2.0 * point.y, 0.0, 1.0);
}
