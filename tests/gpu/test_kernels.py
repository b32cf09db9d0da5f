"""The CUDA bodies on a device against their twins on the host."""

from __future__ import annotations

import numpy as np
import pytest

from services.training.compute.backend import Backend
from services.training.compute.kernels.launch import Kernels
from tests.unit.compute.kernel_cases import PRECISIONS, Case, cases, product_error


@pytest.mark.parametrize("case", cases(), ids=lambda case: case.name)
def test_a_body_does_what_its_twin_does(case: Case, device: Backend) -> None:
    case.compare(case.run(device.kernels), case.run(Kernels(np)))


@pytest.mark.parametrize("case", cases(), ids=lambda case: case.name)
def test_a_body_gives_the_same_bits_every_time(case: Case, device: Backend) -> None:
    first, again = case.run(device.kernels), case.run(device.kernels)
    for name, array in first.items():
        np.testing.assert_array_equal(again[name], array, err_msg=name)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_products_are_within_their_bounds(precision: str, device: Backend) -> None:
    assert product_error(device.at(precision).kernels) < PRECISIONS[precision]
