// A GPU made of one host thread: every thread of a block is a fiber with a stack of its own, and the fibers take turns
// wherever the GPU's threads would wait for each other. Blocks run one after the other. Mistakes that a GPU would pass
// over in silence are failures here: see `fail`.
#pragma once

#include <setjmp.h>
#include <ucontext.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <utility>
#include <vector>

#define __global__
#define __device__
#define __forceinline__ inline
#define __launch_bounds__(...)

struct alignas(16) float4 {
    float x, y, z, w;
};
struct alignas(8) float2 {
    float x, y;
};
inline float2 make_float2(float x, float y) { return {x, y}; }
using std::min;

namespace shim {

struct Index {
    unsigned x = 0, y = 0, z = 0;
};

struct Copy {  // one that was started, and may not have happened yet
    float* to;
    const float* from;
    int count;
    bool valid;
};

struct Fiber {
    ucontext_t start;
    jmp_buf here;
    std::unique_ptr<char[]> stack{new char[STACK]};
    unsigned thread = 0;
    bool started = false, done = false;
    std::vector<std::vector<Copy>> groups;  // committed
    std::vector<Copy> open;
    static constexpr size_t STACK = 64 * 1024;
};

struct Barrier {
    unsigned arrived = 0, generation = 0;
};

struct Fragments {  // what the lanes of a warp bring to one mma
    const unsigned (*a[32])[4];
    const unsigned (*b[32])[2];
    float (*d[32])[4];
};

inline std::vector<std::unique_ptr<Fiber>> fibers;  // reused from block to block
inline unsigned threads, current, unfinished;
inline long idle;  // turns since something happened
inline int step;   // +1 or -1: in which order the fibers take turns
inline bool lazy;  // whether a copy happens as late, or as early, as it may
inline const char* failure;
inline std::vector<std::pair<uintptr_t, uintptr_t>> arrays;  // where the launch's arrays begin and end
inline Barrier block_barrier, warp_barriers[32];
inline Fragments fragments[32];
inline Index block_index, grid_size;
inline float* shared;
inline size_t shared_bytes;
inline ucontext_t host;
inline void (*kernel)(void**);
inline void** kernel_arguments;

inline void fail(const char* what) {
    if (!failure) failure = what;
}

inline void run_fiber() {
    kernel(kernel_arguments);
    Fiber& fiber = *fibers[current];
    if (!fiber.open.empty()) fail("copies were started and never committed");
    fiber.done = true;
    --unfinished;
    idle = 0;
}

// Let the next fiber that is not done go on; back to the host when there is none, or nothing can happen any more.
[[gnu::noinline]] inline void switch_from(Fiber* fiber) {
    if (fiber && _setjmp(fiber->here)) return;
    if (!unfinished || ++idle > 4l * threads) {
        if (unfinished) fail("threads wait for each other forever");
        setcontext(&host);
    }
    do current = (current + threads + step) % threads;
    while (fibers[current]->done);
    Fiber& next = *fibers[current];
    if (next.started) _longjmp(next.here, 1);
    next.started = true;
    setcontext(&next.start);
}

inline void enter() {
    run_fiber();
    switch_from(nullptr);
}

// Wait until all `members` have come; the last one to come does `work` first.
template <class Work>
void meet(Barrier& barrier, unsigned members, Work work) {
    idle = 0;
    if (++barrier.arrived == members) {
        work();
        barrier.arrived = 0;
        ++barrier.generation;
        return;
    }
    unsigned generation = barrier.generation;
    while (barrier.generation == generation) switch_from(fibers[current].get());
}

inline bool in_an_array(const void* address, size_t bytes) {
    auto first = reinterpret_cast<uintptr_t>(address);
    return std::any_of(arrays.begin(), arrays.end(),
                       [&](auto range) { return range.first <= first && first + bytes <= range.second; });
}

inline void happen(const Copy& copy) {
    for (int i = 0; i < copy.count; ++i) copy.to[i] = copy.valid ? copy.from[i] : 0.0f;
}

inline void run_block() {
    while (fibers.size() < threads) fibers.emplace_back(new Fiber);
    for (unsigned i = 0; i < threads; ++i) {
        Fiber& fiber = *fibers[i];
        fiber.thread = i, fiber.started = fiber.done = false;
        fiber.groups.clear(), fiber.open.clear();
        getcontext(&fiber.start);
        fiber.start.uc_stack.ss_sp = fiber.stack.get();
        fiber.start.uc_stack.ss_size = Fiber::STACK;
        fiber.start.uc_link = nullptr;
        makecontext(&fiber.start, enter, 0);
    }
    block_barrier = Barrier();
    for (Barrier& barrier : warp_barriers) barrier = Barrier();
    unfinished = threads, idle = 0, current = step > 0 ? threads - 1 : 0;
    volatile bool back = false;
    getcontext(&host);
    if (back) return;
    back = true;
    switch_from(nullptr);
}

template <class... Parameters, size_t... I>
void apply(void (*function)(Parameters...), void** arguments, std::index_sequence<I...>) {
    function(*static_cast<Parameters*>(arguments[I])...);
}
template <class... Parameters>
void apply(void (*function)(Parameters...), void** arguments) {
    apply(function, arguments, std::index_sequence_for<Parameters...>());
}
template <auto KERNEL>
void invoke(void** arguments) {
    apply(KERNEL, arguments);
}

// Run all blocks. Shared memory is full of NaN when a block begins, and so is what lies around it.
inline const char* launch(void (*function)(void**), const unsigned* grid, unsigned block, size_t bytes,
                          void** arguments, bool copies_late, bool backwards) {
    constexpr size_t MARGIN = 1024;
    std::vector<float4> memory(bytes / 16 + 2 * MARGIN / 16 + 1);
    auto* first = reinterpret_cast<unsigned char*>(memory.data());
    kernel = function, kernel_arguments = arguments, threads = block, lazy = copies_late, step = backwards ? -1 : 1;
    failure = nullptr, shared = reinterpret_cast<float*>(first + MARGIN), shared_bytes = bytes;
    grid_size = {grid[0], grid[1], grid[2]};
    for (block_index.z = 0; block_index.z < grid[2]; ++block_index.z)
        for (block_index.y = 0; block_index.y < grid[1]; ++block_index.y)
            for (block_index.x = 0; block_index.x < grid[0] && !failure; ++block_index.x) {
                memset(first, 0xFF, memory.size() * 16);
                run_block();
                auto stained = [](unsigned char byte) { return byte != 0xFF; };
                if (std::any_of(first, first + MARGIN, stained) ||
                    std::any_of(first + MARGIN + bytes, first + MARGIN + bytes + MARGIN, stained))
                    fail("a write beside the shared memory");
            }
    return failure;
}

}  // namespace shim

#define threadIdx (shim::Index{shim::fibers[shim::current]->thread, 0, 0})
#define blockIdx shim::block_index
#define gridDim shim::grid_size
#define blockDim (shim::Index{shim::threads, 1, 1})

inline void __syncthreads() {
    shim::meet(shim::block_barrier, shim::threads, [] {});
}
