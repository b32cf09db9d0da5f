"""Matrix products of K networks at once. No CUDA body of its own: cuBLAS takes them as they lie."""

from __future__ import annotations

from typing import Any

import numpy as np

from services.training.compute.kernels.launch import Array, Kernels

_COMPUTE = {
    "float32": "CUBLAS_COMPUTE_32F",
    "tf32": "CUBLAS_COMPUTE_32F_FAST_TF32",
    "bfloat16": "CUBLAS_COMPUTE_32F_FAST_16BF",
}
_ONE, _ZERO = np.ones(1, np.float32), np.zeros(1, np.float32)


def product(kernels: Kernels, a: Array, b: Array, out: Array) -> None:
    """out ← a · b. a: (K, n, m), b: (K, m, c), out: (K, n, c); a (n, m) is shared by all K.

    The last two axes are contiguous, and those of a and b may be swapped. Nothing is copied or allocated.
    On a device cuBLAS may round a and b to `kernels.precision`; it adds up in float32.
    """
    if not kernels.on_device:
        np.matmul(a, b, out=out)
        return
    cuda = kernels.xp.cuda
    kind, compute = cuda.runtime.CUDA_R_32F, getattr(cuda.cublas, _COMPUTE[kernels.precision])
    networks, rows, columns = out.shape
    # cuBLAS counts along columns, where a matrix of ours is its transpose: outᵀ = bᵀ · aᵀ.
    turned_a, step_a = _lies(a)
    turned_b, step_b = _lies(b)
    cuda.cublas.gemmStridedBatchedEx(
        *(cuda.device.get_cublas_handle(), turned_b, turned_a, columns, rows, a.shape[-1], _ONE.ctypes.data),
        *(b.data.ptr, kind, step_b, _apart(b), a.data.ptr, kind, step_a, _apart(a)),
        *(_ZERO.ctypes.data, out.data.ptr, kind, columns, _apart(out)),
        *(networks, compute, cuda.cublas.CUBLAS_GEMM_DEFAULT),
    )


def _lies(matrices: Array) -> tuple[int, int]:
    """Whether the last two axes are swapped, as cuBLAS writes it, and how far apart lines are."""
    *_, rows, columns = matrices.shape
    *_, down, along = (stride // matrices.itemsize for stride in matrices.strides)
    return (0, max(down, columns)) if along == 1 else (1, max(along, rows))


def _apart(matrices: Array) -> Any:
    """How far apart the matrices of two networks are; 0 when there is one for all."""
    return matrices.strides[0] // matrices.itemsize if matrices.ndim == 3 else 0
