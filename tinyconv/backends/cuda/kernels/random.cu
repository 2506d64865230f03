// Uniform numbers in [0, 1) by a counter: number i is a function of the key and of i alone, the same as in the
// reference. One thread owns the 4 words of one counter, hence 4 numbers (2 doubles).
// Source: J. Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC11 (Philox4x32-10).

#include "ptx.cuh"

using Word = unsigned;
using Wide = unsigned long long;

DEVICE void philox(Wide counter, Wide key, Word (&x)[4]) {
    Word k0 = static_cast<Word>(key), k1 = static_cast<Word>(key >> 32);
    x[0] = static_cast<Word>(counter), x[1] = static_cast<Word>(counter >> 32), x[2] = 0, x[3] = 0;
    for (int round = 0; round < 10; ++round) {
        Wide p0 = x[0] * 0xD2511F53ull, p1 = x[2] * 0xCD9E8D57ull;
        x[0] = static_cast<Word>(p1 >> 32) ^ x[1] ^ k0, x[1] = static_cast<Word>(p1);
        x[2] = static_cast<Word>(p0 >> 32) ^ x[3] ^ k1, x[3] = static_cast<Word>(p0);
        k0 += 0x9E3779B9u, k1 += 0xBB67AE85u;
    }
}

// The numbers that 4 words make; returns how many.
DEVICE int numbers_of(const Word (&x)[4], float (&numbers)[4]) {
    for (int i = 0; i < 4; ++i) numbers[i] = static_cast<float>(x[i] >> 8) * 0x1p-24f;
    return 4;
}
DEVICE int numbers_of(const Word (&x)[4], unsigned short (&numbers)[4]) {  // halves
    for (int i = 0; i < 4; ++i) numbers[i] = half_bits(static_cast<float>(x[i] >> 21) * 0x1p-11f);
    return 4;
}
DEVICE int numbers_of(const Word (&x)[4], double (&numbers)[4]) {
    for (int i = 0; i < 2; ++i) numbers[i] = ((x[2 * i] >> 5) * 67108864.0 + (x[2 * i + 1] >> 6)) * 0x1p-53;
    return 2;
}

// `fresh`, where it is not null, holds the key in the GPU's memory: a recorded launch draws new numbers by it.
template <class T>
__global__ void random_uniform(T* y, long long count, Wide key, const Wide* fresh) {
    Wide counter = static_cast<Wide>(blockIdx.x) * blockDim.x + threadIdx.x;
    Word words[4];
    T numbers[4];
    philox(counter, fresh ? *fresh : key, words);
    int each = numbers_of(words, numbers);
    for (int i = 0; i < each; ++i) {
        long long place = static_cast<long long>(counter) * each + i;
        if (place < count) y[place] = numbers[i];
    }
}
