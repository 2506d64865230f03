// Pooling over images (N, H, W, C), and its adjoints. One thread owns one number of the result, so sums have one order:
// of the outputs (N, OH, OW, C) in `max_pool2d`, `max_pool2d_gather`, `sum_pool2d`, of the inputs in the other two,
// which ask which windows they lie in. Neighbouring threads own neighbouring channels.

#include "window.cuh"

// The largest number of each window and its tap: the first among equals, NaN wins.
template <class T, class Tap>
__global__ void max_pool2d(const T* x, T* y, Tap* taps, Window window, int count) {
    int i = this_thread();
    if (i >= count) return;
    T best = 0;
    int chosen = -1;
    for_each_input(i, window, [&](int tap, int place) {
        T value = x[place];
        bool better = value > best || (value != value && best == best);
        if (chosen < 0 || better) best = value, chosen = tap;
    });
    y[i] = best;
    taps[i] = static_cast<Tap>(chosen);
}

// Each number of dy goes to the input that its tap names: (N, OH, OW, C) -> (N, H, W, C).
template <class T, class Tap>
__global__ void max_pool2d_scatter(const T* dy, const Tap* taps, T* dx, Window window, int count) {
    int i = this_thread();
    if (i >= count) return;
    T total = 0;
    for_each_output(i, window, [&](int tap, int place) {
        if (taps[place] == tap) total += dy[place];
    });
    dx[i] = total;
}

// The input that each tap names: (N, H, W, C) -> (N, OH, OW, C).
template <class T, class Tap>
__global__ void max_pool2d_gather(const T* x, const Tap* taps, T* y, Window window, int count) {
    int i = this_thread();
    if (i >= count) return;
    Cell cell = cell_of(i, window.channel, window.out_line, window.out_plane);
    int row = taps[i] / window.kernel_w, column = taps[i] % window.kernel_w;
    int h = cell.h * window.stride_h - window.top + row * window.step_h;
    int w = cell.w * window.stride_w - window.left + column * window.step_w;
    y[i] = window.inside(h, w) ? x[window.input(cell.n, h, w, cell.c)] : T(0);
}

// The sum of each window, padding counted as 0.
template <class T>
__global__ void sum_pool2d(const T* x, T* y, Window window, int count) {
    int i = this_thread();
    if (i >= count) return;
    T total = 0;
    for_each_input(i, window, [&](int, int place) { total += x[place]; });
    y[i] = total;
}

// Each number of dy goes to all inputs under its window.
template <class T>
__global__ void sum_pool2d_spread(const T* dy, T* dx, Window window, int count) {
    int i = this_thread();
    if (i >= count) return;
    T total = 0;
    for_each_output(i, window, [&](int, int place) { total += dy[place]; });
    dx[i] = total;
}
