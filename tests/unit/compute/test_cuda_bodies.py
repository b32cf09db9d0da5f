"""The CUDA bodies, run on the CPU by a compiler for C++, against their twins. See `cuda_on_cpu.h`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from services.training.compute.backend import Backend, open_backend
from services.training.compute.kernels.launch import Kernels
from services.training.domain.hyperparameters import Hyperparameters
from tests.unit.compute.emulated import EmulatedCupy, compiler
from tests.unit.compute.fit_cases import FITS, OTHERS, FitCase, fit_other
from tests.unit.compute.kernel_cases import PRECISIONS, Case, cases, product_error
from tests.unit.compute.nvrtc import kernel_names

pytestmark = pytest.mark.skipif(compiler() is None, reason="no C++ compiler is installed")
CASES = cases()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where what the compiler built stays for the other tests."""
    return tmp_path_factory.mktemp("built")


@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_body_does_what_its_twin_does(case: Case, backwards: bool, folder: Path) -> None:
    found = case.run(Kernels(EmulatedCupy(folder, backwards=backwards)))
    case.compare(found, case.run(Kernels(np)))


def test_every_kernel_has_a_case(folder: Path) -> None:
    cupy = EmulatedCupy(folder)
    for case in CASES:
        case.run(Kernels(cupy))
    assert cupy.launched == kernel_names()


def test_products_are_as_exact_as_asked(folder: Path) -> None:
    cupy = EmulatedCupy(folder)
    float32, tf32, bfloat16 = (product_error(Kernels(cupy, precision)) for precision in PRECISIONS)
    assert 16 * float32 < 4 * tf32 < bfloat16
    assert all(
        error < bound for error, bound in zip((float32, tf32, bfloat16), PRECISIONS.values(), strict=True)
    )


@pytest.mark.parametrize("fit", FITS, ids=str)
def test_a_fit_on_a_device_learns_what_one_on_the_host_learns(fit: FitCase, folder: Path) -> None:
    cupy = EmulatedCupy(folder)
    learned = [fit.run(Backend("cupy", cupy, Kernels(cupy))), fit.run(open_backend("numpy"))]
    assert cupy.replays == 2 * 6 - 1
    np.testing.assert_allclose(*map(fit.predictions, learned), atol=2e-4)


@pytest.mark.parametrize("counted", [False, True])
@pytest.mark.parametrize("params", OTHERS, ids=lambda params: params.name)
def test_other_algorithms_learn_the_same_on_a_device(
    params: Hyperparameters, folder: Path, counted: bool
) -> None:
    cupy = EmulatedCupy(folder)
    learned = fit_other(params, Backend("cupy", cupy, Kernels(cupy)), counted)
    for name, array in fit_other(params, open_backend("numpy"), counted).items():
        np.testing.assert_allclose(learned[name], array, atol=1e-3, err_msg=name)


FAULTS = {
    "outside": ("x[blockDim.x] = 1.0f;", "wrote outside"),
    "before": ("x[-1] = 1.0f;", "wrote outside"),
    "lanes": ("if (threadIdx.x < 3) return; x[0] = __shfl_xor_sync(0xffffffffu, x[0], 1);", "never come"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_found(fault: str, folder: Path) -> None:
    body, said = FAULTS[fault]
    with pytest.raises(AssertionError, match=said):
        launch(body, folder, np.zeros(64, np.float32))


def test_a_missing_barrier_shows(folder: Path) -> None:
    body = "__shared__ float s[64]; int t = threadIdx.x; s[t] = t; x[t] = s[(t + 1) % 64];"
    found = [launch(body, folder, np.zeros(64, np.float32), backwards=way) for way in (False, True)]
    assert [bool(np.isnan(one).any()) for one in found] == [True, True]


def test_other_types_than_those_declared_are_refused(folder: Path) -> None:
    with pytest.raises(AssertionError, match="takes"):
        launch("x[0] = 1.0f;", folder, np.zeros(64))


def launch(body: str, folder: Path, x: np.ndarray, *, backwards: bool = False) -> np.ndarray:
    """x after one block of 64 threads."""
    source = f'extern "C" __global__ void k(float* x) {{ {body} }}'
    Kernels(EmulatedCupy(folder, backwards=backwards)).launch(source, "k", (1,), x, block=(64,))
    return x
