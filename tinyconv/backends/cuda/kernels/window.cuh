// Windows over images (N, H, W, C), each channel by itself, with outputs (N, OH, OW, C). A tap is row * KW + column.

#pragma once
#include "divisor.cuh"

struct Window {
    int height, width, channels, out_height, out_width;
    int kernel_h, kernel_w, stride_h, stride_w, top, left, step_h, step_w;
    Divisor channel, out_line, out_plane;  // C, OW, OH
    Divisor line, plane;                   // W, H
    Divisor by_stride_h, by_stride_w;

    // Address of (n, h, w, c) among inputs, of (n, oh, ow, c) among outputs.
    DEVICE int input(int n, int h, int w, int c) const { return ((n * height + h) * width + w) * channels + c; }
    DEVICE int output(int n, int oh, int ow, int c) const {
        return ((n * out_height + oh) * out_width + ow) * channels + c;
    }
    DEVICE bool inside(int h, int w) const {
        return static_cast<unsigned>(h) < height && static_cast<unsigned>(w) < width;
    }
};

struct Cell {
    int n, h, w, c;
};

DEVICE Cell cell_of(int i, const Divisor& channel, const Divisor& line, const Divisor& plane) {
    int pixel = channel.divide(i), row = line.divide(pixel), n = plane.divide(row);
    return {n, plane.remainder(row, n), line.remainder(pixel, row), channel.remainder(i, pixel)};
}

DEVICE int this_thread() { return static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x); }

// Call visit(tap, address) for every input under the window of output i that is not padding, in the order of the taps.
template <class Visit>
DEVICE void for_each_input(int i, const Window& window, Visit visit) {
    Cell cell = cell_of(i, window.channel, window.out_line, window.out_plane);
    int top = cell.h * window.stride_h - window.top, left = cell.w * window.stride_w - window.left;
    for (int row = 0; row < window.kernel_h; ++row)
        for (int column = 0; column < window.kernel_w; ++column) {
            int h = top + row * window.step_h, w = left + column * window.step_w;
            if (window.inside(h, w)) visit(row * window.kernel_w + column, window.input(cell.n, h, w, cell.c));
        }
}

// Call visit(tap, address) for every output whose window holds input i, in the order of the taps.
template <class Visit>
DEVICE void for_each_output(int i, const Window& window, Visit visit) {
    Cell cell = cell_of(i, window.channel, window.line, window.plane);
    for (int row = 0; row < window.kernel_h; ++row) {
        int down = cell.h + window.top - row * window.step_h;
        if (down < 0) break;
        int oh = window.by_stride_h.divide(down);
        if (oh >= window.out_height || window.by_stride_h.remainder(down, oh)) continue;
        for (int column = 0; column < window.kernel_w; ++column) {
            int along = cell.w + window.left - column * window.step_w;
            if (along < 0) break;
            int ow = window.by_stride_w.divide(along);
            if (ow >= window.out_width || window.by_stride_w.remainder(along, ow)) continue;
            visit(row * window.kernel_w + column, window.output(cell.n, oh, ow, cell.c));
        }
    }
}
