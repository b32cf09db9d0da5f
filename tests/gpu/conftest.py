from __future__ import annotations

import pytest

from services.training.compute.backend import Backend, BackendUnavailable, open_backend


@pytest.fixture(scope="session")
def device() -> Backend:
    """The backend on a CUDA device; without one, or without CuPy, every test is skipped and says why."""
    try:
        return open_backend("cupy")
    except BackendUnavailable as unavailable:
        pytest.skip(str(unavailable))
