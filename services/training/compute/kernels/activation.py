"""What follows a matrix product: bias and ReLU, and their way back.

K networks run side by side: activations are (K, rows, columns), biases and their gradients (K, 1, columns)
with any stride between networks, because they are views of one flat buffer.
"""

from __future__ import annotations

import numpy as np

from services.training.compute.kernels.launch import Array, Kernels, blocks_for

CUDA = r"""
extern "C" __global__ void add_bias(float* z, const float* bias, long long size, long long rows,
                                    long long columns, long long bias_stride, long long rectify) {
    long long i = blockIdx.x * (long long)blockDim.x + threadIdx.x;
    if (i >= size) return;
    long long network = i / (rows * columns);
    float value = z[i] + bias[network * bias_stride + i % columns];
    z[i] = rectify && value < 0.0f ? 0.0f : value;
}

// One block owns 32 columns of one network, so each column sum has one writer and one order of addition:
// the result is the same on every run, which atomics would not give.
extern "C" __global__ void backward(float* delta, const float* activation, float* bias_gradient,
                                    float gain, long long rows, long long columns, long long bias_stride,
                                    long long masked) {
    __shared__ float partial[8][33];
    long long column = blockIdx.x * 32LL + threadIdx.x;
    long long network = blockIdx.y;
    float sum = 0.0f;
    if (column < columns) {
        for (long long row = threadIdx.y; row < rows; row += 8) {
            long long i = (network * rows + row) * columns + column;
            float value = delta[i];
            if (masked) {
                value = activation[i] > 0.0f ? value * gain : 0.0f;
                delta[i] = value;
            }
            sum += value;
        }
    }
    partial[threadIdx.y][threadIdx.x] = sum;
    __syncthreads();
    if (threadIdx.y == 0 && column < columns) {
        for (int y = 1; y < 8; ++y) sum += partial[y][threadIdx.x];
        bias_gradient[network * bias_stride + column] = sum;
    }
}
"""


def bias_relu(kernels: Kernels, z: Array, bias: Array) -> None:
    """z ← max(z + bias, 0), in place."""
    if kernels.on_device:
        _launch_add(kernels, z, bias, rectify=1)
    else:
        np.add(z, bias, out=z)
        np.maximum(z, kernels.zeros(z.shape), out=z)


def add_bias(kernels: Kernels, z: Array, bias: Array) -> None:
    """z ← z + bias, in place."""
    if kernels.on_device:
        _launch_add(kernels, z, bias, rectify=0)
    else:
        np.add(z, bias, out=z)


def relu_backward(
    kernels: Kernels, delta: Array, activation: Array, gain: float, bias_gradient: Array
) -> None:
    """delta ← delta · gain where activation > 0, else 0, in place; bias_gradient ← its sum over rows.

    `activation` is what left the layer, after dropout: a dropped unit is zero there like a rectified one, so
    the mask need not be kept. `gain` is dropout's (1 without it).
    """
    if kernels.on_device:
        _launch_backward(kernels, bias_gradient, delta, activation, gain)
        return
    np.multiply(delta, activation > 0, out=delta)
    if gain != 1.0:
        np.multiply(delta, np.float32(gain), out=delta)
    bias_backward(kernels, delta, bias_gradient)


def bias_backward(kernels: Kernels, delta: Array, bias_gradient: Array) -> None:
    """bias_gradient ← the sum of delta over rows."""
    if kernels.on_device:
        _launch_backward(kernels, bias_gradient, delta)
    else:
        # A product with ones runs on BLAS, three times as fast as a sum over rows.
        np.matmul(np.ones((1, delta.shape[-2]), np.float32), delta, out=bias_gradient)


def _launch_add(kernels: Kernels, z: Array, bias: Array, rectify: int) -> None:
    _, rows, columns = z.shape
    stride = bias.strides[0] // bias.itemsize
    kernels.launch(CUDA, "add_bias", blocks_for(z.size), z, bias, z.size, rows, columns, stride, rectify)


def _launch_backward(
    kernels: Kernels, bias_gradient: Array, delta: Array, activation: Array = None, gain: float = 1.0
) -> None:
    networks, rows, columns = delta.shape
    stride = bias_gradient.strides[0] // bias_gradient.itemsize
    masked = int(activation is not None)
    arrays = (delta, activation if masked else delta, bias_gradient)
    grid = (-(-columns // 32), networks)
    kernels.launch(CUDA, "backward", grid, *arrays, gain, rows, columns, stride, masked, block=(32, 8))
