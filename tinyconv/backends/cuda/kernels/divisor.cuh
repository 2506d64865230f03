// Indices are taken apart by division, and the GPU has no instruction for it.

#pragma once
#include "ptx.cuh"

// Division by a number that the launch knows, for 0 <= n < 2^31.
// Source: T. Granlund and P. Montgomery, "Division by invariant integers using multiplication", PLDI 1994.
struct Divisor {
    unsigned divisor, magic, shift;

    DEVICE int divide(int n) const { return static_cast<int>((high_product(n, magic) + n) >> shift); }
    DEVICE int remainder(int n, int quotient) const { return n - quotient * static_cast<int>(divisor); }
};
