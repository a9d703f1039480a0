// The tiles that the host lists, TEXVLM_TILES to a workgroup: what columns.glsl is given by kernels
// whose work the host has found.
layout(std430, binding = 0) readonly buffer Tiles { ivec2 tiles[]; };  // (column, row)
uniform uint count;  // tiles in the list

void main() {
    uint index = gl_WorkGroupID.x * TEXVLM_TILES + gl_LocalInvocationID.y;
    bool live = index < count;
    build_columns(index, live ? tiles[index] : ivec2(0), live);
}
