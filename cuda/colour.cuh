// Codes of luma and chroma to 8-bit RGB, in the integers of `ColourCoefficients` in texvlm/yuv.py.
#pragma once

struct Colour {
    int base;  // half - gain * offset
    int gain, red_v, green_u, green_v, blue_u;
    int mid;
    int shift;
};

__device__ __forceinline__ unsigned byte_of(int value) {
    return static_cast<unsigned>(min(max(value, 0), 255));
}

// RGB with full alpha, a byte a channel, red lowest.
__device__ __forceinline__ unsigned rgb_of(const Colour& colour, int luma, int u, int v) {
    const int base = colour.base + colour.gain * luma;
    u -= colour.mid;
    v -= colour.mid;
    const unsigned red = byte_of((base + colour.red_v * v) >> colour.shift);
    const unsigned green = byte_of((base + colour.green_u * u + colour.green_v * v) >> colour.shift);
    const unsigned blue = byte_of((base + colour.blue_u * u) >> colour.shift);
    return red | (green << 8) | (blue << 16) | 0xff000000u;
}
