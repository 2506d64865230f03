// Convolution in its three directions as implicit products of matrices: images (N, H, W, G*C), kernels (KH, KW, C, G*O)
// of G groups, of which each block sees one (blockIdx.z). Here C and O are what a group has.
//
//   forward      (N*OH*OW, KH*KW*C) @ (KH*KW*C, O) -> (N*OH*OW, O): patches of x, the kernel as it lies
//   input_grad   (N*H*W, KH*KW*O) @ (KH*KW*O, C) -> (N*H*W, C): patches of dy, the kernel read across
//   weight_grad  (KH*KW*C, N*OH*OW) @ (N*OH*OW, O) -> (KH*KW*C, O): patches of x transposed, dy as it lies
//
// The gradient for the input is again a plain correlation once the cells of x are told apart by their place between two
// strides ("phase"): cells h = PH + SH*y meet only every SH/gcd(SH, DH)-th tap, and each such tap moves by whole cells
// of dy. One launch computes one phase. Blocks and tiles: see gemm.cuh.

#include "gemm.cuh"

// The matrix (pixels, taps) of the patches of images, which is never stored: pixels are N*OH*OW places of the window,
// taps the KH*KW*C numbers under it.
struct Patches {
    int height, width, pitch, pixels, taps;  // pitch: G*C
    int stride_h, stride_w, start_h, start_w, step_h, step_w;
    Divisor plane, line;        // OH*OW, OW
    Divisor channel, tap_line;  // C, KW

    struct Pixel {
        int offset, h, w;
    };
    struct Tap {
        int h, w, c;
    };
    static constexpr int OUTSIDE = -(1 << 29);

    DEVICE Pixel pixel(int p) const {
        if (p >= pixels) return {0, OUTSIDE, 0};
        int n = plane.divide(p), rest = plane.remainder(p, n), y = line.divide(rest), x = line.remainder(rest, y);
        return {n * height * width * pitch, start_h + y * stride_h, start_w + x * stride_w};
    }
    DEVICE Tap index(int k) const {  // row, column, channel
        int tap = channel.divide(k), i = tap_line.divide(tap);
        return {i, tap_line.remainder(tap, i), channel.remainder(k, tap)};
    }
    DEVICE Tap tap(int k) const {
        if (k >= taps) return {OUTSIDE, 0, 0};
        Tap t = index(k);
        return {t.h * step_h, t.w * step_w, t.c};
    }
    DEVICE const float* at(const float* images, Pixel p, Tap t) const {
        int h = p.h + t.h, w = p.w + t.w;
        bool inside = static_cast<unsigned>(h) < height && static_cast<unsigned>(w) < width;
        return inside ? images + p.offset + (h * width + w) * pitch + t.c : nullptr;
    }
};

// Rows are pixels, K runs along the taps.
struct PixelRows {
    static constexpr bool K_CONTIGUOUS = true;
    using Row = Patches::Pixel;
    using Col = Patches::Tap;
    const float* data;
    const Patches& patches;

    DEVICE Row row(int m) const { return patches.pixel(m); }
    DEVICE Col col(int k) const { return patches.tap(k); }
    DEVICE const float* at(Row row, Col col) const { return patches.at(data, row, col); }
};

// Rows are taps, K runs along the pixels.
struct TapRows {
    static constexpr bool K_CONTIGUOUS = false;
    using Row = Patches::Tap;
    using Col = Patches::Pixel;
    const float* data;
    const Patches& patches;

    DEVICE Row row(int m) const { return patches.tap(m); }
    DEVICE Col col(int k) const { return patches.pixel(k); }
    DEVICE const float* at(Row row, Col col) const { return patches.at(data, col, row); }
};

// One phase of the gradient for the input.
struct Phase {
    int channels, pitch;  // C, G*C
    int kernel_width, tap_h, tap_w, next_h, next_w;  // KW, the first tap that meets this phase, steps to the next
    int start, image, line, cell;                    // the first cell's place in (N, H, W), steps to the next
};

// The kernel (KH, KW, C, O), rows c, along the taps and outputs (i, j, o) of a phase.
struct KernelAcross {
    static constexpr bool K_CONTIGUOUS = true;
    using Row = int;
    using Col = int;
    const float* data;
    const Patches& patches;  // of dy: its channels are the outputs
    const Phase& phase;

    DEVICE Row row(int c) const { return c; }
    DEVICE Col col(int k) const {
        Patches::Tap t = patches.index(k);
        int tap = (phase.tap_h + t.h * phase.next_h) * phase.kernel_width + phase.tap_w + t.w * phase.next_w;
        return tap * phase.channels * patches.pitch + t.c;
    }
    DEVICE const float* at(Row c, Col place) const {
        return c < phase.channels ? data + place + c * patches.pitch : nullptr;
    }
};

// Rows of a result that are the cells of one phase of (N, H, W, C).
struct PhaseRows : Rows {
    const Patches& patches;
    const Phase& phase;

    DEVICE PhaseRows(float* data, const Patches& patches, const Phase& phase)
        : Rows{data, patches.pixels, phase.channels, phase.pitch, {}}, patches(patches), phase(phase) {}
    DEVICE float* line(int row) const {
        int n = patches.plane.divide(row), rest = patches.plane.remainder(row, n);
        int y = patches.line.divide(rest), x = patches.line.remainder(rest, y);
        int cell = phase.start + n * phase.image + y * phase.line + x * phase.cell;
        return data + static_cast<long long>(cell) * pitch;
    }
};

// A part of K writes into its own (rows, pitch) of `y`, to be added up by `sum_parts`; a group into its own columns.
DEVICE float* place_of(float* y, int rows, int columns, int pitch) {
    return y + static_cast<long long>(blockIdx.y) * rows * pitch + blockIdx.z * columns;
}

template <int TILE_M, int TILE_N, int VEC, bool STRICT>
__global__ void __launch_bounds__(THREADS_OF<TILE_M, TILE_N>, 2)
    conv2d_forward(const float* x, const float* w, const float* b, float* y, Patches patches, int outputs, int clip,
                   int part) {
    int group = blockIdx.z, channels = patches.channel.divisor, pitch = outputs * gridDim.z;
    PixelRows left{x + group * channels, patches};
    Matrix<false> right{w + group * outputs, outputs, pitch};
    Finish finish{b ? b + group * outputs : nullptr, clip != 0};
    Rows result{place_of(y, patches.pixels, outputs, pitch), patches.pixels, outputs, pitch, finish};
    multiply_tile<TILE_M, TILE_N, VEC, STRICT>(left, right, result, patches.taps, part);
}

template <int TILE_M, int TILE_N, int VEC, bool STRICT>
__global__ void __launch_bounds__(THREADS_OF<TILE_M, TILE_N>, 2)
    conv2d_input_grad(const float* dy, const float* w, float* dx, Patches patches, Phase phase, int part) {
    int group = blockIdx.z, outputs = patches.channel.divisor;
    PixelRows left{dy + group * outputs, patches};
    KernelAcross right{w + group * outputs, patches, phase};
    PhaseRows result(place_of(dx, patches.pixels, phase.channels, phase.pitch), patches, phase);
    multiply_tile<TILE_M, TILE_N, VEC, STRICT>(left, right, result, patches.taps, part);
}

template <int TILE_M, int TILE_N, int VEC, bool STRICT>
__global__ void __launch_bounds__(THREADS_OF<TILE_M, TILE_N>, 2)
    conv2d_weight_grad(const float* x, const float* dy, float* dw, Patches patches, int outputs, int part) {
    int group = blockIdx.z, channels = patches.channel.divisor, pitch = outputs * gridDim.z;
    TapRows left{x + group * channels, patches};
    Matrix<false> right{dy + group * outputs, outputs, pitch};
    Rows result{place_of(dw, patches.taps, outputs, pitch), patches.taps, outputs, pitch, {}};
    multiply_tile<TILE_M, TILE_N, VEC, STRICT>(left, right, result, patches.pixels, part);
}
