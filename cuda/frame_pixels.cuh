// Pixels of a new frame as texels, wherever and however they lie. Mirrors texvlm/backends/cuda/frame_pixels.py.
//
// TEXVLM_SOURCE  SOURCE_BYTES, _FLOATS, _HALVES: interleaved or planar, of any strides;
//                SOURCE_NV12: 8-bit luma, and chroma for 2 x 2 pixels; SOURCE_P010: the same in the upper
//                10 bits of 16; SOURCE_TEXTURE: a texture object over one 2D array, texel coordinates;
//                SOURCE_TILES: only the tiles to be written, 16 x 16 texels each, packed, edges repeated.
//
// Pixels are numbered from the frame's top-left corner; those beyond its right and bottom edge repeat the
// edge. A lane asks for a group of 4 x 2 pixels, whose corner is a multiple of both.
#pragma once

#include "colour.cuh"
#include "columns.cuh"

#define SOURCE_BYTES 1
#define SOURCE_FLOATS 2
#define SOURCE_HALVES 3
#define SOURCE_NV12 4
#define SOURCE_P010 5
#define SOURCE_TEXTURE 6
#define SOURCE_TILES 7

#define READS_BYTES (TEXVLM_SOURCE == SOURCE_BYTES || (TEXVLM_SOURCE == SOURCE_TILES && !TEXVLM_FLOAT))
#define READS_FLOATS (TEXVLM_SOURCE == SOURCE_FLOATS || (TEXVLM_SOURCE == SOURCE_TILES && TEXVLM_FLOAT))

struct FrameFields {
    unsigned long long base;            // address of the first pixel, or of its luma; or the texture object
    unsigned long long chroma;          // address of the first U; of TILES: each tile's slot, int, (rows, columns)
    long long row, column, channel;     // bytes from one to the next; may be negative; of TILES: within a slot;
                                        // of TEXTURE: row and column are the picture's lowest texel
    long long chroma_row, chroma_column, chroma_channel;
    int width, height;
    int access;                         // whether groups can be read as words: TEXVLM_ACCESS_*
    int flipped;                        // whether the lowest row in the texture is the frame's last
    Colour colour;
};

typedef Texel Group[GROUP_HEIGHT][GROUP_WIDTH];

#if READS_BYTES

__device__ __forceinline__ unsigned word_at(const unsigned char* place) {
    return *reinterpret_cast<const unsigned*>(place);
}

// Four pixels from `column` on that lie side by side, channel after channel: aligned words.
__device__ __forceinline__ void read_packed(const unsigned char* line, int column, Texel (&texels)[GROUP_WIDTH]) {
    const unsigned char* place = line + column * TEXVLM_CHANNELS;
#if TEXVLM_CHANNELS == 1
    const unsigned gray = word_at(place);
#pragma unroll
    for (int i = 0; i < GROUP_WIDTH; i++) texels[i] = (gray >> (8 * i)) & 255u;
#elif TEXVLM_CHANNELS == 3
    const unsigned first = word_at(place), second = word_at(place + 4), third = word_at(place + 8);
    texels[0] = first | 0xff000000u;
    texels[1] = (first >> 24) | (second << 8) | 0xff000000u;
    texels[2] = (second >> 16) | (third << 16) | 0xff000000u;
    texels[3] = (third >> 8) | 0xff000000u;
#else
#pragma unroll
    for (int i = 0; i < GROUP_WIDTH; i++) texels[i] = word_at(place + 4 * i);
#endif
}

// The same from one plane a channel.
__device__ __forceinline__ void read_planar(
    const unsigned char* line, long long channel, int column, Texel (&texels)[GROUP_WIDTH]) {
#pragma unroll
    for (int i = 0; i < GROUP_WIDTH; i++) texels[i] = TEXVLM_CHANNELS == 3 ? 0xff000000u : 0u;
#pragma unroll
    for (int c = 0; c < TEXVLM_CHANNELS; c++) {
        const unsigned plane = word_at(line + c * channel + column);
#pragma unroll
        for (int i = 0; i < GROUP_WIDTH; i++) texels[i] |= ((plane >> (8 * i)) & 255u) << (8 * c);
    }
}

__device__ __forceinline__ Texel read_pixel(const FrameFields& frame, const unsigned char* line, int column) {
    const unsigned char* place = line + column * frame.column;
    Texel texel = TEXVLM_CHANNELS == 3 ? 0xff000000u : 0u;
#pragma unroll
    for (int c = 0; c < TEXVLM_CHANNELS; c++) texel |= static_cast<unsigned>(place[c * frame.channel]) << (8 * c);
    return texel;
}

#elif READS_FLOATS || TEXVLM_SOURCE == SOURCE_HALVES

#if READS_FLOATS
__device__ __forceinline__ float float_at(const unsigned char* place) {
    return *reinterpret_cast<const float*>(place);
}
#else
// A half float's value, exactly: its exponent is rebased by a multiplication, which also scales denormals.
__device__ __forceinline__ float float_at(const unsigned char* place) {
    const unsigned half = *reinterpret_cast<const unsigned short*>(place);
    const unsigned size = (half & 0x7fffu) << 13;
    const bool finite = (half & 0x7c00u) != 0x7c00u;
    const float scaled = __uint_as_float(size) * __uint_as_float((127u + 112u) << 23);
    return __uint_as_float(((half & 0x8000u) << 16) | (finite ? __float_as_uint(scaled) : size | 0x7f800000u));
}
#endif

__device__ __forceinline__ Texel read_pixel(const FrameFields& frame, const unsigned char* line, int column) {
    const unsigned char* place = line + column * frame.column;
    Texel texel;
#pragma unroll
    for (int c = 0; c < TEXVLM_STORED; c++)
        texel.channel[c] = c < TEXVLM_CHANNELS ? float_at(place + c * frame.channel) : 1.0f;
    return texel;
}

#elif TEXVLM_SOURCE == SOURCE_NV12 || TEXVLM_SOURCE == SOURCE_P010

#if TEXVLM_SOURCE == SOURCE_NV12
typedef unsigned char Sample;
const int UNUSED_BITS = 0;
#else
typedef unsigned short Sample;
const int UNUSED_BITS = 6;
#endif

__device__ __forceinline__ int code_at(const unsigned char* place) {
    return *reinterpret_cast<const Sample*>(place) >> UNUSED_BITS;
}

// Four codes that lie side by side: aligned words.
__device__ __forceinline__ void read_codes(const unsigned char* place, int (&codes)[GROUP_WIDTH]) {
    const unsigned* words = reinterpret_cast<const unsigned*>(place);
#pragma unroll
    for (int i = 0; i < GROUP_WIDTH; i++) {
        const int bit = 8 * static_cast<int>(sizeof(Sample)) * i;
        const unsigned code = words[bit / 32] >> (bit % 32);
        codes[i] = static_cast<int>(static_cast<Sample>(code)) >> UNUSED_BITS;
    }
}

#elif TEXVLM_SOURCE == SOURCE_TEXTURE

__device__ __forceinline__ Texel read_pixel(const FrameFields& frame, int column, int row) {
    const int source_row = frame.flipped ? frame.height - 1 - row : row;
    const float4 value = tex2D<float4>(
        frame.base, static_cast<int>(frame.column) + column + 0.5f, static_cast<int>(frame.row) + source_row + 0.5f);
    const float channels[4] = {value.x, value.y, value.z, TEXVLM_CHANNELS == 3 ? 1.0f : value.w};
#if TEXVLM_FLOAT
    return Texel{{channels[0], channels[1], channels[2], channels[3]}};
#else
    Texel texel = 0;  // rounded half up; NaN becomes 0
#pragma unroll
    for (int c = 0; c < 4; c++) {
        const float share = fminf(fmaxf(channels[c], 0.0f), 1.0f);
        texel |= static_cast<unsigned>(share * 255.0f + 0.5f) << (8 * c);
    }
    return texel;
#endif
}

#else
#error "TEXVLM_SOURCE is none of the SOURCE_* of frame_pixels.cuh"
#endif

// The pixels of the group whose corner is (x, y), which lies at or before the tile's end, maybe beyond the frame's.
__device__ __forceinline__ void read_group(const FrameFields& frame, int x, int y, Group& group) {
#if TEXVLM_SOURCE == SOURCE_NV12 || TEXVLM_SOURCE == SOURCE_P010
    const bool words = frame.access == TEXVLM_ACCESS_PACKED && x + GROUP_WIDTH <= frame.width;
    const unsigned char* luma = reinterpret_cast<const unsigned char*>(frame.base);
    const unsigned char* chroma = reinterpret_cast<const unsigned char*>(frame.chroma);
    // both rows of a group share their chroma; below the frame they share the last row's
    chroma += (min(y, frame.height - 1) >> 1) * frame.chroma_row;
    int codes[GROUP_WIDTH];  // U V U V, of the group's two columns of blocks
    if (words) {
        read_codes(chroma + x * static_cast<int>(sizeof(Sample)), codes);
    } else {
#pragma unroll
        for (int i = 0; i < GROUP_WIDTH; i++) {
            const int block = min(x + (i & 2), frame.width - 1) >> 1;
            codes[i] = code_at(chroma + block * frame.chroma_column + (i & 1) * frame.chroma_channel);
        }
    }
#pragma unroll
    for (int j = 0; j < GROUP_HEIGHT; j++) {
        const unsigned char* line = luma + min(y + j, frame.height - 1) * frame.row;
        int luma_codes[GROUP_WIDTH];
        if (words) {
            read_codes(line + x * static_cast<int>(sizeof(Sample)), luma_codes);
        } else {
#pragma unroll
            for (int i = 0; i < GROUP_WIDTH; i++)
                luma_codes[i] = code_at(line + min(x + i, frame.width - 1) * frame.column);
        }
#pragma unroll
        for (int i = 0; i < GROUP_WIDTH; i++)
            group[j][i] = rgb_of(frame.colour, luma_codes[i], codes[i & 2], codes[(i & 2) + 1]);
    }
#elif TEXVLM_SOURCE == SOURCE_TILES
    const int columns = (frame.width + CELLS - 1) / CELLS;
    const int slot = reinterpret_cast<const int*>(frame.chroma)[y / CELLS * columns + x / CELLS];
    const unsigned char* first = reinterpret_cast<const unsigned char*>(frame.base) + slot * (CELLS * frame.row);
#pragma unroll
    for (int j = 0; j < GROUP_HEIGHT; j++) {
        const unsigned char* line = first + (y % CELLS + j) * frame.row;
#if READS_BYTES
        read_packed(line, x % CELLS, group[j]);
#else
#pragma unroll
        for (int i = 0; i < GROUP_WIDTH; i++) group[j][i] = read_pixel(frame, line, x % CELLS + i);
#endif
    }
#else
#pragma unroll
    for (int j = 0; j < GROUP_HEIGHT; j++) {
        const int row = min(y + j, frame.height - 1);
#if TEXVLM_SOURCE != SOURCE_TEXTURE
        const unsigned char* line = reinterpret_cast<const unsigned char*>(frame.base) + row * frame.row;
#endif
#if TEXVLM_SOURCE == SOURCE_BYTES
        if (frame.access != TEXVLM_ACCESS_STRIDED && x + GROUP_WIDTH <= frame.width) {
            if (frame.access == TEXVLM_ACCESS_PACKED)
                read_packed(line, x, group[j]);
            else
                read_planar(line, frame.channel, x, group[j]);
            continue;
        }
#endif
#pragma unroll
        for (int i = 0; i < GROUP_WIDTH; i++) {
            const int column = min(x + i, frame.width - 1);
#if TEXVLM_SOURCE == SOURCE_TEXTURE
            group[j][i] = read_pixel(frame, column, row);
#else
            group[j][i] = read_pixel(frame, line, column);
#endif
        }
    }
#endif
}
