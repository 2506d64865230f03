// The second pass of a product whose K was split: the parts are added, always in the same order.
// One thread owns one number of the result.

#include "gemm.cuh"

// parts (BATCH, NUMBER, SIZE) -> y (BATCH, SIZE), `count` numbers, finished as the columns of a product are.
__global__ void sum_parts(const float* parts, const float* bias, float* y, int count, int size, int columns, int number,
                          int clip) {
    int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
    if (i >= count) return;
    int batch = i / size;
    const float* first = parts + static_cast<long long>(batch) * number * size + (i - batch * size);
    float total = first[0];
    for (int part = 1; part < number; ++part) total += first[static_cast<long long>(part) * size];
    y[i] = Finish{bias, clip != 0}(total, i % columns);
}
