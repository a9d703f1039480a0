// One output pixel of a token: what is read, and how it is mixed.
//
// TEXVLM_EXACT 1: texels are fetched one by one and mixed in 32-bit floats, like the other backends do.
// TEXVLM_EXACT 0: the texture unit mixes, with 8-bit weights: an error of up to 1/256 of the local
//                 contrast for each of the three axes, for an eighth of the fetches.
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
        mixed.channels[c] = a.channels[c] * (1.0f - weight) + b.channels[c] * weight;
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

    __device__ __forceinline__ float offset(int pixel) const {
        return part + (float)(2 * pixel + 1 - TEXVLM_PATCH) * step - 0.5f;
    }
    // All pixels fall on centres of texels: every weight is 0.
    __device__ __forceinline__ bool is_aligned() const {
        const float first = offset(0), spacing = 2.0f * step;
        return first == floorf(first) && spacing == floorf(spacing);
    }
};

// `texels` and `storage`: level-0 texels of the frame and of the memory that holds it, along this axis.
__device__ __forceinline__ Axis axis_of(float centre, float side, int texels, int storage, int level) {
    const float scale = power_of_two(-level);
    const float place = centre * scale, whole = floorf(place);
    const int last = max((texels + (1 << level) - 1) >> level, 1) - 1;
    // The unit clamps to the storage. Where the frame ends earlier, nothing may be read beyond its last
    // texel, not even with weight 0, for it may be NaN. 1/64 covers what the unit rounds.
    const bool fills = last + 1 >= storage >> level;
    return Axis{whole, place - whole, side * scale / (float)(2 * TEXVLM_PATCH), (float)last,
                fills ? (float)(last + 2) : (float)last - 0.015625f};
}

struct Grid {
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
    const float x = fminf(fmaxf(grid.x.whole + grid.x.offset(column), 0.0f), grid.x.last);
    const float y = fminf(fmaxf(grid.y.whole + grid.y.offset(line), 0.0f), grid.y.last);
    return read_texel(grid.surface, (int)x, (int)y, layer);
}

__device__ __forceinline__ Texel scaled(Texel texel, float factor) {
#pragma unroll
    for (int c = 0; c < TEXVLM_CHANNELS; c++) texel.channels[c] *= factor;
    return texel;
}

// The texture unit's filter over level 0 + LOD, in units of full scale.
__device__ __forceinline__ Texel fetch(unsigned long long texture, float u, float v, int layer, float lod) {
#if TEXVLM_STORED == 1
    return first_channels(tex2DLayeredLod<float>(texture, u, v, layer, lod));
#else
    return first_channels(tex2DLayeredLod<float4>(texture, u, v, layer, lod));
#endif
}
