// Which tiles a token reads, and whether one of them is newer than what was sampled.
// Mirrors texvlm/backends/footprint.py, in the same doubles: a token is stale if and only if a texel
// that it reads lies above a tile that was updated.
#pragma once
#include "lod.cuh"
#include "token_record.cuh"

#define TEXVLM_TILE 16

struct TileSpan {
    int first, stop;
};

// Tiles read along one axis at one level of `count` texels, cut off at `tiles`. Products here are by
// powers of two, hence exact: fused operations change no bit.
__device__ __forceinline__ TileSpan tile_span(
    double centre, double side, int patch, int level, int count, int tiles
) {
    const double reach = (patch - 1) * side / (2.0 * patch);
    const double scale = (double)power_of_two(-level), last = count - 1.0;
    const int low = (int)floor(fmin(fmax((centre - reach) * scale - 0.5, 0.0), last));
    const int high = (int)ceil(fmin(fmax((centre + reach) * scale - 0.5, 0.0), last));
    const int first = (low << level) / TEXVLM_TILE;
    const int stop = (((high + 1) << level) - 1) / TEXVLM_TILE + 1;
    return TileSpan{first, min(stop, tiles)};
}

// When each tile of one layer was updated last.
struct TileVersions {
    const long long* versions;  // (rows, columns) of the largest frame's tiles
    int columns;                // from row to row
    int width, height;          // the layer's frame, texels
};

// Whether this thread's share of the token's tiles holds one newer than `seen`. The threads of a block
// scan the tiles together; each stops at its first.
__device__ __forceinline__ bool finds_newer_tile(
    const TokenRecord& token, const TileVersions& tiles, long long seen, int patch, int last_level
) {
    const Lod lod = split_lod(token.side, patch, last_level);
    const int tile_columns = (tiles.width + TEXVLM_TILE - 1) / TEXVLM_TILE;
    const int tile_rows = (tiles.height + TEXVLM_TILE - 1) / TEXVLM_TILE;
    for (int level = lod.level; level <= lod.level + (lod.weight > 0.0f ? 1 : 0); level++) {
        const int columns = (tiles.width + (1 << level) - 1) >> level;
        const int lines = (tiles.height + (1 << level) - 1) >> level;
        const TileSpan x = tile_span(token.x, token.side, patch, level, columns, tile_columns);
        const TileSpan y = tile_span(token.y, token.side, patch, level, lines, tile_rows);
        const int across = x.stop - x.first, count = across * (y.stop - y.first);
        for (int index = (int)threadIdx.x; index < count; index += (int)blockDim.x) {
            const int row = y.first + index / across, column = x.first + index % across;
            if (tiles.versions[(long long)row * tiles.columns + column] > seen) return true;
        }
    }
    return false;
}
