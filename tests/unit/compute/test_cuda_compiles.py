"""Every CUDA body is at least a valid program for the devices that are supported; none runs here."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.training import compute
from tests.unit.compute.nvrtc import compiled, sources

SOURCES = sources()


@pytest.mark.parametrize("architecture", ["sm_80", "sm_90"])
@pytest.mark.parametrize("name", sorted(SOURCES))
def test_a_body_compiles(name: str, architecture: str) -> None:
    assert compiled(SOURCES[name], architecture).startswith(b"\x7fELF")


def test_a_mistake_is_told() -> None:
    with pytest.raises(ValueError, match="undefined"):
        compiled('extern "C" __global__ void k(float* x) { x[0] = y; }', "sm_90")


def test_all_bodies_are_where_they_are_looked_for() -> None:
    here = Path(compute.__path__[0])
    found = {path for path in here.rglob("*.py") if "__global__" in path.read_text()}
    assert {path.stem for path in found} == {name.partition(".")[0] for name in SOURCES}
    assert {path.parent for path in found} == {here / "kernels"}
