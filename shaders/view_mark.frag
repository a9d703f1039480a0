// A ring and a dot at a fixation, white with a dark halo, so that they show on everything.

uniform vec4 ring;  // radius of the ring and half the box's side, pixels; two unused

in vec2 place;
out vec4 colour;

void main() {
    float distance = length((place - 0.5) * 2.0 * ring.y);
    float band = min(abs(distance - ring.x), distance);
    float halo = clamp(3.5 - band, 0.0, 1.0), ink = clamp(2.0 - band, 0.0, 1.0);
    if (halo <= 0.0)
        discard;
    colour = vec4(vec3(ink), halo);
}
