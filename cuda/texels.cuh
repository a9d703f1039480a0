// Texels of a surface in registers, and sums of them that are rounded only where a texel is written.
//
// TEXVLM_FLOAT     0: 8-bit texels, 1: float texels, stored as they come.
// TEXVLM_STORED    channels of a stored texel, 1 or 4.
// TEXVLM_CHANNELS  channels of a frame, 1, 3 or 4; three are stored with a full fourth one.
// SUM_BITS         16 or 32, defined by the kernel: bits of a sum of bytes. 256 texels fit 16.
//
// Surface accesses are plain bytes, x counts them, and their size is that of the type asked for ("Surface
// Functions" of the programming guide; suld.b, sust.b in the PTX ISA). So four texels that lie side by side are
// one access: a warp then reads and writes whole sectors, where single texels would touch each one four times.
#pragma once

typedef unsigned long long Surface;

const unsigned FULL_WARP = 0xffffffffu;

#if TEXVLM_FLOAT

struct Texel {
    float channel[TEXVLM_STORED];
};

__device__ __forceinline__ Texel read_texel(Surface surface, int x, int y, int layer) {
#if TEXVLM_STORED == 4
    const float4 value = surf2DLayeredread<float4>(surface, x * 16, y, layer, cudaBoundaryModeZero);
    return Texel{{value.x, value.y, value.z, value.w}};
#else
    return Texel{{surf2DLayeredread<float>(surface, x * 4, y, layer, cudaBoundaryModeZero)}};
#endif
}

__device__ __forceinline__ void write_texel(Surface surface, int x, int y, int layer, Texel texel) {
#if TEXVLM_STORED == 4
    const float4 value = make_float4(texel.channel[0], texel.channel[1], texel.channel[2], texel.channel[3]);
    surf2DLayeredwrite(value, surface, x * 16, y, layer, cudaBoundaryModeZero);
#else
    surf2DLayeredwrite(texel.channel[0], surface, x * 4, y, layer, cudaBoundaryModeZero);
#endif
}

// Four texels from x on, a multiple of 4.
__device__ __forceinline__ void read_row(Surface surface, int x, int y, int layer, Texel (&row)[4]) {
#if TEXVLM_STORED == 4
#pragma unroll
    for (int i = 0; i < 4; i++) row[i] = read_texel(surface, x + i, y, layer);
#else
    const float4 values = surf2DLayeredread<float4>(surface, x * 4, y, layer, cudaBoundaryModeZero);
    row[0] = Texel{{values.x}};
    row[1] = Texel{{values.y}};
    row[2] = Texel{{values.z}};
    row[3] = Texel{{values.w}};
#endif
}

__device__ __forceinline__ void write_row(Surface surface, int x, int y, int layer, const Texel (&row)[4]) {
#if TEXVLM_STORED == 4
#pragma unroll
    for (int i = 0; i < 4; i++) write_texel(surface, x + i, y, layer, row[i]);
#else
    const float4 values = make_float4(row[0].channel[0], row[1].channel[0], row[2].channel[0], row[3].channel[0]);
    surf2DLayeredwrite(values, surface, x * 4, y, layer, cudaBoundaryModeZero);
#endif
}

// Two texels from x on, a multiple of 2.
__device__ __forceinline__ void write_pair(Surface surface, int x, int y, int layer, Texel left, Texel right) {
#if TEXVLM_STORED == 4
    write_texel(surface, x, y, layer, left);
    write_texel(surface, x + 1, y, layer, right);
#else
    const uint2 values = make_uint2(__float_as_uint(left.channel[0]), __float_as_uint(right.channel[0]));
    surf2DLayeredwrite(values, surface, x * 4, y, layer, cudaBoundaryModeZero);
#endif
}

// Whether a channel differs by more than `limit`. NaN on either side is a difference; two equal infinities,
// whose difference is NaN, are none.
__device__ __forceinline__ bool differs(const Texel& a, const Texel& b, float limit) {
    bool found = false;
#pragma unroll
    for (int c = 0; c < TEXVLM_CHANNELS; c++) {
        const float difference = a.channel[c] - b.channel[c];
        const float size = difference < 0.0f ? -difference : difference;
        found |= !(size <= limit || a.channel[c] == b.channel[c]);
    }
    return found;
}

#else

typedef unsigned Texel;  // a byte a channel, the first one lowest

__device__ __forceinline__ Texel read_texel(Surface surface, int x, int y, int layer) {
#if TEXVLM_STORED == 4
    return surf2DLayeredread<unsigned>(surface, x * 4, y, layer, cudaBoundaryModeZero);
#else
    return surf2DLayeredread<unsigned char>(surface, x, y, layer, cudaBoundaryModeZero);
#endif
}

__device__ __forceinline__ void write_texel(Surface surface, int x, int y, int layer, Texel texel) {
#if TEXVLM_STORED == 4
    surf2DLayeredwrite(texel, surface, x * 4, y, layer, cudaBoundaryModeZero);
#else
    surf2DLayeredwrite(static_cast<unsigned char>(texel), surface, x, y, layer, cudaBoundaryModeZero);
#endif
}

// Four texels from x on, a multiple of 4.
__device__ __forceinline__ void read_row(Surface surface, int x, int y, int layer, Texel (&row)[4]) {
#if TEXVLM_STORED == 4
    const uint4 words = surf2DLayeredread<uint4>(surface, x * 4, y, layer, cudaBoundaryModeZero);
    row[0] = words.x;
    row[1] = words.y;
    row[2] = words.z;
    row[3] = words.w;
#else
    const unsigned word = surf2DLayeredread<unsigned>(surface, x, y, layer, cudaBoundaryModeZero);
#pragma unroll
    for (int i = 0; i < 4; i++) row[i] = (word >> (8 * i)) & 255u;
#endif
}

__device__ __forceinline__ void write_row(Surface surface, int x, int y, int layer, const Texel (&row)[4]) {
#if TEXVLM_STORED == 4
    surf2DLayeredwrite(make_uint4(row[0], row[1], row[2], row[3]), surface, x * 4, y, layer, cudaBoundaryModeZero);
#else
    const unsigned word = row[0] | (row[1] << 8) | (row[2] << 16) | (row[3] << 24);
    surf2DLayeredwrite(word, surface, x, y, layer, cudaBoundaryModeZero);
#endif
}

// Two texels from x on, a multiple of 2.
__device__ __forceinline__ void write_pair(Surface surface, int x, int y, int layer, Texel left, Texel right) {
#if TEXVLM_STORED == 4
    surf2DLayeredwrite(make_uint2(left, right), surface, x * 4, y, layer, cudaBoundaryModeZero);
#else
    const unsigned short pair = static_cast<unsigned short>(left | (right << 8));
    surf2DLayeredwrite(pair, surface, x, y, layer, cudaBoundaryModeZero);
#endif
}

const unsigned PAIR = 0x00ff00ffu;  // two channels with room for 16 bits each

// Whether a channel differs by more than `limit`, 0..255, a whole number.
__device__ __forceinline__ bool differs(Texel a, Texel b, float limit) {
    const unsigned distance = __vabsdiffu4(a, b);
    const unsigned carry = (255u - static_cast<unsigned>(limit)) * 0x00010001u;  // makes a byte above it reach bit 8
    return ((((distance & PAIR) + carry) | (((distance >> 8) & PAIR) + carry)) & 0x01000100u) != 0;
}

#endif

// ------------------------------------------------------------------ sums

#if !TEXVLM_FLOAT && TEXVLM_STORED == 4 && SUM_BITS == 16

// Channels 0 and 2 in one word, 1 and 3 in the other: a tile's sum and its rounding fit 16 bits
// (256 * 255 + 128), so four channels cost two additions.
struct Sum {
    unsigned word[2];
};

__device__ __forceinline__ Sum sum_of(Texel texel) { return Sum{{texel & PAIR, (texel >> 8) & PAIR}}; }

// Mean of 2^shift texels, rounded half up.
__device__ __forceinline__ Texel mean(const Sum& sum, int shift) {
    const unsigned half = 0x00010001u << (shift - 1);
    return (((sum.word[0] + half) >> shift) & PAIR) | ((((sum.word[1] + half) >> shift) & PAIR) << 8);
}

#elif !TEXVLM_FLOAT

struct Sum {
    unsigned word[TEXVLM_STORED];
};

__device__ __forceinline__ Sum sum_of(Texel texel) {
#if TEXVLM_STORED == 4
    return Sum{{texel & 255u, (texel >> 8) & 255u, (texel >> 16) & 255u, texel >> 24}};
#else
    return Sum{{texel}};
#endif
}

__device__ __forceinline__ Texel mean(const Sum& sum, int shift) {
    Texel texel = 0;
#pragma unroll
    for (int c = 0; c < TEXVLM_STORED; c++) texel |= ((sum.word[c] + (1u << (shift - 1))) >> shift) << (8 * c);
    return texel;
}

#else

struct Sum {
    float word[TEXVLM_STORED];
};

__device__ __forceinline__ Sum sum_of(const Texel& texel) {
    Sum sum;
#pragma unroll
    for (int c = 0; c < TEXVLM_STORED; c++) sum.word[c] = texel.channel[c];
    return sum;
}

__device__ __forceinline__ Texel mean(const Sum& sum, int shift) {
    const float share = __uint_as_float(static_cast<unsigned>(127 - shift) << 23);  // 2^-shift
    Texel texel;
#pragma unroll
    for (int c = 0; c < TEXVLM_STORED; c++) texel.channel[c] = sum.word[c] * share;
    return texel;
}

#endif

const int SUM_WORDS = sizeof(Sum) / 4;

__device__ __forceinline__ Sum operator+(const Sum& a, const Sum& b) {
    Sum sum;
#pragma unroll
    for (int i = 0; i < SUM_WORDS; i++) sum.word[i] = a.word[i] + b.word[i];
    return sum;
}

// The sum with that of the lane whose number differs in the bits of `mask`: both lanes get the same bits.
__device__ __forceinline__ Sum with_lane(const Sum& own, int mask) {
    Sum sum;
#pragma unroll
    for (int i = 0; i < SUM_WORDS; i++) sum.word[i] = own.word[i] + __shfl_xor_sync(FULL_WARP, own.word[i], mask);
    return sum;
}
