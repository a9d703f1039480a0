// Texture fetches and surface accesses on emulated arrays.
//
// Source of the arithmetic: CUDA C++ Programming Guide, "Texture Fetching" (nearest-point sampling, linear
// filtering: 9-bit fixed point weights with 8 bits of fraction) and "Surface Functions".
#pragma once

#include <cmath>

#include "fibers.h"

struct __attribute__((aligned(4))) uchar4 { unsigned char x, y, z, w; };
struct __attribute__((aligned(16))) float4 { float x, y, z, w; };

typedef unsigned long long cudaTextureObject_t;
typedef unsigned long long cudaSurfaceObject_t;
enum cudaSurfaceBoundaryMode { cudaBoundaryModeZero = 0, cudaBoundaryModeClamp = 1, cudaBoundaryModeTrap = 2 };

namespace cuda_host {

inline const Image& find_image(unsigned long long handle, const char* call, bool surface) {
    std::uint64_t index = handle & EVERYONE;
    if (index >= launch->object_count || launch->objects[index] == nullptr || handle >> 32 != 0x7E5)
        fail("%s: %#llx is no texture or surface object", call, handle);
    const Image& image = *launch->objects[index];
    if (!image.alive) fail("%s: object %#llx was destroyed", call, handle);
    if ((image.kind == SURFACE) != surface) fail("%s: object %#llx is of the other kind", call, handle);
    return image;
}

inline unsigned texel_bytes(const Image& image) {
    return image.channels * (image.element == UNSIGNED8 ? 1 : image.element == FLOAT16 ? 2 : 4);
}
inline int side(unsigned base, unsigned level) { return base >> level ? int(base >> level) : 1; }

inline unsigned char* address(const Image& image, unsigned level, std::int64_t x_bytes, int y, int layer) {
    std::int64_t row = std::int64_t(side(image.width, level)) * texel_bytes(image);
    return reinterpret_cast<unsigned char*>(image.data[level]) +
           (std::int64_t(layer) * side(image.height, level) + y) * row + x_bytes;
}

inline float float_of_half(std::uint16_t bits) {
    int exponent = bits >> 10 & 31, fraction = bits & 1023;
    float size = exponent == 31  ? (fraction ? NAN : INFINITY)
                 : exponent == 0 ? std::ldexp(float(fraction), -24)
                                 : std::ldexp(float(fraction + 1024), exponent - 25);
    return bits >> 15 ? -size : size;
}

struct Texel { double value[4]; };

inline Texel read_texel(const Image& image, unsigned level, int x, int y, int layer) {
    Texel texel{};
    const unsigned char* from = address(image, level, std::int64_t(x) * texel_bytes(image), y, layer);
    for (unsigned i = 0; i < image.channels; ++i) {
        if (image.element == UNSIGNED8) {
            // the unit hands out the float nearest to k/255 ("cudaReadModeNormalizedFloat")
            texel.value[i] = image.normalised ? double(float(from[i]) / 255.0f) : from[i];
        } else if (image.element == FLOAT16) {
            std::uint16_t bits;
            std::memcpy(&bits, from + 2 * i, 2);
            texel.value[i] = float_of_half(bits);
        } else {
            float value;
            std::memcpy(&value, from + 4 * i, 4);
            texel.value[i] = value;
        }
    }
    return texel;
}

// ---------------------------------------------------------------- results

template <class T> struct Result;
template <> struct Result<float4> {
    static constexpr unsigned channels = 4;
    static constexpr bool real = true;
    static float4 of(const Texel& t) {
        return {float(t.value[0]), float(t.value[1]), float(t.value[2]), float(t.value[3])};
    }
};
template <> struct Result<float> {
    static constexpr unsigned channels = 1;
    static constexpr bool real = true;
    static float of(const Texel& t) { return float(t.value[0]); }
};
template <> struct Result<uchar4> {
    static constexpr unsigned channels = 4;
    static constexpr bool real = false;
    static uchar4 of(const Texel& t) {
        using byte = unsigned char;
        return {byte(t.value[0]), byte(t.value[1]), byte(t.value[2]), byte(t.value[3])};
    }
};
template <> struct Result<unsigned char> {
    static constexpr unsigned channels = 1;
    static constexpr bool real = false;
    static unsigned char of(const Texel& t) { return static_cast<unsigned char>(t.value[0]); }
};

// ---------------------------------------------------------------- filtering

// Addressing mode clamp: coordinates beyond the first or last texel read that one. NaN reads the first.
inline int clamped(double position, int size) {
    return position > 0 ? (position < size - 1 ? int(std::floor(position)) : size - 1) : 0;
}

struct Span { int first, second; double weight; };  // weight of the second texel, in 256ths

// Linear filtering along one axis: xB = x - 0.5, i = floor(xB), alpha = frac(xB) with 8 bits of fraction.
inline Span span_of(double x, int size) {
    double fixed = std::floor((x - 0.5) * 256 + 0.5), whole = std::floor(fixed / 256);
    return {clamped(whole, size), clamped(whole + 1, size), std::isfinite(fixed) ? (fixed - whole * 256) / 256 : 0};
}

inline Texel mixed(const Texel& a, const Texel& b, double weight) {
    Texel result;
    for (int i = 0; i < 4; ++i) {  // a weight of 0 keeps infinities and NaN of the other texel out
        result.value[i] = weight == 0 ? a.value[i] : weight == 1 ? b.value[i]
                                                                 : a.value[i] * (1 - weight) + b.value[i] * weight;
    }
    return result;
}

inline Texel filter_level(const Image& image, float x, float y, int layer, unsigned level) {
    int width = side(image.width, level), height = side(image.height, level);
    if (image.kind == POINTS) return read_texel(image, 0, clamped(x, width), clamped(y, height), layer);
    Span u = span_of(double(x) * width, width), v = span_of(double(y) * height, height);
    Texel top = mixed(read_texel(image, level, u.first, v.first, layer),
                      read_texel(image, level, u.second, v.first, layer), u.weight);
    Texel bottom = mixed(read_texel(image, level, u.first, v.second, layer),
                         read_texel(image, level, u.second, v.second, layer), u.weight);
    return mixed(top, bottom, v.weight);
}

template <class T, bool layered>
inline T fetch(unsigned long long handle, const char* call, float x, float y, int layer, float lod) {
    const Image& image = find_image(handle, call, false);
    if (layered != (image.layers > 0))
        fail("%s: the array of object %#llx is %slayered", call, handle, image.layers ? "" : "not ");
    if (layered && (layer < 0 || layer >= int(image.layers)))
        fail("%s: layer %d of an array with %u", call, layer, image.layers);
    if (Result<T>::channels != image.channels)
        fail("%s: %u channels are read of an array with %u", call, Result<T>::channels, image.channels);
    if (Result<T>::real != (image.normalised || image.element != UNSIGNED8))
        fail("%s: object %#llx hands out %s", call, handle, Result<T>::real ? "integers" : "floats");
    // mip-mapped arrays: point filtering between levels reads the nearest one
    double nearest = std::floor(double(lod) + 0.5), last = image.levels - 1;
    double level = nearest > 0 ? (nearest < last ? nearest : last) : 0;
    return Result<T>::of(filter_level(image, x, y, layer, unsigned(level)));
}

// ---------------------------------------------------------------- surfaces

// The texels of one access, or null in Zero mode beyond the array. x is in bytes, and "must be a multiple of
// the size" of what is accessed; a real device traps, and so does this.
template <class T>
inline unsigned char* reach(unsigned long long handle, const char* call, int x, int y, int layer, bool layered,
                            cudaSurfaceBoundaryMode mode, std::uint64_t& outside) {
    static_assert(sizeof(T) == 1 || sizeof(T) == 2 || sizeof(T) == 4 || sizeof(T) == 8 || sizeof(T) == 16,
                  "surfaces move 1, 2, 4, 8 or 16 bytes");
    const Image& image = find_image(handle, call, true);
    if (layered != (image.layers > 0))
        fail("%s: the array of object %#llx is %slayered", call, handle, image.layers ? "" : "not ");
    int size = int(sizeof(T)), row = int(image.width * texel_bytes(image)), height = int(image.height);
    int layers = layered ? int(image.layers) : 1;
    if (x % size) fail("%s: x is %d bytes, no multiple of the %d bytes that are accessed", call, x, size);
    bool inside = x >= 0 && x <= row - size && y >= 0 && y < height && layer >= 0 && layer < layers;
    if (!inside && mode == cudaBoundaryModeTrap)
        fail("%s: byte %d of row %d, layer %d is outside %d bytes x %d rows x %d layers", call, x, y, layer, row, height,
             layers);
    if (!inside && mode == cudaBoundaryModeZero) {
        ++outside;
        return nullptr;
    }
    auto into = [](int value, int last) { return value < 0 ? 0 : value > last ? last : value; };
    return address(image, 0, into(x, row - size), into(y, height - 1), into(layer, layers - 1));
}

template <class T>
inline T load(unsigned long long surface, const char* call, int x, int y, int layer, bool layered,
              cudaSurfaceBoundaryMode mode) {
    T value{};
    const void* from = reach<T>(surface, call, x, y, layer, layered, mode, launch->outside_reads);
    if (from) std::memcpy(&value, from, sizeof(T));
    return value;
}
template <class T>
inline void store(const T& value, unsigned long long surface, const char* call, int x, int y, int layer, bool layered,
                  cudaSurfaceBoundaryMode mode) {
    void* to = reach<T>(surface, call, x, y, layer, layered, mode, launch->outside_writes);
    if (to) std::memcpy(to, &value, sizeof(T));
}

}  // namespace cuda_host

// ---------------------------------------------------------------- what kernels call ("Texture Functions")

template <class T> inline T tex2DLayeredLod(cudaTextureObject_t t, float x, float y, int layer, float level) {
    return cuda_host::fetch<T, true>(t, "tex2DLayeredLod", x, y, layer, level);
}
template <class T> inline T tex2DLayered(cudaTextureObject_t t, float x, float y, int layer) {
    return cuda_host::fetch<T, true>(t, "tex2DLayered", x, y, layer, 0.0f);
}
template <class T> inline T tex2DLod(cudaTextureObject_t t, float x, float y, float level) {
    return cuda_host::fetch<T, false>(t, "tex2DLod", x, y, 0, level);
}
template <class T> inline T tex2D(cudaTextureObject_t t, float x, float y) {
    return cuda_host::fetch<T, false>(t, "tex2D", x, y, 0, 0.0f);
}

// "Surface Functions"; the boundary mode is Trap where none is given.
template <class T>
inline T surf2DLayeredread(cudaSurfaceObject_t s, int x, int y, int layer,
                           cudaSurfaceBoundaryMode mode = cudaBoundaryModeTrap) {
    return cuda_host::load<T>(s, "surf2DLayeredread", x, y, layer, true, mode);
}
template <class T>
inline void surf2DLayeredread(T* value, cudaSurfaceObject_t s, int x, int y, int layer,
                              cudaSurfaceBoundaryMode mode = cudaBoundaryModeTrap) {
    *value = cuda_host::load<T>(s, "surf2DLayeredread", x, y, layer, true, mode);
}
template <class T>
inline void surf2DLayeredwrite(T value, cudaSurfaceObject_t s, int x, int y, int layer,
                               cudaSurfaceBoundaryMode mode = cudaBoundaryModeTrap) {
    cuda_host::store<T>(value, s, "surf2DLayeredwrite", x, y, layer, true, mode);
}
template <class T>
inline T surf2Dread(cudaSurfaceObject_t s, int x, int y, cudaSurfaceBoundaryMode mode = cudaBoundaryModeTrap) {
    return cuda_host::load<T>(s, "surf2Dread", x, y, 0, false, mode);
}
template <class T>
inline void surf2Dwrite(T value, cudaSurfaceObject_t s, int x, int y,
                        cudaSurfaceBoundaryMode mode = cudaBoundaryModeTrap) {
    cuda_host::store<T>(value, s, "surf2Dwrite", x, y, 0, false, mode);
}
