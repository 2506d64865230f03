// The host's version of kernels/ptx.cuh: the same functions, without a GPU.
#pragma once
#include "fibers.h"

#define DEVICE inline

DEVICE float* shared_memory() { return shim::shared; }

// Both addresses must suit the width. `lazy` copies happen when they are waited for, the others at once: the GPU may do
// either, so a kernel must be right with both.
template <int COUNT>
void copy_async(float* to, const float* from, bool valid) {
    static_assert(COUNT == 1 || COUNT == 2 || COUNT == 4, "cp.async of 4, 8 or 16 bytes");
    if (reinterpret_cast<uintptr_t>(to) % (4 * COUNT) || reinterpret_cast<uintptr_t>(from) % (4 * COUNT))
        return shim::fail("a copy that is not aligned");
    if (to < shim::shared || to + COUNT > shim::shared + shim::shared_bytes / 4)
        return shim::fail("a copy beside the shared memory");
    if (valid && !shim::in_an_array(from, 4 * COUNT)) return shim::fail("a copy from outside of all arrays");
    shim::Copy copy{to, from, COUNT, valid};
    if (!shim::lazy) shim::happen(copy);
    shim::fibers[shim::current]->open.push_back(copy);
}

DEVICE void commit_copies() {
    shim::Fiber& fiber = *shim::fibers[shim::current];
    fiber.groups.push_back(std::move(fiber.open));
    fiber.open.clear();
}

template <int PENDING>
void wait_copies() {
    auto& groups = shim::fibers[shim::current]->groups;
    while (groups.size() > PENDING) {
        if (shim::lazy)
            for (const shim::Copy& copy : groups.front()) shim::happen(copy);
        groups.erase(groups.begin());
    }
}

// To nearest, ties away from 0: on the magnitude, adding half a unit and cutting does it.
DEVICE unsigned to_tf32(float x) {
    unsigned bits;
    memcpy(&bits, &x, 4);
    bool finite = (bits & 0x7F800000u) != 0x7F800000u;
    return finite ? (bits + 0x1000u) & ~0x1FFFu : x == x ? bits : 0x7FFFE000u;
}

// Fragments as in the PTX ISA, "Matrix fragments for mma.m16n8k8", types .tf32.
DEVICE void multiply_fragments(const shim::Fragments& warp) {
    float a[16][8], b[8][8];
    auto value = [](unsigned bits) {
        if (bits & 0x1FFFu) shim::fail("an operand of mma that was not rounded to TF32");
        float x;
        memcpy(&x, &bits, 4);
        return x;
    };
    for (int lane = 0; lane < 32; ++lane) {
        int group = lane / 4, place = lane % 4;
        for (int i = 0; i < 4; ++i) a[group + (i & 1) * 8][place + (i >> 1) * 4] = value((*warp.a[lane])[i]);
        for (int i = 0; i < 2; ++i) b[place + i * 4][group] = value((*warp.b[lane])[i]);
    }
    for (int lane = 0; lane < 32; ++lane)
        for (int i = 0; i < 4; ++i) {
            int row = lane / 4 + (i >> 1) * 8, column = lane % 4 * 2 + (i & 1);
            double sum = (*warp.d[lane])[i];
            for (int k = 0; k < 8; ++k) sum += static_cast<double>(a[row][k]) * b[k][column];
            (*warp.d[lane])[i] = static_cast<float>(sum);
        }
}

DEVICE void mma_16x8x8(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
    unsigned thread = shim::fibers[shim::current]->thread, warp = thread / 32, lane = thread % 32;
    shim::Fragments& fragments = shim::fragments[warp];
    fragments.a[lane] = &a, fragments.b[lane] = &b, fragments.d[lane] = &d;
    shim::meet(shim::warp_barriers[warp], 32, [&] { multiply_fragments(fragments); });
}

DEVICE unsigned high_product(unsigned x, unsigned y) {
    return static_cast<unsigned>((static_cast<unsigned long long>(x) * y) >> 32);
}

DEVICE unsigned short half_bits(float x) {
    _Float16 half = static_cast<_Float16>(x);
    unsigned short bits;
    memcpy(&bits, &half, 2);
    return bits;
}
