// Level of detail of a token: split_lod of texvlm/backends/_filter.py, in 32-bit floats.
#pragma once

__device__ __forceinline__ float power_of_two(int exponent) {
    return __uint_as_float((unsigned int)(exponent + 127) << 23);
}

struct Lod {
    int level;     // mip level
    float weight;  // of the next one, 0..1
};

// Floor and fraction of log2(side / patch). No division and no logarithm decides the level, so a side
// of exactly patch * 2^k gives level k and weight 0; of a weight, whether it is 0 is exact, too.
__device__ __forceinline__ Lod split_lod(float side, int patch, int last_level) {
    const float base = (float)patch;
    if (side <= base) return Lod{0, 0.0f};
    int power = (int)(__float_as_uint(side) >> 23) - (int)(__float_as_uint(base) >> 23);
    if (side < base * power_of_two(power)) power--;
    if (power >= last_level) return Lod{last_level, 0.0f};
    const float whole = base * power_of_two(power);
    if (side == whole) return Lod{power, 0.0f};
    // the division rounds up to 2 for the last sides below 2 * whole, where the logarithm must stay below 1
    return Lod{power, fminf(fmaxf(log2f(side / whole), 5.9604645e-8f), 0.99999994f)};
}
