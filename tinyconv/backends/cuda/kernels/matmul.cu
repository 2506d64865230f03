// Products of matrices: (..., M, K) @ (..., K, N) -> (..., M, N), either operand stored as it is or transposed.
// Blocks and tiles: see gemm.cuh.

#include "gemm.cuh"

// One operand: `pitch` numbers between its lines, `batch` between its matrices (0: the same one for all).
struct Stored {
    int pitch;
    long long batch;
};

// A_ROWS: the lines of the left operand are its rows (M); B_ROWS: the lines of the right one are its rows (K).
template <int TILE_M, int TILE_N, int VEC, bool STRICT, bool A_ROWS, bool B_ROWS>
__global__ void __launch_bounds__(THREADS_OF<TILE_M, TILE_N>, 2)
    matmul(const float* a, const float* b, float* c, Stored of_a, Stored of_b, int m, int n, int k, int part) {
    Matrix<A_ROWS> left{a + blockIdx.z * of_a.batch, m, of_a.pitch};
    Matrix<!B_ROWS> right{b + blockIdx.z * of_b.batch, n, of_b.pitch};
    long long matrix = static_cast<long long>(blockIdx.z) * gridDim.y + blockIdx.y;  // parts of K one after the other
    Rows result{c + matrix * m * n, m, n, n, {}};
    multiply_tile<TILE_M, TILE_N, VEC, STRICT>(left, right, result, k, part);
}
