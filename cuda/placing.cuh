// Where views look: fixations (u, v), the frame spanning 0..1, as texels of each view's frame.
#pragma once

struct Point {
    double x, y;
};

// As to_texels of texvlm/layouts/base.py: brought within 2^20 frames. The product of a 32-bit float and
// a frame's side is exact in double, so fusing it with a later addition changes no bit.
__device__ __forceinline__ Point to_texels(const float* fixation, int width, int height) {
    const double farthest = 1048576.0;
    return Point{fmin(fmax((double)fixation[0], -farthest), farthest) * width,
                 fmin(fmax((double)fixation[1], -farthest), farthest) * height};
}

// Whether each of a view's fixations is a number. A kernel cannot raise: where one is not, the view's
// rows become padding.
__device__ __forceinline__ bool all_finite(const float* fixations, int count) {
    for (int i = 0; i < 2 * count; i++) {
        if (!isfinite(fixations[i])) return false;
    }
    return true;
}
