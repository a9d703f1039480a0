// One output pixel of a token: what is read, and how it is mixed.
//
// TEXVLM_EXACT 1: texels are fetched one by one and mixed in 32-bit floats, like the other backends do.
// TEXVLM_EXACT 0: the texture unit mixes the four texels of a level, with 8-bit weights: an error of up
//                 to 1/512 of the local contrast for each axis, for a quarter of the fetches. Levels
//                 are mixed here: one trilinear fetch would take the unit as long as two bilinear
//                 ones, and add the error of an 8-bit weight between them.
// TEXVLM_FLOAT, TEXVLM_STORED: texels are floats or bytes, of 1 or 4 channels.
// TEXVLM_CHANNELS: channels wanted, 1, 3 or 4.
// TEXVLM_PATCH: output pixels along one token side.
#pragma once
#include "lod.cuh"

#if TEXVLM_FLOAT
#define TEXVLM_UNIT_TEXEL 1.0f
#define TEXVLM_TEXEL_BYTES (4 * TEXVLM_STORED)
#else
#define TEXVLM_UNIT_TEXEL (1.0f / 255.0f)
#define TEXVLM_TEXEL_BYTES TEXVLM_STORED
#endif

struct Texel {
    float channels[TEXVLM_CHANNELS];
};

__device__ __forceinline__ Texel mix(const Texel& a, const Texel& b, float weight) {
    Texel mixed;
#pragma unroll
    for (int c = 0; c < TEXVLM_CHANNELS; c++) {
        mixed.channels[c] = fmaf(b.channels[c], weight, fmaf(-a.channels[c], weight, a.channels[c]));
    }
    return mixed;
}

template <typename Stored>
__device__ __forceinline__ Texel first_channels(const Stored& stored) {
    Texel texel;
#if TEXVLM_STORED == 1
    texel.channels[0] = (float)stored;
#else
    texel.channels[0] = (float)stored.x;
#if TEXVLM_CHANNELS > 1
    texel.channels[1] = (float)stored.y;
    texel.channels[2] = (float)stored.z;
#endif
#if TEXVLM_CHANNELS > 3
    texel.channels[3] = (float)stored.w;
#endif
#endif
    return texel;
}

// One stored texel, in stored values: no filter, no rounding.
__device__ __forceinline__ Texel read_texel(unsigned long long surface, int x, int y, int layer) {
#if TEXVLM_FLOAT && TEXVLM_STORED == 1
    typedef float Stored;
#elif TEXVLM_FLOAT
    typedef float4 Stored;
#elif TEXVLM_STORED == 1
    typedef unsigned char Stored;
#else
    typedef uchar4 Stored;
#endif
    return first_channels(
        surf2DLayeredread<Stored>(surface, x * TEXVLM_TEXEL_BYTES, y, layer, cudaBoundaryModeZero)
    );
}

// One axis of a token on one level: what all its pixels share.
struct Axis {
    float whole;  // the token's centre, texels of this level: whole part ...
    float part;   // ... and fraction, kept apart so that it keeps its bits anywhere in the frame
    float step;   // half the texels from one pixel to the next
    float last;   // the frame's last texel of this level
    float inner;  // the last position at which the texture unit reads nothing beyond it; see `axis_of`
    float storage;  // texels of this level in memory ...
    float inverse;  // ... and one divided by that

    __device__ __forceinline__ float offset(int pixel) const {
        return part + (float)(2 * pixel + 1 - TEXVLM_PATCH) * step - 0.5f;
    }
    // A pixel's position in texels, centre of the first at 0.
    __device__ __forceinline__ float place(int pixel) const {
        return whole + offset(pixel);
    }
    // The same as the texture unit takes it: the storage spans 0..1. Rounded to the unit's own finest
    // step, and a quarter of that to the right, so that it mixes the nearest weights whether it rounds
    // or cuts, and a position on a texel's centre stays there: no texel beyond the token's footprint is
    // mixed in. On the left, the unit's own clamp is the frame's; -1 reads the same, and cannot overflow.
    __device__ __forceinline__ float coordinate(int pixel) const {
        const float snapped = whole + rintf(offset(pixel) * 256.0f) * (1.0f / 256.0f);
        const float from_edge = fmaxf(snapped, -1.0f) + (0.5f + 1.0f / 1024.0f);
        const float quotient = from_edge * inverse;
        return quotient + fmaf(-quotient, storage, from_edge) * inverse;  // a division's rounding: 16k texels need it
    }
    // All pixels fall on centres of texels: every weight is 0.
    __device__ __forceinline__ bool is_aligned() const {
        const float first = offset(0), spacing = 2.0f * step;
        return first == floorf(first) && spacing == floorf(spacing);
    }
};

// `texels`, `storage`: level-0 texels of the frame and of the memory that holds it, along this axis.
// `inverse`: 1 / storage.
__device__ __forceinline__ Axis axis_of(
    float centre, float side, int texels, int storage, float inverse, int level
) {
    const float scale = power_of_two(-level);
    const float place = centre * scale, whole = floorf(place);
    const int last = max((texels + (1 << level) - 1) >> level, 1) - 1;
    // The unit clamps to the storage. Where the frame ends earlier, nothing may be read beyond its last
    // texel, not even with weight 0, for it may be NaN. 1/64 covers what the unit rounds.
    const bool fills = last + 1 >= storage >> level;
    return Axis{whole, place - whole, side * scale / (float)(2 * TEXVLM_PATCH), (float)last,
                fills ? (float)(last + 2) : (float)last - 0.015625f,
                (float)(storage >> level), inverse * power_of_two(level)};
}

struct Grid {
    int level;
    unsigned long long surface;
    Axis x, y;
};

// Bilinear, in stored values, clamped to the frame's own texels of this level.
__device__ __forceinline__ Texel bilinear(const Grid& grid, int column, int line, int layer) {
    const float x = grid.x.offset(column), y = grid.y.offset(line);
    const float low_x = floorf(x), low_y = floorf(y);
    // beyond the edge all texels are the same; whole numbers must not overflow
    const int corner_x = (int)fminf(fmaxf(grid.x.whole + low_x, -1.0f), grid.x.last);
    const int corner_y = (int)fminf(fmaxf(grid.y.whole + low_y, -1.0f), grid.y.last);
    const int left = max(corner_x, 0), right = min(corner_x + 1, (int)grid.x.last);
    const int top = max(corner_y, 0), bottom = min(corner_y + 1, (int)grid.y.last);
    const Texel upper = mix(read_texel(grid.surface, left, top, layer),
                            read_texel(grid.surface, right, top, layer), x - low_x);
    const Texel lower = mix(read_texel(grid.surface, left, bottom, layer),
                            read_texel(grid.surface, right, bottom, layer), x - low_x);
    return mix(upper, lower, y - low_y);
}

// The texel under a pixel of an aligned token, in stored values.
__device__ __forceinline__ Texel nearest(const Grid& grid, int column, int line, int layer) {
    const float x = fminf(fmaxf(grid.x.place(column), 0.0f), grid.x.last);
    const float y = fminf(fmaxf(grid.y.place(line), 0.0f), grid.y.last);
    return read_texel(grid.surface, (int)x, (int)y, layer);
}

__device__ __forceinline__ Texel scaled(Texel texel, float factor) {
#pragma unroll
    for (int c = 0; c < TEXVLM_CHANNELS; c++) texel.channels[c] *= factor;
    return texel;
}

// Bilinear by the texture unit, in units of full scale, where it reads no texel beyond the frame's last.
__device__ __forceinline__ Texel fetch(
    unsigned long long texture, const Grid& grid, int column, int line, int layer
) {
    const float u = grid.x.coordinate(column), v = grid.y.coordinate(line), lod = (float)grid.level;
#if TEXVLM_STORED == 1
    return first_channels(tex2DLayeredLod<float>(texture, u, v, layer, lod));
#else
    return first_channels(tex2DLayeredLod<float4>(texture, u, v, layer, lod));
#endif
}

__device__ __forceinline__ bool is_inner(const Grid& grid, int column, int line) {
    return grid.x.place(column) <= grid.x.inner && grid.y.place(line) <= grid.y.inner;
}
