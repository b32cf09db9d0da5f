from __future__ import annotations

import importlib

import numpy as np
import pytest

from services.training.compute.backend import BackendUnavailable, open_backend


def test_numpy_neither_copies_nor_waits() -> None:
    backend = open_backend("numpy")
    array = np.arange(3.0)
    backend.synchronize()
    assert backend.xp is np
    assert backend.to_host(backend.to_device(array)) is array


def test_a_backend_that_cannot_run_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> None:
        raise ModuleNotFoundError(f"No module named {name!r}")

    monkeypatch.setattr(importlib, "import_module", absent)
    with pytest.raises(BackendUnavailable, match="cupy"):
        open_backend("cupy")


def test_an_unknown_backend_is_a_mistake_of_the_caller() -> None:
    with pytest.raises(ValueError, match="'tpu'"):
        open_backend("tpu")
