// What a launch shares with the driver in Python: live objects, counts, and the way out of a failed kernel.
//
// Test tool. The structures are mirrored by images.py and program.py beside this file.
#pragma once

#include <csetjmp>
#include <cstdarg>
#include <cstdint>
#include <cstdio>
#include <cstring>

namespace cuda_host {

constexpr unsigned MAX_LEVELS = 16;

// What one texture or surface object reaches. A level is (layers, height, width, channels), packed.
struct Image {
    std::uint32_t kind;        // TEXTURE, POINTS or SURFACE
    std::uint32_t alive;       // 0 once the object was destroyed
    std::uint32_t element;     // UNSIGNED8, FLOAT16 or FLOAT32
    std::uint32_t channels;    // 1 or 4
    std::uint32_t layers;      // 0: the array is not layered
    std::uint32_t levels;
    std::uint32_t normalised;  // 8-bit texels read as k/255
    std::uint32_t width, height;
    std::uint32_t handle_low;  // for messages
    std::uint64_t data[MAX_LEVELS];
};
static_assert(sizeof(Image) == 10 * 4 + MAX_LEVELS * 8, "differs from images.py");
enum Kind : std::uint32_t { TEXTURE = 1, POINTS = 2, SURFACE = 3 };
enum Element : std::uint32_t { UNSIGNED8 = 0, FLOAT16 = 1, FLOAT32 = 2 };

struct Launch {
    Image** objects;             // by the low half of an object's handle
    std::uint64_t object_count;
    void** stacks;               // one a fiber, made when first needed, shared by all programs
    std::uint64_t outside_reads; // surface accesses beyond the array in Zero mode
    std::uint64_t outside_writes;
    std::uint64_t backwards;     // threads and blocks run last first, to find what hangs on their order
    std::uint64_t fault;         // where in the library a kernel broke down, 0 where it did not
    char message[1024];          // why the launch failed
};

static_assert(sizeof(Launch) == 7 * 8 + 1024, "differs from program.py");

static Launch* launch;            // the one under way; the driver runs one at a time
static sigjmp_buf way_out;

// Ends the launch: the other threads of the block are abandoned, the driver raises DeviceCallError.
[[noreturn]] __attribute__((noinline)) static void leave_failed() { siglongjmp(way_out, 1); }

}  // namespace cuda_host
