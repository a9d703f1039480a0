// Samples tokens: trilinear, at the level of detail that a token's side asks for.
//
// Grid: x = rows asked for; a block takes one row, its threads units of TEXVLM_UNIT consecutive output
//       pixels (row by row through the patch), every channel.
// Reads:  the token table, which rows to do, the frame size of each layer, and the texture.
// Writes: out[row][channel][y][x]; other rows stay as they are. With kept state, a row is sampled only
//       if it lies elsewhere than when it was sampled last, or reads a tile that was updated since;
//       then the state is brought up to date and dirty[row] says so.
// Pixel (i, j) of a token samples (x + ((i + 0.5) / patch - 0.5) * side, y + ...), level-0 texels.
//
// Everything that decides lies on the device, so a captured graph can be replayed for the next frame.
// The result is written by integer arithmetic of our own for 16-bit floats: no header is needed.
//
// TEXVLM_EXACT, TEXVLM_FLOAT, TEXVLM_STORED, TEXVLM_CHANNELS, TEXVLM_PATCH: see filter.cuh.
// TEXVLM_OUT: element type of `out`: 8 (bytes, rounded k/255), 16 (IEEE half), 17 (bfloat16) or 32.
// TEXVLM_UNIT: pixels that one thread writes at once; divides TEXVLM_PATCH.
// TEXVLM_THREADS: threads of a block.
#include "filter.cuh"
#include "footprint.cuh"
#include "token_record.cuh"

#define TEXVLM_MAX_LEVELS 15

struct SampleArguments {
    unsigned long long surfaces[TEXVLM_MAX_LEVELS];  // of each level
    unsigned long long texture;
    const TokenRecord* table;
    const int* rows;           // which rows of the table; null: all of the grid
    void* out;                 // (rows of the table, channels, patch, patch)
    const int2* frame_sizes;   // (width, height) of each layer
    TokenRecord* kept;         // rows as they were sampled last; null: every row asked for is sampled
    long long* sampled_at;     // clock of its layer up to which each row is right
    const long long* versions; // clock of each tile's last update, (layers, tile_rows, tile_columns)
    const long long* clock;    // updates of each layer so far
    unsigned char* dirty;      // written: 1 for a row that was sampled and is no padding, else 0
    unsigned long long* totals;  // work counts; 3: tokens sampled, 4: tokens reused
    float scale[4];            // out = value * scale + bias, value in units of full scale
    float bias[4];
    float inverse_width, inverse_height;  // 1 / the level-0 storage's
    int storage_width, storage_height;
    int layers, last_level;
    int tile_columns, tile_rows;
};
static_assert(sizeof(SampleArguments) == TEXVLM_ARGUMENT_BYTES, "differs from ARGUMENTS in sampler.py");

#if TEXVLM_OUT == 8
typedef unsigned char Element;
#elif TEXVLM_OUT == 32
typedef float Element;
#else
typedef unsigned short Element;
#endif

struct alignas(TEXVLM_UNIT * sizeof(Element)) Packet {
    Element pixels[TEXVLM_UNIT];
};

// Nearest element; ties to even for 16-bit floats, half up for bytes.
__device__ __forceinline__ Element encoded(float value) {
#if TEXVLM_OUT == 8
    return (Element)floorf(fminf(fmaxf(value, 0.0f), 1.0f) * 255.0f + 0.5f);
#elif TEXVLM_OUT == 32
    return value;
#else
    const unsigned int bits = __float_as_uint(value), sign = (bits >> 16) & 0x8000u, magnitude = bits & 0x7fffffffu;
#if TEXVLM_OUT == 17
    if (magnitude > 0x7f800000u) return (Element)(sign | 0x7fc0u);  // NaN
    return (Element)((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
#else
    if (magnitude > 0x7f800000u) return (Element)(sign | 0x7e00u);   // NaN
    if (magnitude >= 0x47800000u) return (Element)(sign | 0x7c00u);  // 65536 and more: infinite
    if (magnitude < 0x38800000u) {
        // below the least normal half: next to 0.5 a float's last place is a half's, so the sum rounds
        const float aligned = __uint_as_float(magnitude) + 0.5f;
        return (Element)(sign | (__float_as_uint(aligned) - 0x3f000000u));
    }
    return (Element)(sign | ((magnitude - 0x38000000u + 0xfffu + ((magnitude >> 13) & 1u)) >> 13));
#endif
#endif
}

// Whether the row must be sampled; with kept state, also brings that up to date. The whole block calls it.
__device__ __forceinline__ bool claim(const SampleArguments& a, int row, const TokenRecord& token, bool padding) {
    if (!a.kept) {
        if (threadIdx.x == 0 && !padding) atomicAdd(a.totals + 3, 1ull);
        return true;
    }
    const TokenRecord kept = a.kept[row];
    const long long seen = a.sampled_at[row], now = padding ? 0 : a.clock[token.layer];
    const bool moved = !same_bits(token, kept);
    bool stale = false;
    if (!moved && now > seen && !padding) {
        const int2 size = a.frame_sizes[token.layer];
        const long long tiles = (long long)a.tile_rows * a.tile_columns;
        const TileVersions versions = {a.versions + token.layer * tiles, a.tile_columns, size.x, size.y};
        stale = finds_newer_tile(token, versions, seen, TEXVLM_PATCH, a.last_level);
    }
    // also a barrier: every thread has read the state before one thread writes it
    const bool wanted = __syncthreads_or(moved || stale) != 0;
    if (threadIdx.x == 0) {
        a.kept[row] = token;
        a.sampled_at[row] = now;
        a.dirty[row] = wanted && !padding ? 1 : 0;
        if (!padding) atomicAdd(a.totals + (wanted ? 3 : 4), 1ull);
    }
    return wanted;
}

#define TEXVLM_PLANE (TEXVLM_PATCH * TEXVLM_PATCH)

__device__ __forceinline__ Packet* packets_of(const SampleArguments& a, int row) {
    return (Packet*)((Element*)a.out + (long long)row * (TEXVLM_CHANNELS * TEXVLM_PLANE));
}

__device__ __forceinline__ Grid grid_of(const SampleArguments& a, const TokenRecord& token, int2 size, int level) {
    return Grid{
        level,
        a.surfaces[level],
        axis_of(token.x, token.side, size.x, a.storage_width, a.inverse_width, level),
        axis_of(token.y, token.side, size.y, a.storage_height, a.inverse_height, level),
    };
}

// One pixel of a token that lies between texels, in units of full scale, on one level.
__device__ __forceinline__ Texel filtered(
    unsigned long long texture, const Grid& grid, int column, int line, int layer
) {
#if !TEXVLM_EXACT
    if (is_inner(grid, column, line)) return fetch(texture, grid, column, line, layer);
#endif
    return scaled(bilinear(grid, column, line, layer), TEXVLM_UNIT_TEXEL);
}

// One block a multiprocessor is all that is asked for: told nothing, the compiler aims at more and spills.
extern "C" __global__ void __launch_bounds__(TEXVLM_THREADS, 1) sample(const SampleArguments a) {
    const int row = a.rows ? a.rows[blockIdx.x] : (int)blockIdx.x;
    const TokenRecord token = a.table[row];
    // a table made on the device is not seen by the host: a layer that does not exist reads nothing
    const bool padding = token.layer < 0 || token.layer >= a.layers;
    if (!claim(a, row, token, padding)) return;

    Packet* const out = packets_of(a, row);
    if (padding) {
        for (int unit = (int)threadIdx.x; unit < TEXVLM_CHANNELS * TEXVLM_PLANE / TEXVLM_UNIT; unit += TEXVLM_THREADS) {
            out[unit] = Packet{};
        }
        return;
    }
    const Lod lod = split_lod(token.side, TEXVLM_PATCH, a.last_level);
    const int next = lod.weight > 0.0f ? lod.level + 1 : lod.level;
    const int2 size = a.frame_sizes[token.layer];
    const Grid fine = grid_of(a, token, size, lod.level), coarse = grid_of(a, token, size, next);
    // Where every weight is 0, texels are copied by the load unit: exact whatever the texture unit makes
    // of the coordinate's last bit, and with a fourth of the reads of the exact filter.
    const bool copies = lod.weight == 0.0f && fine.x.is_aligned() && fine.y.is_aligned();

#pragma unroll 1
    for (int unit = (int)threadIdx.x; unit < TEXVLM_PLANE / TEXVLM_UNIT; unit += TEXVLM_THREADS) {
        const int line = unit * TEXVLM_UNIT / TEXVLM_PATCH, first = unit * TEXVLM_UNIT % TEXVLM_PATCH;
        Packet packets[TEXVLM_CHANNELS];
#pragma unroll
        for (int pixel = 0; pixel < TEXVLM_UNIT; pixel++) {
            const int column = first + pixel;
            Texel value;
            if (copies) {
                value = scaled(nearest(fine, column, line, token.layer), TEXVLM_UNIT_TEXEL);
            } else {
                value = filtered(a.texture, fine, column, line, token.layer);
                if (lod.weight > 0.0f) {
                    value = mix(value, filtered(a.texture, coarse, column, line, token.layer), lod.weight);
                }
            }
#pragma unroll
            for (int c = 0; c < TEXVLM_CHANNELS; c++) {
                packets[c].pixels[pixel] = encoded(fmaf(value.channels[c], a.scale[c], a.bias[c]));
            }
        }
#pragma unroll
        for (int c = 0; c < TEXVLM_CHANNELS; c++) out[c * (TEXVLM_PLANE / TEXVLM_UNIT) + unit] = packets[c];
    }
}
