// Threads of a block as fibers: barriers, shuffles and votes, with every misuse an error.
//
// A fiber runs kernel threads one after the other until one has to wait; then another fiber goes on. So
// a kernel without barriers never switches. Fibers are made with ucontext and switched with
// _setjmp/_longjmp, which make no system call.
#pragma once

#include <sys/mman.h>
#include <ucontext.h>

#include "runtime.h"

struct uint3 { unsigned x, y, z; };
typedef uint3 dim3;

// Built-in variables (CUDA C++ Programming Guide, "Built-in Variables").
static uint3 threadIdx, blockIdx;
static dim3 blockDim, gridDim;
static const int warpSize = 32;

namespace cuda_host {

constexpr unsigned MAX_THREADS = 1024, WARP = 32, EVERYONE = 0xFFFFFFFFu, NOBODY = ~0u;
constexpr std::size_t STACK_BYTES = 128 * 1024;
constexpr std::uint64_t POISON = 0xFFF5A5A5FFF5A5A5u;  // NaN as float and double

enum class State : unsigned char { unstarted, running, at_barrier, in_warp, done };

struct Thread {
    State state;
    unsigned fiber;
    const char* call;       // where it waits
    int line;
    unsigned mask;          // lanes named by a warp call
    unsigned source;        // lane that a shuffle reads
    bool predicate;
    std::uint64_t value;    // given to a warp call, then what came back
    unsigned ballot;        // what a vote found
};

struct Fiber {
    jmp_buf state;
    unsigned thread;
};

struct Block {
    unsigned size, exited, arrived, next;  // threads; `next` is the first that was not started
    const char* call;                      // the barrier that some have reached
    int line;
    unsigned count;                        // predicates that held at the last barrier
    unsigned ready[MAX_THREADS];           // ring of threads that may go on
    unsigned ready_first, ready_count;
};

static Block block;
static Thread threads[MAX_THREADS];
static Fiber fibers[MAX_THREADS];
static unsigned idle[MAX_THREADS], idle_count, fiber_count, current;  // fibers; `current` is the running one
static jmp_buf block_done;
static void (*body)();  // the kernel with its arguments
static const char* kernel_name;

[[noreturn]] __attribute__((noinline, format(printf, 1, 2))) static void fail(const char* format, ...) {
    unsigned thread = fibers[current].thread;
    int length = std::snprintf(launch->message, sizeof launch->message, "%s, block (%u, %u, %u), thread %u: ",
                               kernel_name, blockIdx.x, blockIdx.y, blockIdx.z, thread);
    va_list values;
    va_start(values, format);
    std::vsnprintf(launch->message + length, sizeof launch->message - length, format, values);
    va_end(values);
    leave_failed();
}

// ---------------------------------------------------------------- switching

inline void enter_thread(unsigned thread) {
    unsigned plane = blockDim.x * blockDim.y;
    fibers[current].thread = thread;
    threadIdx = {thread % blockDim.x, thread % plane / blockDim.x, thread / plane};
    threads[thread].state = State::running;
}

inline void make_ready(unsigned thread) {
    block.ready[(block.ready_first + block.ready_count++) % MAX_THREADS] = thread;
}

inline void thread_finished(unsigned thread);

// Runs threads that were not started yet; idle in between. Never returns.
[[noreturn]] __attribute__((noinline)) static void jump_on();
[[noreturn]] inline void fiber_main() {
    for (;;) {
        while (block.next < block.size) {
            unsigned turn = block.next++, thread = launch->backwards ? block.size - 1 - turn : turn;
            enter_thread(thread);
            threads[thread].fiber = current;
            body();
            thread_finished(fibers[current].thread);
        }
        idle[idle_count++] = current;
        if (_setjmp(fibers[current].state) == 0) jump_on();
    }
}

[[noreturn]] inline void start_fiber(unsigned fiber) {
    if (launch->stacks[fiber] == nullptr) {
        void* stack = mmap(nullptr, STACK_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (stack == MAP_FAILED) fail("no memory for the stack of another thread");
        mprotect(stack, 4096, PROT_NONE);  // an overflow is a fault, not a stray write
        launch->stacks[fiber] = stack;
    }
    static ucontext_t context;
    getcontext(&context);
    context.uc_stack.ss_sp = launch->stacks[fiber];
    context.uc_stack.ss_size = STACK_BYTES;
    context.uc_link = nullptr;
    makecontext(&context, reinterpret_cast<void (*)()>(&fiber_main), 0);
    setcontext(&context);
    __builtin_unreachable();
}

[[noreturn]] inline void report_deadlock() {
    char where[512] = "";
    int length = 0;
    for (unsigned first = 0; first < block.size; ++first) {
        const Thread& thread = threads[first];
        bool seen = false;
        unsigned count = 0;
        for (unsigned other = 0; other < block.size; ++other) {
            bool same = threads[other].state != State::done && threads[other].call == thread.call &&
                        threads[other].line == thread.line;
            seen |= same && other < first;
            count += same;
        }
        if (thread.state == State::done || seen || length > 400) continue;
        length += std::snprintf(where + length, sizeof where - length, "%s%u wait in %s, line %d",
                                length ? "; " : "", count, thread.call, thread.line);
    }
    fail("deadlock: %u of %u threads have ended, the others wait for each other: %s", block.exited, block.size, where);
}

[[noreturn]] inline void jump_on() {
    if (block.ready_count) {
        unsigned thread = block.ready[block.ready_first];
        block.ready_first = (block.ready_first + 1) % MAX_THREADS;
        --block.ready_count;
        current = threads[thread].fiber;
        enter_thread(thread);
        _longjmp(fibers[current].state, 1);
    }
    if (block.next < block.size) {
        if (idle_count) {
            current = idle[--idle_count];
            _longjmp(fibers[current].state, 1);
        }
        current = fiber_count++;
        start_fiber(current);
    }
    if (block.exited < block.size) report_deadlock();
    _longjmp(block_done, 1);
}

// Let others run until somebody makes this thread ready.
__attribute__((noinline)) static void wait_here() {
    if (_setjmp(fibers[current].state) == 0) jump_on();
}

inline void run_block() {
    block = Block{};
    block.size = blockDim.x * blockDim.y * blockDim.z;
    for (unsigned i = 0; i < block.size; ++i) threads[i].state = State::unstarted;
    if (_setjmp(block_done) == 0) jump_on();
}

// ---------------------------------------------------------------- block barriers

inline void complete_barrier() {
    block.count = 0;
    unsigned self = fibers[current].thread;
    for (unsigned turn = 0; turn < block.size; ++turn) {
        unsigned i = launch->backwards ? block.size - 1 - turn : turn;
        if (threads[i].state != State::at_barrier) continue;
        block.count += threads[i].predicate;
        threads[i].state = State::running;
        if (i != self) make_ready(i);
    }
    block.arrived = 0;
}

// "__syncthreads() is allowed in conditional code but only if the conditional evaluates identically across
// the entire thread block"; threads that have ended do not count (Programming Guide, "Synchronization
// Functions" and "Independent Thread Scheduling").
__attribute__((noinline)) static unsigned barrier(const char* call, int line, bool predicate) {
    Thread& self = threads[fibers[current].thread];
    if (block.arrived == 0) {
        block.call = call;
        block.line = line;
    } else if (block.line != line || std::strcmp(block.call, call) != 0) {
        fail("divergent barrier: %s in line %d, but others of the block wait in %s in line %d", call, line, block.call,
             block.line);
    }
    self.call = call;
    self.line = line;
    self.predicate = predicate;
    self.state = State::at_barrier;
    if (++block.arrived + block.exited == block.size) complete_barrier();
    else wait_here();
    return block.count;
}

// ---------------------------------------------------------------- warp calls

// Finish a warp call when every lane named in its mask, but those that have ended, takes part.
inline bool complete_warp(unsigned first, unsigned mask) {
    unsigned present = 0, ballot = 0, self = fibers[current].thread;
    std::uint64_t values[WARP];
    for (unsigned lane = 0; lane < WARP; ++lane) {
        if (!(mask >> lane & 1) || first + lane >= block.size || threads[first + lane].state == State::done) continue;
        const Thread& thread = threads[first + lane];
        if (thread.state != State::in_warp || thread.mask != mask) return false;
        present |= 1u << lane;
        ballot |= unsigned(thread.predicate) << lane;
        values[lane] = thread.value;
    }
    for (unsigned turn = 0; turn < WARP; ++turn) {
        unsigned lane = launch->backwards ? WARP - 1 - turn : turn;
        if (!(present >> lane & 1)) continue;
        Thread& thread = threads[first + lane];
        thread.value = present >> thread.source & 1 ? values[thread.source] : POISON;
        thread.ballot = ballot;
        thread.state = State::running;
        if (first + lane != self) make_ready(first + lane);
    }
    return true;
}

// "Each calling thread must have its own bit set in the mask and all non-exited threads named in mask must
// execute the same intrinsic with the same mask" (Programming Guide, "Warp Vote Functions", "Warp Shuffle
// Functions"). What a shuffle reads of a lane that takes no part is undefined there, and POISON here.
__attribute__((noinline)) static Thread& warp_call(const char* call, int line, unsigned mask, unsigned source,
                                                   bool predicate, std::uint64_t value) {
    unsigned thread = fibers[current].thread, lane = thread % WARP, first = thread - lane;
    Thread& self = threads[thread];
    if (!(mask >> lane & 1)) fail("%s in line %d: lane %u is not in its own mask %#x", call, line, lane, mask);
    for (unsigned other = 0; other < WARP && first + other < block.size; ++other) {
        const Thread& with = threads[first + other];
        // one that does not wait for this lane may finish its call and come here later
        if (with.state != State::in_warp || !(mask >> other & 1) || !(with.mask >> lane & 1)) continue;
        bool same_call = std::strcmp(with.call, call) == 0 && with.line == line;
        if (with.mask != mask || !same_call)
            fail("divergent warp: %s with mask %#x in line %d, but lane %u is in %s with mask %#x in line %d", call,
                 mask, line, other, with.call, with.mask, with.line);
    }
    self.call = call;
    self.line = line;
    self.mask = mask;
    self.source = source % WARP;
    self.predicate = predicate;
    self.value = value;
    self.state = State::in_warp;
    if (!complete_warp(first, mask)) wait_here();
    return self;
}

inline void thread_finished(unsigned thread) {
    threads[thread].state = State::done;
    ++block.exited;
    if (block.arrived && block.arrived + block.exited == block.size) complete_barrier();
    unsigned lane = thread % WARP, first = thread - lane;
    for (unsigned other = 0; other < WARP && first + other < block.size; ++other) {
        const Thread& waiting = threads[first + other];
        if (waiting.state == State::in_warp && (waiting.mask >> lane & 1)) complete_warp(first, waiting.mask);
    }
}

}  // namespace cuda_host
