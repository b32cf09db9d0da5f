"""What a network takes of a row: numbers with a learned periodic embedding, the rest as it is, all scaled.

A number v gives four inputs (PBLD; Y. Gorishniy et al., NeurIPS 2022, D. Holzmüller et al., NeurIPS 2024):
v itself and three times Σₚ Wₚ cos(2π fₚ v + bₚ) + c, over 16 frequencies of its own. A category with many
values gives the eight entries of its own row of a table. Every input is then multiplied by its own scale.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import pi
from typing import Any

import numpy as np

from services.training.compute.kernels.host import host, sine
from services.training.compute.kernels.launch import Array, Kernels, blocks_for

FREQUENCIES, TURNED = 16, 3
# Inputs that a number gives, and entries of a table's row.
OF_NUMBER, OF_CATEGORY = TURNED + 1, 8
# Parameters of one number's embedding: frequencies, phases, weights and biases.
NUMBER_PARAMETERS = 2 * FREQUENCIES + TURNED * FREQUENCIES + TURNED
_f = np.float32
_TURN = _f(2 * pi)

CUDA = r"""
#define FREQUENCIES 16
#define TURNED 3
#define OF_NUMBER 4
#define OF_CATEGORY 8
#define NUMBER_PARAMETERS 83
#define TURN 6.283185307179586f

// What input `column` of a row is before it is scaled.
__device__ float embedded(const float* x, const int* codes, const float* p, long long column,
                          long long numbers, long long features, long long periodic, long long tables) {
    long long fixed = numbers * OF_NUMBER;
    if (column >= fixed + features - numbers) {
        long long c = column - fixed - (features - numbers);
        return p[tables + codes[c / OF_CATEGORY] * (long long)OF_CATEGORY + c % OF_CATEGORY];
    }
    if (column >= fixed) return x[numbers + column - fixed];
    float v = x[column / OF_NUMBER];
    int o = column % OF_NUMBER;
    if (o == TURNED) return v;
    const float* e = p + periodic + column / OF_NUMBER * NUMBER_PARAMETERS;
    float sum = e[(2 + TURNED) * FREQUENCIES + o];
    for (int f = 0; f < FREQUENCIES; ++f)
        sum += e[(2 + o) * FREQUENCIES + f] * cosf(TURN * e[f] * v + e[FREQUENCIES + f]);
    return sum;
}

extern "C" __global__ void embed(const float* x, const int* codes, const float* parameters, float* out,
                                 long long networks, long long rows, long long columns, long long row,
                                 long long numbers, long long features, long long categories,
                                 long long periodic, long long tables, long long scale) {
    long long i = blockIdx.x * (long long)blockDim.x + threadIdx.x;
    if (i >= networks * rows * columns) return;
    long long column = i % columns, r = i / columns % rows;
    const float* p = parameters + i / (rows * columns) * row;
    out[i] = p[scale + column] * embedded(x + r * features, codes + r * categories, p, column, numbers,
                                          features, periodic, tables);
}

// One warp owns one input of one network: the gradient of its scale.
extern "C" __global__ void scale_back(const float* delta, const float* out, const float* parameters,
                                      float* gradients, long long networks, long long rows,
                                      long long columns, long long row, long long scale) {
    long long warp = (blockIdx.x * (long long)blockDim.x + threadIdx.x) / 32;
    int lane = threadIdx.x % 32;
    if (warp >= networks * columns) return;
    long long network = warp / columns, column = warp % columns;
    float sum = 0.0f;
    for (long long r = lane; r < rows; r += 32) {
        long long i = (network * rows + r) * columns + column;
        sum += delta[i] * out[i];
    }
    for (int o = 16; o; o /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, o);
    float s = parameters[network * row + scale + column];
    if (lane == 0) gradients[network * row + scale + column] = s == 0.0f ? 0.0f : sum / s;
}

// One warp owns one frequency of one number of one network, and the first frequency's owns the biases too.
extern "C" __global__ void periodic_back(const float* delta, const float* x, const float* parameters,
                                         float* gradients, long long networks, long long rows,
                                         long long columns, long long row, long long numbers,
                                         long long features, long long periodic, long long scale) {
    long long warp = (blockIdx.x * (long long)blockDim.x + threadIdx.x) / 32;
    int lane = threadIdx.x % 32, f = warp % FREQUENCIES;
    if (warp >= networks * numbers * FREQUENCIES) return;
    long long number = warp / FREQUENCIES % numbers, network = warp / FREQUENCIES / numbers;
    const float* p = parameters + network * row;
    const float* e = p + periodic + number * NUMBER_PARAMETERS;
    float* g = gradients + network * row + periodic + number * NUMBER_PARAMETERS;
    float frequency = 0.0f, phase = 0.0f;
    float weights[TURNED] = {0.0f, 0.0f, 0.0f}, biases[TURNED] = {0.0f, 0.0f, 0.0f};
    for (long long r = lane; r < rows; r += 32) {
        float v = x[r * features + number], angle = TURN * e[f] * v + e[FREQUENCIES + f];
        float c = cosf(angle), back = 0.0f;
        for (int o = 0; o < TURNED; ++o) {
            long long column = number * OF_NUMBER + o;
            float d = p[scale + column] * delta[(network * rows + r) * columns + column];
            weights[o] += d * c;
            biases[o] += d;
            back += d * e[(2 + o) * FREQUENCIES + f];
        }
        float turned = -sinf(angle) * back;
        frequency += TURN * v * turned;
        phase += turned;
    }
    for (int step = 16; step; step /= 2) {
        frequency += __shfl_xor_sync(0xffffffffu, frequency, step);
        phase += __shfl_xor_sync(0xffffffffu, phase, step);
        for (int o = 0; o < TURNED; ++o) {
            weights[o] += __shfl_xor_sync(0xffffffffu, weights[o], step);
            biases[o] += __shfl_xor_sync(0xffffffffu, biases[o], step);
        }
    }
    if (lane) return;
    g[f] = frequency;
    g[FREQUENCIES + f] = phase;
    for (int o = 0; o < TURNED; ++o) {
        g[(2 + o) * FREQUENCIES + f] = weights[o];
        if (f == 0) g[(2 + TURNED) * FREQUENCIES + o] = biases[o];
    }
}

// One thread owns one entry of the tables of one network and looks for its rows, so that no two add to one
// place: the order of addition is always the same. `tables` is zero beforehand.
extern "C" __global__ void tables_back(const float* delta, const int* codes, const float* parameters,
                                       float* gradients, const int* owners, long long networks,
                                       long long rows, long long columns, long long row,
                                       long long categories, long long entries, long long tables,
                                       long long scale) {
    long long i = blockIdx.x * (long long)blockDim.x + threadIdx.x;
    if (i >= networks * entries * OF_CATEGORY) return;
    long long o = i % OF_CATEGORY, entry = i / OF_CATEGORY % entries, network = i / OF_CATEGORY / entries;
    long long category = owners[entry];
    long long column = columns - (categories - category) * OF_CATEGORY + o;
    float sum = 0.0f;
    for (long long r = 0; r < rows; ++r)
        if (codes[r * categories + category] == entry) sum += delta[(network * rows + r) * columns + column];
    gradients[network * row + tables + entry * OF_CATEGORY + o] =
        sum * parameters[network * row + scale + column];
}
"""


@dataclass(frozen=True)
class Embedding:
    """Where things are. numbers: how many of the features come first and are numbers; categories: of tables.

    periodic, tables, scale: offsets of the parameters in a network's. owners: (entries,) int32, which
    category each row of the tables belongs to.
    """

    numbers: int
    features: int
    categories: int
    periodic: int
    tables: int
    scale: int
    owners: Array

    @property
    def width(self) -> int:
        """Inputs that come out."""
        return self.numbers * OF_NUMBER + self.features - self.numbers + self.categories * OF_CATEGORY


def embed(
    kernels: Kernels, embedding: Embedding, x: Array, codes: Array, parameters: Array, out: Array
) -> None:
    """out ← the inputs of K networks. x: (n, features); codes: (n, categories) int32; out: (K, n, width)."""
    at = embedding
    numbers = (at.numbers, at.features, at.categories, at.periodic, at.tables, at.scale)
    if kernels.on_device:
        sizes = (*out.shape, parameters.shape[1])
        kernels.launch(CUDA, "embed", blocks_for(out.size), x, codes, parameters, out, *sizes, *numbers)
        return
    _embed(x, codes, parameters, out, *numbers)


def embed_back(
    kernels: Kernels,
    embedding: Embedding,
    x: Array,
    codes: Array,
    parameters: Array,
    out: Array,
    delta: Array,
    gradients: Array,
) -> None:
    """Sets the gradients of everything that `embed` read. delta: (K, n, width), of the loss on `out`."""
    at = embedding
    if kernels.on_device:
        _embed_back_on_device(kernels, at, x, codes, parameters, out, delta, gradients)
        return
    numbers = (at.numbers, at.periodic, at.tables, at.scale, len(at.owners))
    _embed_back(x, codes, parameters, out, delta, gradients, *numbers)


def _embed_back_on_device(
    kernels: Kernels, at: Embedding, x: Array, codes: Array, parameters: Array, out: Array, delta: Array,
    gradients: Array,
) -> None:  # fmt: skip
    networks, rows, columns = out.shape
    sizes = (networks, rows, columns, parameters.shape[1])
    grid = blocks_for(32 * networks * columns)
    kernels.launch(CUDA, "scale_back", grid, delta, out, parameters, gradients, *sizes, at.scale)
    if at.numbers:
        arguments = (delta, x, parameters, gradients, *sizes, at.numbers, at.features, at.periodic, at.scale)
        warps = networks * at.numbers * FREQUENCIES
        kernels.launch(CUDA, "periodic_back", blocks_for(32 * warps), *arguments)
    if at.categories:
        entries = len(at.owners)
        numbers = (*sizes, at.categories, entries, at.tables, at.scale)
        grid = blocks_for(networks * entries * OF_CATEGORY)
        kernels.launch(CUDA, "tables_back", grid, delta, codes, parameters, gradients, at.owners, *numbers)


@host
def _turn(v: Any, e: Any, f: int, cosines: Any) -> None:
    """cosines ← cos(2π·frequency·v + phase), over rows; a cosine is the sine a quarter turn on."""
    quarter = _f(0.25) + e[FREQUENCIES + f] / _TURN
    for i in range(v.size):
        cosines[i] = sine(e[f] * v[i] + quarter)


@host
def _embed_number(v: Any, e: Any, cosines: Any, sums: Any) -> None:
    """sums ← what v (rows,) is turned into, (TURNED, rows); e: its parameters."""
    for o in range(TURNED):
        sums[o, :] = e[(2 + TURNED) * FREQUENCIES + o]
    for f in range(FREQUENCIES):
        _turn(v, e, f, cosines)
        for o in range(TURNED):
            weight, total = e[(2 + o) * FREQUENCIES + f], sums[o]
            for i in range(v.size):
                total[i] += weight * cosines[i]


@host
def _embed(
    x: Any, codes: Any, parameters: Any, out: Any, numbers: int, features: int, categories: int,
    periodic: int, tables: int, scale: int,
) -> None:  # fmt: skip
    rows, width, fixed = x.shape[0], out.shape[2], numbers * OF_NUMBER
    v, cosines, sums = np.empty(rows, _f), np.empty(rows, _f), np.empty((TURNED, rows), _f)
    for k in range(out.shape[0]):
        p = parameters[k]
        scales = p[scale : scale + width]
        for number in range(numbers):
            v[:] = x[:, number]
            start, first = periodic + number * NUMBER_PARAMETERS, number * OF_NUMBER
            _embed_number(v, p[start : start + NUMBER_PARAMETERS], cosines, sums)
            for i in range(rows):
                for o in range(TURNED):
                    out[k, i, first + o] = scales[first + o] * sums[o, i]
                out[k, i, first + TURNED] = scales[first + TURNED] * v[i]
        for i in range(rows):
            into = out[k, i]
            for j in range(numbers, features):
                into[fixed + j - numbers] = x[i, j] * scales[fixed + j - numbers]
            for c in range(categories):
                place, entry = width - (categories - c) * OF_CATEGORY, tables + codes[i, c] * OF_CATEGORY
                for o in range(OF_CATEGORY):
                    into[place + o] = p[entry + o] * scales[place + o]


@host
def _scales_back(delta: Any, out: Any, scales: Any, sums: Any) -> None:
    sums[:] = 0
    for i in range(out.shape[0]):
        d, left = delta[i], out[i]
        for j in range(sums.size):
            sums[j] += d[j] * left[j]
    for j in range(sums.size):
        sums[j] = sums[j] / scales[j] if scales[j] != 0 else _f(0)


@host
def _number_back(v: Any, back: Any, e: Any, g: Any, cosines: Any, sines: Any) -> None:
    """g ← the gradients of e, from those on what v was turned into, back (TURNED, rows)."""
    b0, b1, b2 = back[0], back[1], back[2]
    for o in range(TURNED):
        g[(2 + TURNED) * FREQUENCIES + o] = back[o].sum()
    for f in range(FREQUENCIES):
        _turn(v, e, f, cosines)
        half = _f(0.5) + e[FREQUENCIES + f] / _TURN
        for i in range(v.size):
            sines[i] = sine(e[f] * v[i] + half)  # minus the sine of the angle
        frequency, phase, g0, g1, g2 = _f(0), _f(0), _f(0), _f(0), _f(0)
        w0, w1, w2 = e[2 * FREQUENCIES + f], e[3 * FREQUENCIES + f], e[4 * FREQUENCIES + f]
        for i in range(v.size):
            turned = sines[i] * (b0[i] * w0 + b1[i] * w1 + b2[i] * w2)
            frequency += turned * v[i]
            phase += turned
            g0 += cosines[i] * b0[i]
            g1 += cosines[i] * b1[i]
            g2 += cosines[i] * b2[i]
        g[f], g[FREQUENCIES + f] = _TURN * frequency, phase
        g[2 * FREQUENCIES + f], g[3 * FREQUENCIES + f], g[4 * FREQUENCIES + f] = g0, g1, g2


@host
def _tables_back(delta: Any, codes: Any, scales: Any, sums: Any) -> None:
    width, categories = scales.size, codes.shape[1]
    sums[:] = 0
    for i in range(codes.shape[0]):
        for c in range(categories):
            place, entry = width - (categories - c) * OF_CATEGORY, codes[i, c] * OF_CATEGORY
            for o in range(OF_CATEGORY):
                sums[entry + o] += delta[i, place + o] * scales[place + o]


@host
def _embed_back(
    x: Any, codes: Any, parameters: Any, out: Any, delta: Any, gradients: Any, numbers: int,
    periodic: int, tables: int, scale: int, entries: int,
) -> None:  # fmt: skip
    rows, width = x.shape[0], out.shape[2]
    v, cosines, sines = np.empty(rows, _f), np.empty(rows, _f), np.empty(rows, _f)
    back = np.empty((TURNED, rows), _f)
    for k in range(out.shape[0]):
        p, g = parameters[k], gradients[k]
        scales = p[scale : scale + width]
        _scales_back(delta[k], out[k], scales, g[scale : scale + width])
        for number in range(numbers):
            places = slice(periodic + number * NUMBER_PARAMETERS, periodic + (number + 1) * NUMBER_PARAMETERS)
            v[:] = x[:, number]
            for o in range(TURNED):
                back[o, :] = scales[number * OF_NUMBER + o] * delta[k, :, number * OF_NUMBER + o]
            _number_back(v, back, p[places], g[places], cosines, sines)
        _tables_back(delta[k], codes, scales, g[tables : tables + entries * OF_CATEGORY])
