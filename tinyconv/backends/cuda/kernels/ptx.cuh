// What C++ cannot say: the instructions of the GPU, one function each. The kernels have no other inline assembly.

#pragma once

#define DEVICE __device__ __forceinline__

// The block's shared memory; the launch says how much of it there is.
DEVICE float* shared_memory() {
    extern __shared__ float4 memory[];
    return reinterpret_cast<float*>(memory);
}

// Start to copy COUNT (1, 2 or 4) floats from global to shared memory; zeros where not `valid`.
template <int COUNT>
DEVICE void copy_async(float* to, const float* from, bool valid) {
    unsigned place = static_cast<unsigned>(__cvta_generic_to_shared(to));
    int bytes = valid ? 4 * COUNT : 0;
    if (COUNT == 4)
        asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(place), "l"(from), "r"(bytes) : "memory");
    else
        asm volatile("cp.async.ca.shared.global [%0], [%1], %3, %2;" ::"r"(place), "l"(from), "r"(bytes), "n"(4 * COUNT)
                     : "memory");
}

// The copies that this thread started since the last call are a group.
DEVICE void commit_copies() { asm volatile("cp.async.commit_group;" ::: "memory"); }

// Wait until no more than PENDING of this thread's groups are under way.
template <int PENDING>
DEVICE void wait_copies() {
    asm volatile("cp.async.wait_group %0;" ::"n"(PENDING) : "memory");
}

// x rounded to TF32 (10 bits of fraction), to nearest, ties away from 0.
DEVICE unsigned to_tf32(float x) {
    unsigned bits;
    asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(bits) : "f"(x));
    return bits;
}

// d += a b for (16, 8) @ (8, 8), spread over a warp. With group = lane / 4 and place = lane % 4, a lane holds
// a: (group, place), (group + 8, place), (group, place + 4), (group + 8, place + 4);
// b: (place, group), (place + 4, group);
// d: (group, 2 place), (group, 2 place + 1), (group + 8, 2 place), (group + 8, 2 place + 1).
DEVICE void mma_16x8x8(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
    asm volatile(
        "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 "
        "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

// The upper half of the product.
DEVICE unsigned high_product(unsigned x, unsigned y) { return __umulhi(x, y); }

// x as the bits of a half.
DEVICE unsigned short half_bits(float x) {
    unsigned short bits;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(bits) : "f"(x));
    return bits;
}
