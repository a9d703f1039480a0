// Where views look: fixations (u, v), the frame spanning 0..1, as texels of each view's frame.
#pragma once

struct Point {
    double x, y;
};

// The fixations of one view.
struct Fixations {
    const void* points;  // (count, 2), u and v: floats or doubles
    int count;
    int is_double;

    __device__ __forceinline__ double at(int index) const {
        return is_double ? ((const double*)points)[index] : (double)((const float*)points)[index];
    }
    // Whether each is a number. A kernel cannot raise: where one is not, the view's rows become padding.
    __device__ __forceinline__ bool are_finite() const {
        for (int i = 0; i < 2 * count; i++) {
            if (!isfinite(at(i))) return false;
        }
        return true;
    }
    // As to_texels of texvlm/layouts/base.py: brought within 2^20 frames. Products are rounded by
    // themselves, never fused with what is added later: equal bits.
    __device__ __forceinline__ Point in_texels(int index, int width, int height) const {
        const double farthest = 1048576.0;
        return Point{__dmul_rn(fmin(fmax(at(2 * index), -farthest), farthest), width),
                     __dmul_rn(fmin(fmax(at(2 * index + 1), -farthest), farthest), height)};
    }
};

__device__ __forceinline__ Fixations fixations_of(const void* points, int view, int count, int is_double) {
    const long long bytes = (long long)view * count * 2 * (is_double ? 8 : 4);
    return Fixations{(const char*)points + bytes, count, is_double};
}
