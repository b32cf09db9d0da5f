"""Whole fits on a device: what they learn, bit for bit, and what memory they take."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest

from services.training.compute.backend import Backend, open_backend
from services.training.compute.estimators import run
from services.training.compute.loop import NullLoop
from services.training.compute.model import weights_sha256
from services.training.domain.hyperparameters import Hyperparameters
from tests.unit.compute.fit_cases import FITS, OTHERS, FitCase, fit_other


@pytest.mark.parametrize("fit", FITS, ids=str)
def test_a_fit_learns_what_one_on_the_host_learns(fit: FitCase, device: Backend) -> None:
    learned = fit.run(device), fit.run(open_backend("numpy"))
    np.testing.assert_allclose(*map(fit.predictions, learned), atol=2e-4)


@pytest.mark.parametrize("fit", FITS, ids=str)
def test_in_bfloat16_it_learns_nearly_the_same(fit: FitCase, device: Backend) -> None:
    learned = fit.run(device), replace(fit, precision="bfloat16").run(device)
    np.testing.assert_allclose(*map(fit.predictions, learned), atol=0.05)


@pytest.mark.parametrize("counted", [False, True])
@pytest.mark.parametrize("params", OTHERS, ids=lambda params: params.name)
def test_other_algorithms_learn_the_same(params: Hyperparameters, device: Backend, counted: bool) -> None:
    learned = fit_other(params, device, counted)
    for name, array in fit_other(params, open_backend("numpy"), counted).items():
        np.testing.assert_allclose(learned[name], array, atol=1e-3, err_msg=name)


@pytest.mark.parametrize("fit", FITS, ids=str)
def test_the_same_seed_gives_the_same_bits(fit: FitCase, device: Backend) -> None:
    assert weights_sha256(fit.run(device)) == weights_sha256(fit.run(device))


@pytest.mark.parametrize("fit", FITS, ids=str)
def test_replaying_a_step_is_the_same_as_calling_it(
    fit: FitCase, device: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    replayed = weights_sha256(fit.run(device))
    monkeypatch.setattr(run, "repeated", lambda backend, work: work)
    assert weights_sha256(fit.run(device)) == replayed


class Weighed(NullLoop):
    """What the device's memory holds after each epoch, in bytes."""

    def __init__(self, device: Backend) -> None:
        self.bytes: list[int] = []
        self._pool = device.xp.get_default_memory_pool()

    def report(self, step: int, progress: float, metrics: Mapping[str, float]) -> None:
        self.steps = step
        self.bytes.append(self._pool.total_bytes())


def test_memory_does_not_grow_over_ten_thousand_steps(device: Backend) -> None:
    loop = Weighed(device)
    FITS[0].run(device, epochs=1700, loop=loop)
    assert loop.steps > 10_000
    assert loop.bytes[-1] == loop.bytes[10]
