// The frame as a viewer shows it: one level of one layer of the engine's own texture array.

layout(binding = 0) uniform sampler2DArray frames;
uniform vec4 extent;  // frame's (width, height), then the storage's, level-0 texels
uniform vec4 shown;   // half a texel of the level that is shown, layer, 1 for gray texels, level of the texture

// The frame at a point of it, 0..1 from the top-left; never a texel beyond its edge.
vec3 frame_at(vec2 point) {
    vec2 at = clamp(point * extent.xy, shown.xx, max(extent.xy - shown.x, shown.xx));
    vec4 texel = textureLod(frames, vec3(at / extent.zw, shown.y), shown.w);
    return shown.z > 0.5 ? texel.rrr : texel.rgb;
}
