// One row of the token table; mirrors TOKEN_RECORD in texvlm/layouts/table.py, field by field.
// Six 4-byte scalars: rows lie 24 bytes apart, and compare as six words.
#pragma once

struct TokenRecord {
    float x;      // centre, level-0 texels, origin = outer corner of texel (0, 0), y down
    float y;
    float side;   // level-0 texels
    int layer;    // texture-array index; -1 for a row that holds no token
    int region;
    float valid;  // fraction of the token's area inside the frame
};
static_assert(sizeof(TokenRecord) == 24, "TOKEN_RECORD is six 4-byte scalars");

#define TEXVLM_PADDING_LAYER (-1)

// Whether two rows are the same, bit for bit: NaN equals itself, 0 differs from -0.
__device__ __forceinline__ bool same_bits(const TokenRecord& a, const TokenRecord& b) {
    return __float_as_uint(a.x) == __float_as_uint(b.x) && __float_as_uint(a.y) == __float_as_uint(b.y)
        && __float_as_uint(a.side) == __float_as_uint(b.side) && a.layer == b.layer && a.region == b.region
        && __float_as_uint(a.valid) == __float_as_uint(b.valid);
}

// A row that only fills up the count; see pad_table.
__device__ __forceinline__ TokenRecord padding_row() {
    return TokenRecord{0.0f, 0.0f, 1.0f, TEXVLM_PADDING_LAYER, 0, 0.0f};
}

// A row from a centre and a side in double, as make_table finishes it. No product here is added to
// anything unless it is exact, so contraction into fused operations changes no bit.
__device__ __forceinline__ TokenRecord make_row(
    double x, double y, double side, int layer, int region, int width, int height
) {
    const double farthest = 1267650600228229401496703205376.0;  // 2^100: far beyond any frame, and floats hold it
    const double half = side * 0.5;
    const double across = fmax(fmin(x + half, (double)width) - fmax(x - half, 0.0), 0.0);
    const double down = fmax(fmin(y + half, (double)height) - fmax(y - half, 0.0), 0.0);
    const double share = across * down / (side * side);
    return TokenRecord{
        (float)fmin(fmax(x, -farthest), farthest),
        (float)fmin(fmax(y, -farthest), farthest),
        (float)side,
        layer,
        region,
        (float)fmin(fmax(share, 0.0), 1.0),
    };
}
