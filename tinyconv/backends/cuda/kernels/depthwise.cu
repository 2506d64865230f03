// Depthwise convolution: each channel of images (N, H, W, C) has a kernel of its own, kernels (KH, KW, 1, C). There is
// no product of matrices in it, so one thread owns one number of the result: an output (N, OH, OW, C) in `depthwise`,
// an input (N, H, W, C) in `depthwise_input_grad`. In `depthwise_weight_grad` it owns one part of the sum for a number
// of the kernel: threads are (PARTS, KH*KW, C), pixels N*OH*OW are dealt out to the parts in runs of `part`, and
// `sum_parts` adds the parts. All in float32; neighbouring threads own neighbouring channels.

#include "window.cuh"

// x, w, b -> y; `clip`: then max(y, 0), where NaN stays.
__global__ void depthwise(const float* x, const float* w, const float* b, float* y, Window window, int count,
                          int clip) {
    int i = this_thread();
    if (i >= count) return;
    int c = window.channel.remainder(i, window.channel.divide(i));
    float total = 0;
    for_each_input(i, window, [&](int tap, int place) { total += x[place] * w[tap * window.channels + c]; });
    if (b) total += b[c];
    y[i] = clip && total < 0 ? 0 : total;
}

// dy, w -> dx
__global__ void depthwise_input_grad(const float* dy, const float* w, float* dx, Window window, int count) {
    int i = this_thread();
    if (i >= count) return;
    int c = window.channel.remainder(i, window.channel.divide(i));
    float total = 0;
    for_each_output(i, window, [&](int tap, int place) { total += dy[place] * w[tap * window.channels + c]; });
    dx[i] = total;
}

// x, dy -> parts of dw (PARTS, KH*KW, C)
__global__ void depthwise_weight_grad(const float* x, const float* dy, float* parts, Window window, int count,
                                      int pixels, int part) {
    int i = this_thread();
    if (i >= count) return;
    int taps = window.kernel_h * window.kernel_w, rest = window.channel.divide(i);
    int c = window.channel.remainder(i, rest), first = rest / taps * part, tap = rest % taps;
    int down = tap / window.kernel_w * window.step_h - window.top;
    int along = tap % window.kernel_w * window.step_w - window.left;
    float total = 0;
    for (int pixel = first; pixel < min(pixels, first + part); ++pixel) {
        int row = window.out_line.divide(pixel), n = window.out_plane.divide(row);
        int h = window.out_plane.remainder(row, n) * window.stride_h + down;
        int w = window.out_line.remainder(pixel, row) * window.stride_w + along;
        if (window.inside(h, w)) total += x[window.input(n, h, w, c)] * dy[pixel * window.channels + c];
    }
    parts[i] = total;
}
