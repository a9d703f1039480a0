// Lets a .cu file compile unchanged for the host: qualifiers, built-ins, and the loop over blocks.
//
// Test tool, not a backend. compiler.py writes, for each variant of a kernel:
//     #include "cuda_host.h"
//     namespace {
//     #include "refresh.cu"
//     }
//     CUDA_HOST_EXPORT(refresh, <threads of __launch_bounds__>)
// and program.py calls what that exports. Blocks run one after the other, each block's threads as fibers.
#pragma once

#include <dlfcn.h>

#include <csignal>

#include "intrinsics.h"

#define __global__
#define __device__
#define __host__
#define __constant__ static
#define __noinline__ __attribute__((noinline))
#define __forceinline__ inline __attribute__((always_inline))
#define __launch_bounds__(...)
#define __align__(bytes) __attribute__((aligned(bytes)))
// Static shared memory: one copy, since blocks run in turn; a section of its own, so that each block can be
// given rubbish instead of what its predecessor left.
#define __shared__ static __attribute__((section("cuda_host_shared"), used))

extern "C" {
extern char __start_cuda_host_shared[] __attribute__((weak, visibility("hidden")));
extern char __stop_cuda_host_shared[] __attribute__((weak, visibility("hidden")));
}

namespace cuda_host {

constexpr std::size_t SHARED_BYTES = 48 * 1024;  // "Compute Capabilities": static shared memory of a block

// Where the kernel was, as an offset into its library; program.py looks the line up. 0 where that is not known.
inline std::size_t place_of_fault(void* context) {
    auto* machine = &static_cast<ucontext_t*>(context)->uc_mcontext;
#if defined(__x86_64__)
    auto place = reinterpret_cast<char*>(machine->gregs[REG_RIP]);
#elif defined(__aarch64__)
    auto place = reinterpret_cast<char*>(machine->pc);
#else
    char* place = nullptr;
#endif
    Dl_info library;
    return place && dladdr(place, &library) ? std::size_t(place - static_cast<char*>(library.dli_fbase)) : 0;
}

inline void on_fault(int signal, siginfo_t*, void* context) {
    const char* what = signal == SIGFPE   ? "division by zero"
                       : signal == SIGILL ? "array index out of bounds, shift too far, or integer overflow"
                                          : "address that is not mapped, or stack overflow";
    launch->fault = place_of_fault(context);
    std::snprintf(launch->message, sizeof launch->message, "%s, block (%u, %u, %u), thread %u: %s", kernel_name,
                  blockIdx.x, blockIdx.y, blockIdx.z, fibers[current].thread, what);
    leave_failed();
}

// A fault in a kernel becomes an error of the launch, while one is under way.
class FaultGuard {
  public:
    FaultGuard() {
        stack_t stack{};
        stack.ss_sp = memory_;
        stack.ss_size = sizeof memory_;
        sigaltstack(&stack, &old_stack_);
        struct sigaction action {};
        action.sa_sigaction = on_fault;
        action.sa_flags = SA_ONSTACK | SA_SIGINFO;
        for (int i = 0; i < COUNT; ++i) sigaction(signals_[i], &action, &old_[i]);
    }
    ~FaultGuard() {
        for (int i = 0; i < COUNT; ++i) sigaction(signals_[i], &old_[i], nullptr);
        sigaltstack(&old_stack_, nullptr);
    }

  private:
    static constexpr int COUNT = 4;
    static constexpr int signals_[COUNT] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL};
    inline static char memory_[64 * 1024];
    struct sigaction old_[COUNT];
    stack_t old_stack_;
};

inline bool refuse(const char* why, unsigned long long seen, unsigned long long limit) {
    std::snprintf(launch->message, sizeof launch->message, "%s: %s is %llu; the limit is %llu", kernel_name, why, seen,
                  limit);
    return false;
}

// "Compute Capabilities", technical specifications.
inline bool check_shape(const unsigned* grid, const unsigned* threads_, unsigned bound) {
    static const unsigned grid_limits[3] = {2147483647u, 65535, 65535}, block_limits[3] = {1024, 1024, 64};
    unsigned long long total = 1ull * threads_[0] * threads_[1] * threads_[2];
    for (int i = 0; i < 3; ++i) {
        if (grid[i] == 0 || threads_[i] == 0) return refuse("a side of the grid or block", 0, grid_limits[i]);
        if (grid[i] > grid_limits[i]) return refuse("a side of the grid", grid[i], grid_limits[i]);
        if (threads_[i] > block_limits[i]) return refuse("a side of the block", threads_[i], block_limits[i]);
    }
    if (total > bound) return refuse("threads of a block (__launch_bounds__)", total, bound);
    std::size_t shared = std::size_t(__stop_cuda_host_shared - __start_cuda_host_shared);
    if (shared > SHARED_BYTES) return refuse("bytes of shared memory", shared, SHARED_BYTES);
    return true;
}

inline int run(Launch* state, const char* name, unsigned bound, const unsigned* grid, const unsigned* threads_,
               void (*kernel)()) {
    launch = state;
    kernel_name = name;
    body = kernel;
    fiber_count = idle_count = current = 0;
    if (!check_shape(grid, threads_, bound)) return 1;
    gridDim = {grid[0], grid[1], grid[2]};
    blockDim = {threads_[0], threads_[1], threads_[2]};
    FaultGuard guard;
    if (sigsetjmp(way_out, 1)) return 1;
    std::uint64_t plane = std::uint64_t(grid[0]) * grid[1], blocks = plane * grid[2];
    for (std::uint64_t turn = 0; turn < blocks; ++turn) {
        std::uint64_t i = launch->backwards ? blocks - 1 - turn : turn;
        blockIdx = {unsigned(i % grid[0]), unsigned(i % plane / grid[0]), unsigned(i / plane)};
        std::memset(__start_cuda_host_shared, 0xFF, __stop_cuda_host_shared - __start_cuda_host_shared);
        run_block();
    }
    return 0;
}

template <class Arguments> struct Entry {
    alignas(16) static inline unsigned char bytes[sizeof(Arguments)];
    static inline void (*kernel)(Arguments);
    static void call() {
        Arguments arguments;
        std::memcpy(&arguments, bytes, sizeof arguments);
        kernel(arguments);
    }
    static int launch(Launch* state, const char* name, unsigned bound, void (*entry)(Arguments), const unsigned* grid,
                      const unsigned* threads_, const void* arguments) {
        kernel = entry;
        std::memcpy(bytes, arguments, sizeof bytes);
        return run(state, name, bound, grid, threads_, &call);
    }
    static unsigned size_of(void (*)(Arguments)) { return sizeof(Arguments); }
};
template <class Arguments> Entry<Arguments> entry_of(void (*)(Arguments));

}  // namespace cuda_host

#define CUDA_HOST_EXPORT(kernel, bound)                                                                               \
    extern "C" __attribute__((visibility("default"))) unsigned host_bytes_##kernel() {                                \
        return decltype(cuda_host::entry_of(&kernel))::size_of(&kernel);                                              \
    }                                                                                                                 \
    extern "C" __attribute__((visibility("default"))) int host_launch_##kernel(                                       \
        cuda_host::Launch* state, const unsigned* grid, const unsigned* threads, const void* arguments) {             \
        return decltype(cuda_host::entry_of(&kernel))::launch(state, #kernel, (bound), &kernel, grid, threads,        \
                                                              arguments);                                             \
    }
