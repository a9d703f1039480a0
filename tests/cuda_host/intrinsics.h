// Vector types, barriers, warp calls, atomics and arithmetic of CUDA C++, on fibers of one host thread.
//
// Sections named are those of the CUDA C++ Programming Guide; arithmetic is in "Mathematical Functions" and
// the CUDA Math API. Fibers run one at a time, so an atomic is a plain operation.
#pragma once

#include <math.h>

#include <cmath>

#include "images.h"

// ---------------------------------------------------------------- "Built-in Vector Types"

#define CUDA_HOST_VECTORS(element, name)                                                                              \
    struct __attribute__((aligned(2 * sizeof(element)))) name##2 { element x, y; };                                   \
    struct name##3 { element x, y, z; };                                                                              \
    inline name##2 make_##name##2(element x, element y) { return {x, y}; }                                            \
    inline name##3 make_##name##3(element x, element y, element z) { return {x, y, z}; }
#define CUDA_HOST_VECTOR4(element, name, alignment)                                                                   \
    struct __attribute__((aligned(alignment))) name##4 { element x, y, z, w; };                                       \
    inline name##4 make_##name##4(element x, element y, element z, element w) { return {x, y, z, w}; }
CUDA_HOST_VECTORS(unsigned char, uchar)
CUDA_HOST_VECTORS(unsigned short, ushort)
CUDA_HOST_VECTORS(int, int)
CUDA_HOST_VECTORS(float, float)
CUDA_HOST_VECTORS(double, double)
CUDA_HOST_VECTOR4(unsigned short, ushort, 8)
CUDA_HOST_VECTOR4(int, int, 16)
CUDA_HOST_VECTOR4(unsigned, uint, 16)
struct __attribute__((aligned(8))) uint2 { unsigned x, y; };
inline uint2 make_uint2(unsigned x, unsigned y) { return {x, y}; }
inline uint3 make_uint3(unsigned x, unsigned y, unsigned z) { return {x, y, z}; }
inline uchar4 make_uchar4(unsigned char x, unsigned char y, unsigned char z, unsigned char w) { return {x, y, z, w}; }
inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }

// ---------------------------------------------------------------- "Synchronization Functions"

#define CUDA_HOST_SITE int line = __builtin_LINE()
// The compiler must not keep shared or global memory in registers while other threads run.
#define CUDA_HOST_FENCE asm volatile("" ::: "memory")
#define CUDA_HOST_INLINE inline __attribute__((always_inline))

CUDA_HOST_INLINE void __syncthreads(CUDA_HOST_SITE) {
    CUDA_HOST_FENCE;
    cuda_host::barrier("__syncthreads", line, false);
    CUDA_HOST_FENCE;
}
CUDA_HOST_INLINE int __syncthreads_count(int predicate, CUDA_HOST_SITE) {
    CUDA_HOST_FENCE;
    int count = int(cuda_host::barrier("__syncthreads_count", line, predicate != 0));
    CUDA_HOST_FENCE;
    return count;
}
CUDA_HOST_INLINE int __syncthreads_or(int predicate, CUDA_HOST_SITE) {
    CUDA_HOST_FENCE;
    int count = int(cuda_host::barrier("__syncthreads_or", line, predicate != 0));
    CUDA_HOST_FENCE;
    return count != 0;
}
CUDA_HOST_INLINE int __syncthreads_and(int predicate, CUDA_HOST_SITE) {
    CUDA_HOST_FENCE;
    int failed = int(cuda_host::barrier("__syncthreads_and", line, predicate == 0));
    CUDA_HOST_FENCE;
    return failed == 0;
}
CUDA_HOST_INLINE void __syncwarp(unsigned mask = 0xFFFFFFFFu, CUDA_HOST_SITE) {
    CUDA_HOST_FENCE;
    cuda_host::warp_call("__syncwarp", line, mask, 0, false, 0);
    CUDA_HOST_FENCE;
}
inline void __threadfence() {}
inline void __threadfence_block() {}

// ---------------------------------------------------------------- "Warp Vote Functions", "Warp Shuffle Functions"

CUDA_HOST_INLINE unsigned __ballot_sync(unsigned mask, int predicate, CUDA_HOST_SITE) {
    CUDA_HOST_FENCE;
    unsigned ballot = cuda_host::warp_call("__ballot_sync", line, mask, 0, predicate != 0, 0).ballot;
    CUDA_HOST_FENCE;
    return ballot;
}
CUDA_HOST_INLINE int __any_sync(unsigned mask, int predicate, CUDA_HOST_SITE) {
    CUDA_HOST_FENCE;
    unsigned ballot = cuda_host::warp_call("__any_sync", line, mask, 0, predicate != 0, 0).ballot;
    CUDA_HOST_FENCE;
    return ballot != 0;
}
CUDA_HOST_INLINE int __all_sync(unsigned mask, int predicate, CUDA_HOST_SITE) {
    CUDA_HOST_FENCE;
    unsigned failed = cuda_host::warp_call("__all_sync", line, mask, 0, predicate == 0, 0).ballot;
    CUDA_HOST_FENCE;
    return failed == 0;
}

namespace cuda_host {
template <class T> CUDA_HOST_INLINE T shuffle(const char* call, int line, unsigned mask, T value, unsigned source) {
    static_assert(sizeof(T) == 4 || sizeof(T) == 8, "shuffles move 4 or 8 bytes");
    std::uint64_t bits = 0;
    std::memcpy(&bits, &value, sizeof(T));
    CUDA_HOST_FENCE;
    bits = warp_call(call, line, mask, source, false, bits).value;
    CUDA_HOST_FENCE;
    std::memcpy(&value, &bits, sizeof(T));
    return value;
}
inline unsigned lane_here() { return fibers[current].thread % WARP; }
inline void check_width(const char* call, int width) {
    if (width < 1 || width > 32 || (width & (width - 1))) fail("%s: width %d is no power of two up to 32", call, width);
}
}  // namespace cuda_host

// The warp is split into groups of `width` lanes; a source beyond the group leaves the value as it is, but for
// __shfl_sync, whose source counts modulo the width.
template <class T> CUDA_HOST_INLINE T __shfl_sync(unsigned mask, T value, int source, int width = 32, CUDA_HOST_SITE) {
    cuda_host::check_width("__shfl_sync", width);
    unsigned first = cuda_host::lane_here() & ~unsigned(width - 1);
    return cuda_host::shuffle("__shfl_sync", line, mask, value, first + (unsigned(source) & unsigned(width - 1)));
}
template <class T>
CUDA_HOST_INLINE T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = 32, CUDA_HOST_SITE) {
    cuda_host::check_width("__shfl_up_sync", width);
    unsigned lane = cuda_host::lane_here(), place = lane & unsigned(width - 1);
    return cuda_host::shuffle("__shfl_up_sync", line, mask, value, place >= delta ? lane - delta : lane);
}
template <class T>
CUDA_HOST_INLINE T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = 32, CUDA_HOST_SITE) {
    cuda_host::check_width("__shfl_down_sync", width);
    unsigned lane = cuda_host::lane_here(), place = lane & unsigned(width - 1);
    bool inside = delta < unsigned(width) - place;
    return cuda_host::shuffle("__shfl_down_sync", line, mask, value, inside ? lane + delta : lane);
}
template <class T>
CUDA_HOST_INLINE T __shfl_xor_sync(unsigned mask, T value, int lanes, int width = 32, CUDA_HOST_SITE) {
    cuda_host::check_width("__shfl_xor_sync", width);
    unsigned lane = cuda_host::lane_here(), source = lane ^ unsigned(lanes);
    // "later groups of threads cannot be accessed, earlier ones can"
    bool reachable = source < (lane & ~unsigned(width - 1)) + unsigned(width);
    return cuda_host::shuffle("__shfl_xor_sync", line, mask, value, reachable ? source : lane);
}

// ---------------------------------------------------------------- "Atomic Functions": the old value comes back

#define CUDA_HOST_ATOMIC(name, type, expression)                                                                      \
    inline type name(type* address, type value) {                                                                     \
        type old = *address;                                                                                          \
        *address = (expression);                                                                                      \
        return old;                                                                                                   \
    }
#define CUDA_HOST_ATOMICS(type)                                                                                       \
    CUDA_HOST_ATOMIC(atomicAdd, type, old + value)                                                                    \
    CUDA_HOST_ATOMIC(atomicMax, type, old > value ? old : value)                                                      \
    CUDA_HOST_ATOMIC(atomicMin, type, old < value ? old : value)                                                      \
    CUDA_HOST_ATOMIC(atomicOr, type, old | value)                                                                     \
    CUDA_HOST_ATOMIC(atomicAnd, type, old & value)                                                                    \
    CUDA_HOST_ATOMIC(atomicExch, type, value)                                                                         \
    inline type atomicCAS(type* address, type compare, type value) {                                                  \
        type old = *address;                                                                                          \
        if (old == compare) *address = value;                                                                         \
        return old;                                                                                                   \
    }
CUDA_HOST_ATOMICS(int)
CUDA_HOST_ATOMICS(unsigned)
CUDA_HOST_ATOMICS(unsigned long long)
CUDA_HOST_ATOMIC(atomicAdd, float, old + value)
CUDA_HOST_ATOMIC(atomicAdd, double, old + value)

// ---------------------------------------------------------------- integer and bit intrinsics

inline int __popc(unsigned value) { return __builtin_popcount(value); }
inline int __popcll(unsigned long long value) { return __builtin_popcountll(value); }
inline int __ffs(int value) { return __builtin_ffs(value); }
inline int __ffsll(long long value) { return __builtin_ffsll(value); }
inline int __clz(int value) { return value ? __builtin_clz(unsigned(value)) : 32; }
inline int __clzll(long long value) { return value ? __builtin_clzll((unsigned long long)value) : 64; }
inline unsigned __umulhi(unsigned a, unsigned b) { return unsigned((unsigned long long)a * b >> 32); }
inline unsigned __vabsdiffu4(unsigned a, unsigned b) {  // "SIMD Intrinsics": per byte, unsigned
    unsigned result = 0;
    for (int shift = 0; shift < 32; shift += 8) {
        int difference = int(a >> shift & 255) - int(b >> shift & 255);
        result |= unsigned(difference < 0 ? -difference : difference) << shift;
    }
    return result;
}

template <class To, class From> inline To cuda_host_cast(From value) {
    static_assert(sizeof(To) == sizeof(From), "a cast keeps the bits");
    To result;
    std::memcpy(&result, &value, sizeof(To));
    return result;
}
inline unsigned __float_as_uint(float value) { return cuda_host_cast<unsigned>(value); }
inline int __float_as_int(float value) { return cuda_host_cast<int>(value); }
inline float __uint_as_float(unsigned value) { return cuda_host_cast<float>(value); }
inline float __int_as_float(int value) { return cuda_host_cast<float>(value); }
inline long long __double_as_longlong(double value) { return cuda_host_cast<long long>(value); }
inline double __longlong_as_double(long long value) { return cuda_host_cast<double>(value); }

// Conversions saturate on a device, and NaN gives 0; in C++ both would be undefined.
inline int cuda_host_int(double whole) {
    return whole != whole ? 0 : whole >= 2147483647.0 ? 2147483647 : whole <= -2147483648.0 ? -2147483647 - 1 : int(whole);
}
inline int __float2int_rn(float value) { return cuda_host_int(std::nearbyint(double(value))); }
inline int __float2int_rd(float value) { return cuda_host_int(std::floor(double(value))); }
inline int __float2int_ru(float value) { return cuda_host_int(std::ceil(double(value))); }
inline int __float2int_rz(float value) { return cuda_host_int(std::trunc(double(value))); }
inline int __double2int_rn(double value) { return cuda_host_int(std::nearbyint(value)); }
inline int __double2int_rd(double value) { return cuda_host_int(std::floor(value)); }
inline int __double2int_ru(double value) { return cuda_host_int(std::ceil(value)); }
inline int __double2int_rz(double value) { return cuda_host_int(std::trunc(value)); }

// ---------------------------------------------------------------- arithmetic

// Never contracted to a fused multiply-add, whatever the compiler's options say: "Intrinsic Functions".
CUDA_HOST_INLINE float __fmul_rn(float a, float b) { volatile float result = a * b; return result; }
CUDA_HOST_INLINE float __fadd_rn(float a, float b) { volatile float result = a + b; return result; }
CUDA_HOST_INLINE float __fsub_rn(float a, float b) { volatile float result = a - b; return result; }
CUDA_HOST_INLINE float __fdiv_rn(float a, float b) { return a / b; }
CUDA_HOST_INLINE float __fsqrt_rn(float a) { return std::sqrt(a); }
CUDA_HOST_INLINE float __fmaf_rn(float a, float b, float c) { return std::fma(a, b, c); }
CUDA_HOST_INLINE double __dmul_rn(double a, double b) { volatile double result = a * b; return result; }
CUDA_HOST_INLINE double __dadd_rn(double a, double b) { volatile double result = a + b; return result; }
CUDA_HOST_INLINE double __dsub_rn(double a, double b) { volatile double result = a - b; return result; }
CUDA_HOST_INLINE double __ddiv_rn(double a, double b) { return a / b; }
CUDA_HOST_INLINE double __dsqrt_rn(double a) { return std::sqrt(a); }
CUDA_HOST_INLINE double __fma_rn(double a, double b, double c) { return std::fma(a, b, c); }
inline float __saturatef(float value) { return value > 0 ? (value < 1 ? value : 1) : 0; }  // NaN gives 0
using std::isfinite;
using std::isinf;
using std::isnan;
inline double sinpi(double half_turns) { return std::sin(half_turns * 3.14159265358979323846); }  // within 2 ulp of 1
inline double cospi(double half_turns) { return std::cos(half_turns * 3.14159265358979323846); }

// Overloads of min and max, mixed signs as CUDA's math_functions resolves them: to unsigned. For floats the
// number wins over NaN.
#define CUDA_HOST_MIN_MAX(result, left, right)                                                                        \
    inline result min(left a, right b) { return (result)a < (result)b ? (result)a : (result)b; }                      \
    inline result max(left a, right b) { return (result)a > (result)b ? (result)a : (result)b; }
CUDA_HOST_MIN_MAX(int, int, int)
CUDA_HOST_MIN_MAX(unsigned, unsigned, unsigned)
CUDA_HOST_MIN_MAX(unsigned, int, unsigned)
CUDA_HOST_MIN_MAX(unsigned, unsigned, int)
CUDA_HOST_MIN_MAX(long, long, long)
CUDA_HOST_MIN_MAX(unsigned long, unsigned long, unsigned long)
CUDA_HOST_MIN_MAX(long long, long long, long long)
CUDA_HOST_MIN_MAX(unsigned long long, unsigned long long, unsigned long long)
inline float min(float a, float b) { return fminf(a, b); }
inline float max(float a, float b) { return fmaxf(a, b); }
inline double min(double a, double b) { return fmin(a, b); }
inline double max(double a, double b) { return fmax(a, b); }
inline double min(float a, double b) { return fmin(double(a), b); }
inline double min(double a, float b) { return fmin(a, double(b)); }
inline double max(float a, double b) { return fmax(double(a), b); }
inline double max(double a, float b) { return fmax(a, double(b)); }

// Loads through a read-only or streaming cache read the same bits.
template <class T> inline T __ldg(const T* address) { return *address; }
template <class T> inline T __ldcs(const T* address) { return *address; }
template <class T> inline void __stcs(T* address, T value) { *address = value; }
