"""Dropout drawn from a counter: the same stream on both backends, and on a resumed run.

The bits are Philox4x64-10 (J. Salmon et al., "Parallel Random Numbers: As Easy as 1, 2, 3", SC 2011), as
`numpy.random.Philox` has them, with key (seed, 0) and counter (block + 1, 0, step, layer). A block gives 32
bytes, little-endian; unit i is dropped when byte i % 32 of block i / 32 is below `threshold(rate)`. One byte
a unit rounds the rate to a multiple of 1/256; four would take longer than a small network's matrix products.
"""

from __future__ import annotations

import numpy as np

from services.training.compute.kernels.launch import Array, Kernels, blocks_for

CUDA = r"""
__device__ void philox4x64_10(unsigned long long c[4], unsigned long long k0, unsigned long long k1) {
    for (int round = 0; round < 10; ++round) {
        unsigned long long low0 = 0xD2E7470EE14C6C93ULL * c[0];
        unsigned long long low1 = 0xCA5A826395121157ULL * c[2];
        unsigned long long high0 = __umul64hi(0xD2E7470EE14C6C93ULL, c[0]);
        unsigned long long high1 = __umul64hi(0xCA5A826395121157ULL, c[2]);
        unsigned long long c1 = c[1], c3 = c[3];
        c[0] = high1 ^ c1 ^ k0;
        c[1] = low1;
        c[2] = high0 ^ c3 ^ k1;
        c[3] = low0;
        k0 += 0x9E3779B97F4A7C15ULL;
        k1 += 0xBB67AE8584CAA73BULL;
    }
}

// One thread per Philox block of 32 units.
extern "C" __global__ void dropout(float* units, long long size, unsigned long long seed, long long step,
                                   long long layer, long long threshold, float gain) {
    long long block = blockIdx.x * (long long)blockDim.x + threadIdx.x;
    if (block * 32 >= size) return;
    unsigned long long c[4] = {block + 1ULL, 0ULL, (unsigned long long)step, (unsigned long long)layer};
    philox4x64_10(c, seed, 0ULL);
    for (int j = 0; j < 32 && block * 32 + j < size; ++j) {
        long long byte = (c[j / 8] >> (8 * (j % 8))) & 255ULL;
        long long i = block * 32 + j;
        units[i] = byte < threshold ? 0.0f : units[i] * gain;
    }
}
"""

_UNITS_PER_BLOCK = 32


def dropout(kernels: Kernels, units: Array, rate: float, seed: int, *, step: int, layer: int) -> None:
    """Zeroes about `rate` of `units` and multiplies the others by `gain(rate)`, in place.

    Which units go depends on (seed, step, layer) and the unit's position alone. seed: 0 to 2⁶⁴ − 1.
    """
    cut = threshold(rate)
    if not cut:
        return
    if kernels.on_device:
        blocks = -(-units.size // _UNITS_PER_BLOCK)
        arguments = (units, units.size, np.uint64(seed), step, layer, cut, gain(rate))
        kernels.launch(CUDA, "dropout", blocks_for(blocks), *arguments)
        return
    np.multiply(units, _bytes(units.size, seed, step, layer).reshape(units.shape) >= cut, out=units)
    np.multiply(units, np.float32(gain(rate)), out=units)


def threshold(rate: float) -> int:
    """The bytes below this drop their unit; rate: [0, 0.95]."""
    return round(256 * rate)


def gain(rate: float) -> float:
    """What kept units are multiplied by, so that their mean stays."""
    return 256 / (256 - threshold(rate))


def _bytes(count: int, seed: int, step: int, layer: int) -> Array:
    counter = np.array([0, 0, step, layer], np.uint64)
    words = np.random.Philox(key=np.array([seed, 0], np.uint64), counter=counter).random_raw(-(-count // 8))
    return words.astype("<u8", copy=False).view(np.uint8)[:count]
