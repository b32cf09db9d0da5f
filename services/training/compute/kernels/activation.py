"""What follows a matrix product: scale, bias, activation and dropout in one pass, and their way back.

K networks run side by side: activations are (K, rows, columns). Biases and slopes are columns of the flat
parameters (K, P), at the offset given. An activation with slopes is σ_a(v) = v + a·(σ(v) − v), with a slope a
for each unit (D. Holzmüller et al., "Better by Default", NeurIPS 2024); without, a is 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from services.training.compute.kernels.host import exponential, host
from services.training.compute.kernels.launch import Array, Kernels, blocks_for

Activation = Literal["identity", "relu", "selu", "mish"]
_CODES = {"identity": 0, "relu": 1, "selu": 2, "mish": 3}

CUDA = r"""
#define SELU_SCALE 1.0507009873554805f
#define SELU_ALPHA 1.6732632423543772f

__device__ float activated(float v, long long kind) {
    if (kind == 1) return v > 0.0f ? v : 0.0f;
    if (kind == 2) return v > 0.0f ? SELU_SCALE * v : SELU_SCALE * SELU_ALPHA * (expf(v) - 1.0f);
    if (kind == 3) {
        float e = expf(fminf(v, 20.0f));
        float n = e * (e + 2.0f);
        return v * n / (n + 2.0f);
    }
    return v;
}

__device__ float slope_at(float v, long long kind) {
    if (kind == 1) return v > 0.0f ? 1.0f : 0.0f;
    if (kind == 2) return v > 0.0f ? SELU_SCALE : SELU_SCALE * SELU_ALPHA * expf(v);
    if (kind == 3) {
        float e = expf(fminf(v, 20.0f));
        float n = e * (e + 2.0f);
        float d = n + 2.0f;
        return n / d + v * 4.0f * e * (e + 1.0f) / (d * d);
    }
    return 1.0f;
}

extern "C" __global__ void activate(float* z, float* out, const float* parameters, const unsigned char* mask,
                                    const long long* cuts, const long long* at, long long networks,
                                    long long rows, long long columns, long long row, long long apart,
                                    long long bias, long long slope, float gain, long long kind,
                                    long long dropping) {
    long long i = blockIdx.x * (long long)blockDim.x + threadIdx.x;
    if (i >= networks * rows * columns) return;
    long long network = i / (rows * columns), column = i % columns;
    float v = gain * z[i] + parameters[network * row + bias + column];
    z[i] = v;
    float value = activated(v, kind);
    if (slope >= 0) value = v + parameters[network * row + slope + column] * (value - v);
    if (dropping) {
        long long cut = cuts[at[0] * networks + network];
        value = mask[network * apart + i % (rows * columns)] < cut ? 0.0f : value * (256.0f / (256.0f - cut));
    }
    out[i] = value;
}

// One block owns 32 columns of one network, so each column sum has one writer and one order of addition:
// the result is the same on every run, which atomics would not give.
extern "C" __global__ void activate_back(float* delta, const float* z, const float* out,
                                         const float* parameters, float* gradients, const long long* cuts,
                                         const long long* at, long long networks, long long rows,
                                         long long columns, long long row, long long bias, long long slope,
                                         float gain, long long kind, long long dropping) {
    __shared__ float biases[8][33];
    __shared__ float slopes[8][33];
    long long column = blockIdx.x * 32LL + threadIdx.x;
    long long network = blockIdx.y;
    float bias_sum = 0.0f, slope_sum = 0.0f, grown = 1.0f;
    if (dropping) grown = 256.0f / (256.0f - cuts[at[0] * networks + network]);
    if (column < columns) {
        float a = slope >= 0 ? parameters[network * row + slope + column] : 1.0f;
        for (long long r = threadIdx.y; r < rows; r += 8) {
            long long i = (network * rows + r) * columns + column;
            float d = delta[i], v = z[i];
            if (dropping) d = out[i] == 0.0f ? 0.0f : d * grown;
            if (slope >= 0) slope_sum += d * (activated(v, kind) - v);
            d *= 1.0f + a * (slope_at(v, kind) - 1.0f);
            bias_sum += d;
            delta[i] = gain * d;
        }
    }
    biases[threadIdx.y][threadIdx.x] = bias_sum;
    slopes[threadIdx.y][threadIdx.x] = slope_sum;
    __syncthreads();
    if (threadIdx.y == 0 && column < columns) {
        for (int y = 1; y < 8; ++y) {
            bias_sum += biases[y][threadIdx.x];
            slope_sum += slopes[y][threadIdx.x];
        }
        gradients[network * row + bias + column] = bias_sum;
        if (slope >= 0) gradients[network * row + slope + column] = slope_sum;
    }
}
"""


@dataclass(frozen=True)
class Layer:
    """One layer's place and kind. bias, slope: offsets in a network's parameters; slope −1 for none.

    gain: what the matrix product is multiplied by.
    """

    bias: int
    activation: Activation = "identity"
    slope: int = -1
    gain: float = 1.0

    @property
    def code(self) -> int:
        """The activation's number in the kernels."""
        return _CODES[self.activation]


@dataclass(frozen=True)
class Drops:
    """Which units are dropped: those whose byte in `mask` is below their network's cut.

    mask: as large as the layer. cuts: (steps, K) int64, 0 for none, of which row at[0] counts; kept units are
    multiplied by 256 / (256 − cut).
    """

    mask: Array
    cuts: Array
    at: Array


def activate(
    kernels: Kernels, z: Array, out: Array, parameters: Array, layer: Layer, drops: Drops | None
) -> None:
    """z ← gain · z + bias; out ← σ_a(z) after dropout. z and out: (K, n, columns)."""
    mask, cuts, at = _drops(kernels, drops)
    numbers = (layer.bias, layer.slope, layer.gain, layer.code, int(drops is not None))
    if kernels.on_device:
        # The masks of two networks lie apart: whole blocks of random bytes are drawn for each.
        sizes = (*z.shape, parameters.shape[1], mask.strides[0])
        kernels.launch(
            CUDA, "activate", blocks_for(z.size), z, out, parameters, mask, cuts, at, *sizes, *numbers
        )
        return
    _activate(z, out, parameters, mask, cuts, at, *numbers)


def activate_back(
    kernels: Kernels,
    delta: Array,
    z: Array,
    out: Array,
    parameters: Array,
    gradients: Array,
    layer: Layer,
    drops: Drops | None,
) -> None:
    """delta ← the loss's gradient on the matrix product, from that on `out`; sets those of bias and slope.

    z, out: what `activate` left. A dropped unit is told by its zero in `out`; so is one that is exactly zero,
    which needs a pre-activation of exactly zero.
    """
    _, cuts, at = _drops(kernels, drops)
    numbers = (layer.bias, layer.slope, layer.gain, layer.code, int(drops is not None))
    arrays = (delta, z, out, parameters, gradients, cuts, at)
    if kernels.on_device:
        networks, rows, columns = z.shape
        grid, sizes = (-(-columns // 32), networks), (networks, rows, columns, parameters.shape[1])
        kernels.launch(CUDA, "activate_back", grid, *arrays, *sizes, *numbers, block=(32, 8))
        return
    _activate_back(*arrays, *numbers)


def _drops(kernels: Kernels, drops: Drops | None) -> tuple[Array, Array, Array]:
    if drops is None:
        return kernels.nothing
    return drops.mask, drops.cuts, drops.at


@host
def _activated(v: Any, code: Any) -> Any:
    if code == 1:
        return max(v, np.float32(0))
    if code == 2:
        low = np.float32(1.7580993) * (exponential(min(v, np.float32(0))) - np.float32(1))
        return np.float32(1.050701) * max(v, np.float32(0)) + low
    if code == 3:
        e = exponential(min(v, np.float32(20)))
        n = e * (e + np.float32(2))
        return v * n / (n + np.float32(2))
    return v


@host
def _slope_at(v: Any, code: Any) -> Any:
    if code == 1:
        return np.float32(1) if v > 0 else np.float32(0)
    if code == 2:
        low = np.float32(1.7580993) * exponential(min(v, np.float32(0)))
        return np.float32(1.050701) if v > 0 else low
    if code == 3:
        e = exponential(min(v, np.float32(20)))
        n = e * (e + np.float32(2))
        d = n + np.float32(2)
        return n / d + v * np.float32(4) * e * (e + np.float32(1)) / (d * d)
    return np.float32(1)


@host
def _plain(z: Any, out: Any, biases: Any, gain: Any, code: Any) -> None:
    for i in range(z.shape[0]):
        for j in range(biases.size):
            v = gain * z[i, j] + biases[j]
            z[i, j] = v
            out[i, j] = _activated(v, code)


@host
def _sloped(z: Any, out: Any, biases: Any, slopes: Any, gain: Any, code: Any) -> None:
    for i in range(z.shape[0]):
        for j in range(biases.size):
            v = gain * z[i, j] + biases[j]
            z[i, j] = v
            out[i, j] = v + slopes[j] * (_activated(v, code) - v)


@host
def _drop(values: Any, kept: Any, cut: Any) -> None:
    """Of one network: zeroes what is dropped, and lets the rest grow."""
    grown = np.float32(256.0 / (256.0 - cut))
    for i in range(values.shape[0]):
        for j in range(values.shape[1]):
            values[i, j] = values[i, j] * grown if kept[i, j] >= cut else np.float32(0)


@host
def _activate(
    z: Any, out: Any, parameters: Any, mask: Any, cuts: Any, at: Any, bias: int, slope: int, gain: float,
    code: int, dropping: int,
) -> None:  # fmt: skip
    columns, factor = z.shape[2], np.float32(gain)
    # The compiler makes vector code of a loop whose activation it knows.
    for k in range(z.shape[0]):
        biases = parameters[k, bias : bias + columns]
        slopes = parameters[k, max(slope, 0) : max(slope, 0) + columns]
        if slope < 0 and code == 0:
            _plain(z[k], out[k], biases, factor, 0)
        elif slope < 0 and code == 1:
            _plain(z[k], out[k], biases, factor, 1)
        elif slope < 0:
            _plain(z[k], out[k], biases, factor, code)
        elif code == 2:
            _sloped(z[k], out[k], biases, slopes, factor, 2)
        elif code == 3:
            _sloped(z[k], out[k], biases, slopes, factor, 3)
        else:
            _sloped(z[k], out[k], biases, slopes, factor, code)
        if dropping and cuts[at[0], k]:
            _drop(out[k], mask[k], cuts[at[0], k])


@host
def _plain_back(delta: Any, z: Any, bias_sums: Any, gain: Any, code: Any) -> None:
    for i in range(z.shape[0]):
        for j in range(bias_sums.size):
            d = delta[i, j] * _slope_at(z[i, j], code)
            bias_sums[j] += d
            delta[i, j] = gain * d


@host
def _sloped_back(
    delta: Any, z: Any, slopes: Any, bias_sums: Any, slope_sums: Any, gain: Any, code: Any
) -> None:
    for i in range(z.shape[0]):
        for j in range(bias_sums.size):
            d, v = delta[i, j], z[i, j]
            slope_sums[j] += d * (_activated(v, code) - v)
            d *= np.float32(1) + slopes[j] * (_slope_at(v, code) - np.float32(1))
            bias_sums[j] += d
            delta[i, j] = gain * d


@host
def _drop_back(delta: Any, out: Any, cut: Any) -> None:
    grown = np.float32(256.0 / (256.0 - cut))
    for i in range(delta.shape[0]):
        for j in range(delta.shape[1]):
            delta[i, j] = delta[i, j] * grown if out[i, j] != 0 else np.float32(0)


@host
def _activate_back(
    delta: Any, z: Any, out: Any, parameters: Any, gradients: Any, cuts: Any, at: Any, bias: int, slope: int,
    gain: float, code: int, dropping: int,
) -> None:  # fmt: skip
    columns, factor = z.shape[2], np.float32(gain)
    for k in range(z.shape[0]):
        start = max(slope, 0)
        slopes, slope_sums = parameters[k, start : start + columns], gradients[k, start : start + columns]
        bias_sums = gradients[k, bias : bias + columns]
        bias_sums[:] = 0
        if slope >= 0:
            slope_sums[:] = 0
        if dropping and cuts[at[0], k]:
            _drop_back(delta[k], out[k], cuts[at[0], k])
        if slope < 0 and code == 0:
            _plain_back(delta[k], z[k], bias_sums, factor, 0)
        elif slope < 0 and code == 1:
            _plain_back(delta[k], z[k], bias_sums, factor, 1)
        elif slope < 0:
            _plain_back(delta[k], z[k], bias_sums, factor, code)
        elif code == 2:
            _sloped_back(delta[k], z[k], slopes, bias_sums, slope_sums, factor, 2)
        elif code == 3:
            _sloped_back(delta[k], z[k], slopes, bias_sums, slope_sums, factor, 3)
        else:
            _sloped_back(delta[k], z[k], slopes, bias_sums, slope_sums, factor, code)
