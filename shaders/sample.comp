// Samples tokens: trilinear, at the level of detail that a token's side asks for.
//
// Grid: x = units of TEXVLM_UNIT consecutive output pixels (row by row through the patch),
//       y = rows asked for; one thread, one unit of every channel.
// Reads:  the token table, the frame size of each layer, which rows to write, and the texture.
// Writes: out[row][channel][y][x], packed without gaps; other rows stay as they are.
// Pixel (i, j) of a token samples (x + ((i + 0.5) / patch - 0.5) * side, y + ...), level-0 texels.
//
// Texels are fetched and mixed here, in 32-bit floats, rather than by the texture unit: units mix with
// 8-bit weights (an error of up to 1/256 of the local contrast), clamp to the storage instead of the
// frame's own texels, and round large coordinates. So every driver gives the same picture. A token
// batch is small; what this costs is below the cost of a launch on a GPU, and nothing on a CPU.
#include "token_record.glsl"

layout(local_size_x = 64) in;

layout(std430, binding = 0) readonly buffer Tokens { TokenRecord tokens[]; };
layout(std430, binding = 1) readonly buffer FrameSizes { ivec2 frame_sizes[]; };  // (width, height) of each layer
layout(std430, binding = 2) readonly buffer Rows { int rows[]; };
layout(binding = 0) uniform sampler2DArray texels;
uniform int last_level;
uniform int rows_start;  // of `rows`, the first that this dispatch does
uniform int first_row;  // of the table rows that `out` starts with
uniform uint out_start;  // elements of `pixels` before that row
uniform vec4 mean;
uniform vec4 inverse_std;

const int PATCH = TEXVLM_PATCH;
const uint PLANE = uint(PATCH * PATCH);

#if TEXVLM_OUT_BITS == 8
#define PIXELS uint
#elif TEXVLM_OUT_BITS == 16
#define PIXELS uvec2
#else
#define PIXELS vec4
#endif
#if TEXVLM_UNIT == 4
layout(std430, binding = 3) writeonly buffer Out { PIXELS pixels[]; };
#elif TEXVLM_OUT_BITS == 32
layout(std430, binding = 3) writeonly buffer Out { float pixels[]; };
#else
layout(std430, binding = 3) coherent buffer Out { uint pixels[]; };
#endif

float power_of_two(int exponent) {
    return uintBitsToFloat(uint(exponent + 127) << 23);
}

// Level and weight of the next one: floor and fraction of log2(side / patch). No division and no
// logarithm decides the level, so a side of exactly patch * 2**k gives level k and weight 0.
void split_lod(float side, out int level, out float weight) {
    level = 0;
    weight = 0.0;
    if (side <= float(PATCH)) return;
    int power = int(floatBitsToUint(side) >> 23) - int(floatBitsToUint(float(PATCH)) >> 23);
    if (side < float(PATCH) * power_of_two(power)) power--;
    if (power >= last_level) {
        level = last_level;
        return;
    }
    float whole = float(PATCH) * power_of_two(power);
    level = power;
    weight = side == whole ? 0.0 : log2(side / whole);
}

// One token on one level: what all its pixels share.
struct Grid {
    int level;
    ivec2 last;   // the frame's last texel of this level
    vec2 whole;   // the token's centre, texels of this level: whole part ...
    vec2 part;    // ... and fraction, kept apart so that it keeps its bits anywhere in the frame
    float step;   // half the texels from one pixel to the next
};

Grid grid_of(TokenRecord token, ivec2 frame_size, int level) {
    Grid grid;
    grid.level = level;
    grid.last = max((frame_size + (1 << level) - 1) >> level, 1) - 1;
    float scale = power_of_two(-level);
    vec2 centre = vec2(token.x, token.y) * scale;
    grid.whole = floor(centre);
    grid.part = centre - grid.whole;
    grid.step = token.side * scale / float(2 * PATCH);
    return grid;
}

vec4 bilinear(Grid grid, uint index, int layer) {
    ivec2 pixel = ivec2(index % uint(PATCH), index / uint(PATCH));
    vec2 place = grid.part + vec2(2 * pixel + 1 - PATCH) * grid.step - 0.5;
    vec2 low = floor(place);
    vec2 weight = place - low;
    // beyond the edge all texels are the same; whole numbers must not overflow
    ivec2 corner = ivec2(clamp(grid.whole + low, vec2(-1), vec2(grid.last)));
    ivec2 a = clamp(corner, ivec2(0), grid.last), b = clamp(corner + 1, ivec2(0), grid.last);
    vec4 top = mix(texelFetch(texels, ivec3(a.x, a.y, layer), grid.level),
                   texelFetch(texels, ivec3(b.x, a.y, layer), grid.level), weight.x);
    vec4 bottom = mix(texelFetch(texels, ivec3(a.x, b.y, layer), grid.level),
                      texelFetch(texels, ivec3(b.x, b.y, layer), grid.level), weight.x);
    return mix(top, bottom, weight.y);
}

// Four 16-bit floats in two words, each the nearest one, ties to even. In integers: packHalf2x16 may
// cut instead of rounding.
uvec2 packed_shorts(vec4 value) {
    uvec4 bits = floatBitsToUint(value);
#if TEXVLM_OUT_BFLOAT
    uvec4 shorts = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
    shorts = mix(shorts, uvec4(0x7fc0u), isnan(value));
#else
    uvec4 size = bits & 0x7fffffffu;
    uvec4 shorts = min(((size + 0xfffu + ((size >> 13) & 1u)) >> 13) - 0x1c000u, 0x7c00u);  // infinite from 65520
    // below the smallest normal one, 2^-14, bits count steps of 2^-24: of those is the last place of a sum with 0.5
    shorts = mix(shorts, floatBitsToUint(abs(value) + 0.5) - 0x3f000000u, lessThan(size, uvec4(0x38800000u)));
    shorts = mix(shorts, uvec4(0x7e00u), isnan(value)) | ((bits >> 16) & 0x8000u);
#endif
    return uvec2(shorts.x | (shorts.y << 16), shorts.z | (shorts.w << 16));
}

#if TEXVLM_UNIT == 4
PIXELS encoded(vec4 value) {
#if TEXVLM_OUT_BITS == 8
    uvec4 bytes = uvec4(floor(clamp(value, 0.0, 1.0) * 255.0 + 0.5));
    return bytes.x | (bytes.y << 8) | (bytes.z << 16) | (bytes.w << 24);
#elif TEXVLM_OUT_BITS == 16
    return packed_shorts(value);
#else
    return value;
#endif
}
#endif

void main() {
    uint unit = gl_GlobalInvocationID.x;
    if (unit * TEXVLM_UNIT >= PLANE) return;
    int row = rows[rows_start + int(gl_WorkGroupID.y)];
    TokenRecord token = tokens[row];
    uint plane = uint(row - first_row) * TEXVLM_CHANNELS;
    bool padding = token.layer == TEXVLM_PADDING_LAYER;
    if (padding) token = TokenRecord(0.0, 0.0, 1.0, 0, 0, 0.0);
    int level;
    float weight;
    split_lod(token.side, level, weight);
    ivec2 frame_size = frame_sizes[token.layer];
    Grid grid = grid_of(token, frame_size, level);
    vec4 values[TEXVLM_UNIT];
    for (uint pixel = 0u; pixel < TEXVLM_UNIT; pixel++) {
        values[pixel] = bilinear(grid, unit * TEXVLM_UNIT + pixel, token.layer);
    }
    // a loop of one round or none instead of `if`: software drivers run both sides of a branch
    for (int next = level + 1; next <= level + int(weight > 0.0); next++) {
        grid = grid_of(token, frame_size, next);
        for (uint pixel = 0u; pixel < TEXVLM_UNIT; pixel++) {
            values[pixel] = mix(values[pixel], bilinear(grid, unit * TEXVLM_UNIT + pixel, token.layer), weight);
        }
    }
#if TEXVLM_UNIT == 4
    mat4 channels = transpose(mat4(values[0], values[1], values[2], values[3]));
    for (uint channel = 0u; channel < TEXVLM_CHANNELS; channel++) {
        vec4 value = padding ? vec4(0) : (channels[channel] - mean[channel]) * inverse_std[channel];
        pixels[out_start + (plane + channel) * (PLANE / 4u) + unit] = encoded(value);
    }
#else
    // An odd patch: words hold pixels of several rows of the table, so single elements are written.
    vec4 value = padding ? vec4(0) : (values[0] - mean) * inverse_std;
    for (uint channel = 0u; channel < TEXVLM_CHANNELS; channel++) {
        uint element = out_start + (plane + channel) * PLANE + unit;
#if TEXVLM_OUT_BITS == 32
        pixels[element] = value[channel];
#else
        // each thread clears and sets only its own bits, so the order among threads does not matter
        const uint per_word = 32u / TEXVLM_OUT_BITS;
        uint shift = (element % per_word) * TEXVLM_OUT_BITS;
#if TEXVLM_OUT_BITS == 8
        uint bits = uint(floor(clamp(value[channel], 0.0, 1.0) * 255.0 + 0.5));
#else
        uint bits = packed_shorts(vec4(value[channel], vec3(0))).x;
#endif
        atomicAnd(pixels[element / per_word], ~(((1u << TEXVLM_OUT_BITS) - 1u) << shift));
        atomicOr(pixels[element / per_word], bits << shift);
#endif
    }
#endif
}
