// Words on a darkened ground: a picture with alpha, drawn texel by pixel.

layout(binding = 3) uniform sampler2D panel;

in vec2 place;
out vec4 colour;

void main() {
    colour = texelFetch(panel, ivec2(place * vec2(textureSize(panel, 0))), 0);
}
