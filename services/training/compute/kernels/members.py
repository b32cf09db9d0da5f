"""What goes before and after the products of members that share their weights, and its way back.

A member of TabM (Y. Gorishniy et al., ICLR 2025) computes s ∘ (W (r ∘ x)) + b with vectors r, s and b of its
own: those of member m are columns of row m of `own` (members, A), at the offsets given. Products are shared,
so that (members · rows) lines go through one; each of these kernels makes one pass over what lies between two
of them: scale, bias, ReLU, dropout, and the next layer's r. Activations are (members, rows, columns).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from services.training.compute.kernels.activation import Drops
from services.training.compute.kernels.host import host
from services.training.compute.kernels.launch import Array, Kernels, blocks_for

CUDA = r"""
extern "C" __global__ void adapt(const float* x, const float* own, float* out, long long members,
                                 long long rows, long long columns, long long row, long long r) {
    long long i = blockIdx.x * (long long)blockDim.x + threadIdx.x;
    if (i >= members * rows * columns) return;
    long long member = i / (rows * columns);
    out[i] = own[member * row + r + i % columns] * x[i % (rows * columns)];
}

// One warp owns one input of one member.
extern "C" __global__ void own_back(const float* products, const float* weights, float* gradients,
                                    long long members, long long inputs, long long units, long long row,
                                    long long r) {
    long long warp = (blockIdx.x * (long long)blockDim.x + threadIdx.x) / 32;
    int lane = threadIdx.x % 32;
    if (warp >= members * inputs) return;
    float sum = 0.0f;
    for (long long u = lane; u < units; u += 32)
        sum += products[warp * units + u] * weights[warp % inputs * units + u];
    for (int o = 16; o; o /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, o);
    if (lane == 0) gradients[warp / inputs * row + r + warp % inputs] = sum;
}

extern "C" __global__ void shared_back(const float* products, const float* own, float* out,
                                       long long members, long long inputs, long long units, long long row,
                                       long long r, long long more) {
    long long i = blockIdx.x * (long long)blockDim.x + threadIdx.x;
    if (i >= inputs * units) return;
    float sum = more ? out[i] : 0.0f;
    for (long long member = 0; member < members; ++member)
        sum += own[member * row + r + i / units] * products[member * inputs * units + i];
    out[i] = sum;
}

extern "C" __global__ void adapt_back(const float* delta, const float* own, float* out, long long members,
                                       long long rows, long long columns, long long row, long long r,
                                       long long more) {
    long long i = blockIdx.x * (long long)blockDim.x + threadIdx.x;
    if (i >= rows * columns) return;
    float sum = more ? out[i] : 0.0f;
    for (long long member = 0; member < members; ++member)
        sum += own[member * row + r + i % columns] * delta[member * rows * columns + i];
    out[i] = sum;
}

extern "C" __global__ void bend(const float* z, float* out, const float* own, const unsigned char* mask,
                                const long long* cuts, const long long* at, long long members,
                                long long rows, long long columns, long long row, long long apart,
                                long long cuts_apart, long long s, long long b, long long r,
                                long long dropping) {
    long long i = blockIdx.x * (long long)blockDim.x + threadIdx.x;
    if (i >= members * rows * columns) return;
    long long member = i / (rows * columns), column = i % columns;
    const float* p = own + member * row + column;
    float value = fmaxf(p[s] * z[i] + p[b], 0.0f);
    if (r >= 0) value *= p[r];
    if (dropping) {
        long long cut = cuts[at[0] * cuts_apart];
        value = mask[member * apart + i % (rows * columns)] < cut ? 0.0f : value * (256.0f / (256.0f - cut));
    }
    out[i] = value;
}

extern "C" __global__ void bend_back(const float* delta, float* z, const float* own, float* gradients,
                                     const unsigned char* mask, const long long* cuts, const long long* at,
                                     long long members, long long rows, long long columns, long long row,
                                     long long apart, long long cuts_apart, long long s, long long b,
                                     long long r, long long dropping) {
    __shared__ float sums[3][8][33];
    long long column = blockIdx.x * 32LL + threadIdx.x, member = blockIdx.y;
    float scales = 0.0f, biases = 0.0f, nexts = 0.0f;
    if (column < columns) {
        const float* p = own + member * row + column;
        long long cut = dropping ? cuts[at[0] * cuts_apart] : 0;
        float grown = 256.0f / (256.0f - cut), next = r >= 0 ? p[r] : 1.0f;
        for (long long n = threadIdx.y; n < rows; n += 8) {
            long long i = (member * rows + n) * columns + column;
            float product = z[i], v = p[s] * product + p[b], d = delta[i] * grown;
            if (v <= 0.0f || (dropping && mask[member * apart + n * columns + column] < cut)) d = 0.0f;
            nexts += d * v;
            d *= next;
            biases += d;
            scales += d * product;
            z[i] = d * p[s];
        }
    }
    sums[0][threadIdx.y][threadIdx.x] = scales;
    sums[1][threadIdx.y][threadIdx.x] = biases;
    sums[2][threadIdx.y][threadIdx.x] = nexts;
    __syncthreads();
    if (threadIdx.y || column >= columns) return;
    for (int y = 1; y < 8; ++y) {
        scales += sums[0][y][threadIdx.x];
        biases += sums[1][y][threadIdx.x];
        nexts += sums[2][y][threadIdx.x];
    }
    float* g = gradients + member * row + column;
    g[s] = scales;
    g[b] = biases;
    if (r >= 0) g[r] = nexts;
}
"""


@dataclass(frozen=True)
class Vectors:
    """Where a layer's vectors begin in a member's row. r: the next layer's, −1 where that has none."""

    s: int
    b: int
    r: int = -1


def adapt(kernels: Kernels, x: Array, own: Array, r: int, out: Array) -> None:
    """out (members, n, d) ← r ∘ x of each member. x: (n, d), the same for all."""
    if not out.size:
        return
    if kernels.on_device:
        kernels.launch(CUDA, "adapt", blocks_for(out.size), x, own, out, *out.shape, own.shape[1], r)
        return
    _adapt(x, own, out, r)


def adapt_back(kernels: Kernels, delta: Array, own: Array, r: int, out: Array, more: bool) -> None:
    """out (n, d) ← the loss's gradient on x, plus what is there already if there is `more`.

    delta: (members, n, d), that on r ∘ x.
    """
    if kernels.on_device:
        sizes = (*delta.shape, own.shape[1], r, int(more))
        kernels.launch(CUDA, "adapt_back", blocks_for(out.size), delta, own, out, *sizes)
        return
    _adapt_back(delta, own, r, out, more)


def first_back(
    kernels: Kernels, products: Array, weights: Array, own: Array, gradients: Array, r: int, out: Array,
    more: bool,
) -> None:  # fmt: skip
    """Sets the gradients of r; out (d, units) ← that of `weights`, plus what is there already if `more`.

    products: (members, d, units), xᵀ of all that is shared times the loss's gradient on W (r ∘ x). Both come
    of it without the gradient on r ∘ x, which would take a product of its own.
    """
    if not out.size:
        return
    if kernels.on_device:
        sizes = (*products.shape, own.shape[1], r)
        warps = products.shape[0] * products.shape[1]
        kernels.launch(CUDA, "own_back", blocks_for(32 * warps), products, weights, gradients, *sizes)
        kernels.launch(CUDA, "shared_back", blocks_for(out.size), products, own, out, *sizes, int(more))
        return
    _first_back(products, weights, own, gradients, r, out, more)


def bend(kernels: Kernels, z: Array, out: Array, own: Array, at: Vectors, drops: Drops | None) -> None:
    """out ← r ∘ dropped(ReLU(s ∘ z + b)); z: (members, n, d), the product. All members drop at one rate."""
    mask, cuts, place = _drops(kernels, drops)
    places = (at.s, at.b, at.r)
    if kernels.on_device:
        numbers = (*z.shape, own.shape[1], mask.strides[0], cuts.shape[1], *places, int(drops is not None))
        kernels.launch(CUDA, "bend", blocks_for(z.size), z, out, own, mask, cuts, place, *numbers)
        return
    _bend(z, out, own, mask, _cut(drops), *places)


def bend_back(
    kernels: Kernels, delta: Array, z: Array, own: Array, gradients: Array, at: Vectors, drops: Drops | None
) -> None:
    """z ← the loss's gradient on the product, from delta, that on what `bend` made of it.

    Sets the gradients of s, b and r.
    """
    mask, cuts, place = _drops(kernels, drops)
    places = (at.s, at.b, at.r)
    if kernels.on_device:
        grid = (-(-z.shape[2] // 32), z.shape[0])
        numbers = (*z.shape, own.shape[1], mask.strides[0], cuts.shape[1], *places, int(drops is not None))
        arrays = (delta, z, own, gradients, mask, cuts, place)
        kernels.launch(CUDA, "bend_back", grid, *arrays, *numbers, block=(32, 8))
        return
    _bend_back(delta, z, own, gradients, mask, _cut(drops), *places)


def _drops(kernels: Kernels, drops: Drops | None) -> tuple[Array, Array, Array]:
    return kernels.nothing if drops is None else (drops.mask, drops.cuts, drops.at)


def _cut(drops: Drops | None) -> int:
    return 0 if drops is None else int(drops.cuts[drops.at[0], 0])


@host
def _adapt(x: Any, own: Any, out: Any, r: int) -> None:
    for m in range(out.shape[0]):
        scales = own[m, r : r + x.shape[1]]
        for i in range(x.shape[0]):
            for j in range(scales.size):
                out[m, i, j] = scales[j] * x[i, j]


@host
def _adapt_back(delta: Any, own: Any, r: int, out: Any, more: bool) -> None:
    if not more:
        out[:] = 0
    for m in range(delta.shape[0]):
        scales = own[m, r : r + out.shape[1]]
        for i in range(out.shape[0]):
            for j in range(scales.size):
                out[i, j] += scales[j] * delta[m, i, j]


@host
def _first_back(products: Any, weights: Any, own: Any, gradients: Any, r: int, out: Any, more: bool) -> None:
    if not more:
        out[:] = 0
    for m in range(products.shape[0]):
        for j in range(out.shape[0]):
            scale, total = own[m, r + j], np.float32(0)
            for u in range(out.shape[1]):
                out[j, u] += scale * products[m, j, u]
                total += weights[j, u] * products[m, j, u]
            gradients[m, r + j] = total


@host
def _bent(z: Any, out: Any, scales: Any, biases: Any, nexts: Any) -> None:
    for j in range(scales.size):
        out[j] = nexts[j] * max(scales[j] * z[j] + biases[j], np.float32(0))


@host
def _bent_and_dropped(z: Any, out: Any, mask: Any, scales: Any, biases: Any, nexts: Any, cut: Any) -> None:
    for j in range(scales.size):
        value = nexts[j] * max(scales[j] * z[j] + biases[j], np.float32(0))
        out[j] = value if mask[j] >= cut else np.float32(0)


@host
def _bend(z: Any, out: Any, own: Any, mask: Any, cut: int, s: int, b: int, r: int) -> None:
    columns, grown = z.shape[2], np.float32(256.0 / (256.0 - cut))
    nexts = np.empty(columns, np.float32)
    for m in range(z.shape[0]):
        scales, biases = own[m, s : s + columns], own[m, b : b + columns]
        for j in range(columns):
            nexts[j] = grown * own[m, r + j] if r >= 0 else grown
        for i in range(z.shape[1]):
            if cut:
                _bent_and_dropped(z[m, i], out[m, i], mask[m, i], scales, biases, nexts, np.uint8(cut))
            else:
                _bent(z[m, i], out[m, i], scales, biases, nexts)


@host
def _bend_back(
    delta: Any, z: Any, own: Any, gradients: Any, mask: Any, cut: int, s: int, b: int, r: int
) -> None:
    columns, grown = z.shape[2], np.float32(256.0 / (256.0 - cut))
    byte, zero = np.uint8(cut), np.float32(0)
    nexts, next_sums = np.empty(columns, np.float32), np.empty(columns, np.float32)
    for m in range(z.shape[0]):
        scales, biases = own[m, s : s + columns], own[m, b : b + columns]
        scale_sums, bias_sums = gradients[m, s : s + columns], gradients[m, b : b + columns]
        scale_sums[:] = 0
        bias_sums[:] = 0
        next_sums[:] = 0
        for j in range(columns):
            nexts[j] = own[m, r + j] if r >= 0 else np.float32(1)
        for i in range(z.shape[1]):
            for j in range(columns):
                v = scales[j] * z[m, i, j] + biases[j]
                d = grown * delta[m, i, j] if v > zero else zero
                if cut:
                    d = d if mask[m, i, j] >= byte else zero
                next_sums[j] += d * v
                d *= nexts[j]
                bias_sums[j] += d
                scale_sums[j] += d * z[m, i, j]
                z[m, i, j] = d * scales[j]
        if r >= 0:
            gradients[m, r : r + columns] = next_sums
