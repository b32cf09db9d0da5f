"""The bytes that dropout draws: the same on both backends, in any order, and on a resumed run.

The bits are Philox4x32-10 (J. Salmon et al., "Parallel Random Numbers: As Easy as 1, 2, 3", SC 2011) with a
network's seed as key and (block, layer, step's low half, step's high half) as counter. A block gives 16
bytes, little-endian: those of units 16·block on. One byte a unit rounds a rate to a multiple of 1/256; four
would take longer than a small network's matrix products.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from services.training.compute.kernels.host import host
from services.training.compute.kernels.launch import Array, Kernels, blocks_for

CUDA = r"""
// One thread per Philox block of 16 bytes; `units` is a multiple of 16.
extern "C" __global__ void draw(unsigned char* mask, const unsigned long long* seeds, const long long* clock,
                                long long networks, long long units, long long layer) {
    long long i = blockIdx.x * (long long)blockDim.x + threadIdx.x;
    long long blocks = units / 16;
    if (i >= networks * blocks) return;
    unsigned long long seed = seeds[i / blocks], step = (unsigned long long)clock[0];
    unsigned int k0 = (unsigned int)seed, k1 = (unsigned int)(seed >> 32);
    unsigned int c0 = (unsigned int)(i % blocks), c1 = (unsigned int)layer;
    unsigned int c2 = (unsigned int)step, c3 = (unsigned int)(step >> 32);
    for (int round = 0; round < 10; ++round) {
        unsigned long long p0 = 0xD2511F53ULL * c0, p1 = 0xCD9E8D57ULL * c2;
        unsigned int n0 = (unsigned int)(p1 >> 32) ^ c1 ^ k0;
        unsigned int n2 = (unsigned int)(p0 >> 32) ^ c3 ^ k1;
        c1 = (unsigned int)p1;
        c3 = (unsigned int)p0;
        c0 = n0;
        c2 = n2;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    unsigned int words[4] = {c0, c1, c2, c3};
    for (int j = 0; j < 16; ++j) mask[i * 16 + j] = (unsigned char)(words[j / 4] >> (8 * (j % 4)));
}
"""

BLOCK_UNITS = 16


def draw(kernels: Kernels, mask: Array, seeds: Array, clock: Array, layer: int) -> None:
    """mask ← random bytes. mask: (K, units) uint8, units a multiple of BLOCK_UNITS; seeds: (K,) uint64.

    clock: (1,) int64, the step. What network k gets depends on its seed, the step, the layer and the unit.
    """
    if kernels.on_device:
        threads = mask.size // BLOCK_UNITS
        kernels.launch(CUDA, "draw", blocks_for(threads), mask, seeds, clock, *mask.shape, layer)
        return
    _draw(mask.view(np.uint32), seeds, clock, layer)


def cut_of(rates: Any) -> Any:
    """The bytes below this drop their unit; rates: [0, 0.95], of any shape. int64."""
    return np.rint(256 * np.asarray(rates)).astype(np.int64)


@host
def _draw(words: Any, seeds: Any, clock: Any, layer: int) -> None:
    low, blocks = np.uint64(0xFFFFFFFF), words.shape[1] // 4
    for k in range(words.shape[0]):
        line, step = words[k], np.uint64(clock[0])
        for block in range(blocks):
            k0, k1 = seeds[k] & low, seeds[k] >> np.uint64(32)
            c0, c1, c2, c3 = np.uint64(block), np.uint64(layer), step & low, step >> np.uint64(32)
            for _ in range(10):
                p0, p1 = np.uint64(0xD2511F53) * c0, np.uint64(0xCD9E8D57) * c2
                c0, c1 = (p1 >> np.uint64(32)) ^ c1 ^ k0, p1 & low
                c2, c3 = (p0 >> np.uint64(32)) ^ c3 ^ k1, p0 & low
                k0, k1 = (k0 + np.uint64(0x9E3779B9)) & low, (k1 + np.uint64(0xBB67AE85)) & low
            line[4 * block] = c0
            line[4 * block + 1] = c1
            line[4 * block + 2] = c2
            line[4 * block + 3] = c3
