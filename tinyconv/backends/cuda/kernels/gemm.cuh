// The tile that every contraction is made of: (M, K) @ (K, N) -> (M, N).
//
// One block computes TILE_M x TILE_N cells of the result. It walks along K in steps of DEPTH; the next STAGES - 1 steps
// of both operands are on their way into shared memory while one is multiplied. A warp owns WARP_M x WARP_N cells of
// the tile, in registers. Blocks: x = tile (those of one row of tiles follow each other, for they share what they read of
// the left operand), y = part of K ("split-K"), z = matrix of a batch, or group.
//
// An operand is a struct that says where its numbers are, so that no matrix has to be stored:
//   K_CONTIGUOUS     whether neighbours along K, or along its row axis (M or N), are neighbours in memory
//   Row row(int)     what is to be known of a row (m or n)
//   Col col(int)     what is to be known of a place along K
//   at(Row, Col)     the number's address; null where there is 0
// Copies take VEC neighbours at once; the launch sees to it that they are aligned and all inside or all outside.

#pragma once
#include "divisor.cuh"

constexpr int DEPTH = 16, STAGES = 4, WARP_N = 32;

template <int TILE_M, int TILE_N>
constexpr int THREADS_OF = TILE_M * TILE_N < 16384 ? 128 : 256;

// A stored matrix: `pitch` numbers lie between two rows (K_CONTIGUOUS), or between two places along K.
template <bool K_CONTIGUOUS_>
struct Matrix {
    static constexpr bool K_CONTIGUOUS = K_CONTIGUOUS_;
    using Row = int;
    using Col = int;
    const float* data;
    int rows, pitch;

    DEVICE Row row(int m) const { return m; }
    DEVICE Col col(int k) const { return k; }
    DEVICE const float* at(Row m, Col k) const {
        if (m >= rows) return nullptr;
        return data + (K_CONTIGUOUS ? static_cast<long long>(m) * pitch + k : static_cast<long long>(k) * pitch + m);
    }
};

// Where the ROWS x DEPTH numbers of an operand's step lie in shared memory, so that no two lanes of a warp that read a
// fragment or a quad of it want different words of one bank.
template <bool K_CONTIGUOUS, int ROWS>
struct Staged {
    static constexpr int PITCH = K_CONTIGUOUS ? DEPTH + 4 : ROWS + 8;
    static constexpr int SIZE = (K_CONTIGUOUS ? ROWS : DEPTH) * PITCH;

    DEVICE static int index(int row, int k) { return K_CONTIGUOUS ? row * PITCH + k : k * PITCH + row; }

    // 4 rows x 4 places along K for one of LANES lanes. Its p-th quad holds the rows `quad_row`.
    template <int LANES>
    DEVICE static int quad_row(int lane, int p, int i) {
        return K_CONTIGUOUS ? lane + LANES * (i + 4 * p) : 4 * (lane + LANES * p) + i;
    }
    template <int LANES>
    DEVICE static void load_quad(float (&quad)[4][4], const float* stage, int row0, int lane, int p, int k) {
        for (int i = 0; i < 4; ++i) {
            int row = row0 + (K_CONTIGUOUS ? quad_row<LANES>(lane, p, i) : quad_row<LANES>(lane, p, 0));
            float4 four = *reinterpret_cast<const float4*>(stage + (K_CONTIGUOUS ? index(row, k) : index(row, k + i)));
            float values[4] = {four.x, four.y, four.z, four.w};
            for (int j = 0; j < 4; ++j) (K_CONTIGUOUS ? quad[i][j] : quad[j][i]) = values[j];
        }
    }
};

// Copies an operand's steps into shared memory. A thread keeps its place along the contiguous axis, and its rows.
template <class Operand, int ROWS, int VEC, int THREADS>
struct Loader {
    using Place = Staged<Operand::K_CONTIGUOUS, ROWS>;
    static constexpr int WIDTH = (Operand::K_CONTIGUOUS ? DEPTH : ROWS) / VEC;  // copies along the contiguous axis
    static constexpr int STRIDE = THREADS / WIDTH;                              // lines that all threads copy at once
    static constexpr int COUNT = (Operand::K_CONTIGUOUS ? ROWS : DEPTH) / STRIDE;
    static_assert(WIDTH * STRIDE == THREADS, "threads must fill lines");
    static_assert(COUNT * STRIDE == (Operand::K_CONTIGUOUS ? ROWS : DEPTH), "lines must be shared out evenly");

    const Operand& operand;
    const int across, line;
    typename Operand::Row rows[Operand::K_CONTIGUOUS ? COUNT : 1];

    DEVICE Loader(const Operand& operand, int row0)
        : operand(operand), across(threadIdx.x % WIDTH * VEC), line(threadIdx.x / WIDTH) {
        if (Operand::K_CONTIGUOUS) {
#pragma unroll
            for (int i = 0; i < COUNT; ++i) rows[i] = operand.row(row0 + line + i * STRIDE);
        } else {
            rows[0] = operand.row(row0 + across);
        }
    }

    DEVICE void load(float* stage, int k0, int k_end) const {
        if (Operand::K_CONTIGUOUS) {
            int k = k0 + across;
            typename Operand::Col col = operand.col(k);
#pragma unroll
            for (int i = 0; i < COUNT; ++i)
                copy(stage + Place::index(line + i * STRIDE, across), rows[i], col, k < k_end);
        } else {
#pragma unroll
            for (int i = 0; i < COUNT; ++i) {
                int k = k0 + line + i * STRIDE;
                copy(stage + Place::index(across, line + i * STRIDE), rows[0], operand.col(k), k < k_end);
            }
        }
    }

    DEVICE void copy(float* to, typename Operand::Row row, typename Operand::Col col, bool inside) const {
        const float* from = inside ? operand.at(row, col) : nullptr;
        copy_async<VEC>(to, from ? from : operand.data, from != nullptr);
    }
};

// A warp's cells on the tensor cores: TF32 products, float32 sums.
template <int WARP_M, class PlaceA, class PlaceB>
struct TensorCores {
    static constexpr int ROWS = WARP_M / 16, COLUMNS = WARP_N / 8;
    float sums[ROWS][COLUMNS][4] = {};

    DEVICE void multiply(const float* a, const float* b, int row0, int column0, int lane) {
        int group = lane / 4, place = lane % 4;
#pragma unroll
        for (int k = 0; k < DEPTH; k += 8) {
            unsigned left[ROWS][4], right[COLUMNS][2];
#pragma unroll
            for (int i = 0; i < ROWS; ++i)
#pragma unroll
                for (int part = 0; part < 4; ++part) {
                    int row = row0 + 16 * i + group + part % 2 * 8;
                    left[i][part] = to_tf32(a[PlaceA::index(row, k + place + part / 2 * 4)]);
                }
#pragma unroll
            for (int j = 0; j < COLUMNS; ++j)
#pragma unroll
                for (int part = 0; part < 2; ++part)
                    right[j][part] = to_tf32(b[PlaceB::index(column0 + 8 * j + group, k + place + part * 4)]);
#pragma unroll
            for (int i = 0; i < ROWS; ++i)
#pragma unroll
                for (int j = 0; j < COLUMNS; ++j) mma_16x8x8(sums[i][j], left[i], right[j]);
        }
    }

    template <class Result>
    DEVICE void store(const Result& result, int row0, int column0, int lane) const {
#pragma unroll
        for (int i = 0; i < ROWS; ++i)
#pragma unroll
            for (int part = 0; part < 2; ++part) {
                int row = row0 + 16 * i + lane / 4 + 8 * part;
                if (row >= result.rows) continue;
                float* line = result.line(row);
#pragma unroll
                for (int j = 0; j < COLUMNS; ++j)
                    result.store_pair(line, column0 + 8 * j + lane % 4 * 2, sums[i][j] + 2 * part);
            }
    }
};

// A warp's cells on the ordinary cores, in float32 throughout: its lanes form 4 rows of 8.
template <int WARP_M, class PlaceA, class PlaceB>
struct OrdinaryCores {
    static constexpr int LANES_M = 4, LANES_N = 8, QUADS = WARP_M / LANES_M / 4;
    float sums[QUADS][4][4] = {};

    DEVICE void multiply(const float* a, const float* b, int row0, int column0, int lane) {
#pragma unroll
        for (int k = 0; k < DEPTH; k += 4) {
            float right[4][4];
            PlaceB::template load_quad<LANES_N>(right, b, column0, lane % LANES_N, 0, k);
#pragma unroll
            for (int p = 0; p < QUADS; ++p) {
                float left[4][4];
                PlaceA::template load_quad<LANES_M>(left, a, row0, lane / LANES_N, p, k);
#pragma unroll
                for (int d = 0; d < 4; ++d)
#pragma unroll
                    for (int i = 0; i < 4; ++i)
#pragma unroll
                        for (int j = 0; j < 4; ++j) sums[p][i][j] += left[i][d] * right[j][d];
            }
        }
    }

    template <class Result>
    DEVICE void store(const Result& result, int row0, int column0, int lane) const {
#pragma unroll
        for (int p = 0; p < QUADS; ++p)
#pragma unroll
            for (int i = 0; i < 4; ++i) {
                int row = row0 + PlaceA::template quad_row<LANES_M>(lane / LANES_N, p, i);
                if (row >= result.rows) continue;
                float* line = result.line(row);
#pragma unroll
                for (int j = 0; j < 4; ++j)
                    result.store(line, column0 + PlaceB::template quad_row<LANES_N>(lane % LANES_N, 0, j),
                                 sums[p][i][j]);
            }
    }
};

template <bool CONDITION, class Yes, class No>
struct Choice {
    using Type = Yes;
};
template <class Yes, class No>
struct Choice<false, Yes, No> {
    using Type = No;
};

// What is done to a sum before it is stored.
struct Finish {
    const float* bias;  // one for each column, or null
    bool clip;          // max(sum, 0); NaN stays

    DEVICE float operator()(float sum, int column) const {
        if (bias) sum += bias[column];
        return clip && sum < 0 ? 0 : sum;
    }
};

// Rows of the result, `columns` numbers each; `pitch` numbers lie from row to row.
struct Rows {
    float* data;
    int rows, columns, pitch;
    Finish finish;

    DEVICE float* line(int row) const { return data + static_cast<long long>(row) * pitch; }
    DEVICE void store(float* line, int column, float value) const {
        if (column < columns) line[column] = finish(value, column);
    }
    DEVICE void store_pair(float* line, int column, const float* pair) const {
        if (columns % 2 == 0 && column < columns) {  // both are inside, and aligned
            *reinterpret_cast<float2*>(line + column) =
                make_float2(finish(pair[0], column), finish(pair[1], column + 1));
        } else {
            store(line, column, pair[0]);
            store(line, column + 1, pair[1]);
        }
    }
};

// Part `blockIdx.y` of K, `part` long, of the product's tile `blockIdx.x`.
template <int TILE_M, int TILE_N, int VEC, bool STRICT, class A, class B, class Result>
DEVICE void multiply_tile(const A& a, const B& b, const Result& result, int depth, int part) {
    constexpr int THREADS = THREADS_OF<TILE_M, TILE_N>, WARPS_N = TILE_N / WARP_N;
    constexpr int WARP_M = TILE_M * WARPS_N * 32 / THREADS;
    using LoaderA = Loader<A, TILE_M, VEC, THREADS>;
    using LoaderB = Loader<B, TILE_N, VEC, THREADS>;
    using PlaceA = typename LoaderA::Place;
    using PlaceB = typename LoaderB::Place;
    constexpr int STAGE = PlaceA::SIZE + PlaceB::SIZE;

    int tiles_n = (result.columns + TILE_N - 1) / TILE_N;
    int row0 = blockIdx.x / tiles_n * TILE_M, column0 = blockIdx.x % tiles_n * TILE_N;
    int k_begin = blockIdx.y * part, k_end = min(depth, k_begin + part);
    int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    int warp_row = warp / WARPS_N * WARP_M, warp_column = warp % WARPS_N * WARP_N;

    float* stages = shared_memory();
    LoaderA load_a(a, row0);
    LoaderB load_b(b, column0);
    auto load = [&](int stage, int k) {
        if (k < k_end) {
            load_a.load(stages + stage * STAGE, k, k_end);
            load_b.load(stages + stage * STAGE + PlaceA::SIZE, k, k_end);
        }
        commit_copies();  // an empty group too: groups are counted
    };
    typename Choice<STRICT, OrdinaryCores<WARP_M, PlaceA, PlaceB>, TensorCores<WARP_M, PlaceA, PlaceB>>::Type cores;

#pragma unroll
    for (int stage = 0; stage < STAGES - 1; ++stage) load(stage, k_begin + stage * DEPTH);
    int stage = 0;
    for (int k = k_begin; k < k_end; k += DEPTH) {
        wait_copies<STAGES - 2>();
        __syncthreads();  // this step has arrived for all threads, and all have done with the one before
        load((stage + STAGES - 1) % STAGES, k + (STAGES - 1) * DEPTH);
        const float* here = stages + stage * STAGE;
        cores.multiply(here, here + PlaceA::SIZE, warp_row, warp_column, lane);
        stage = (stage + 1) % STAGES;
    }
    cores.store(result, row0 + warp_row, column0 + warp_column, lane);
}
