// A rectangle of the viewport, as a strip of four vertices. `place` runs 0..1 over it from its top-left corner.

uniform vec4 box;  // left, top, right, bottom as shares of the viewport, from its top-left corner

out vec2 place;

void main() {
    place = vec2(gl_VertexID & 1, gl_VertexID >> 1);
    vec2 at = mix(box.xy, box.zw, place);
    gl_Position = vec4(2.0 * at.x - 1.0, 1.0 - 2.0 * at.y, 0.0, 1.0);
}
