"""What every `Communicator` promises, with real processes."""

from __future__ import annotations

import re
import signal
from collections.abc import Iterator
from functools import reduce
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from services.training.compute.backend import BackendUnavailable, open_backend
from services.training.compute.communicator.base import ALONE
from tests.contract import ranks
from tests.contract.crew import SECRET, Crew, Failed, World

KINDS = [
    ((7,), "float32"),
    ((3, 5), "float64"),
    ((11,), "int64"),
    ((), "float64"),
    ((0,), "float32"),
    ((2, 0), "int64"),
    ((ranks.LARGE,), "float64"),
]


@pytest.fixture(scope="module")
def crew() -> Iterator[Crew]:
    crew = Crew()
    yield crew
    crew.close()


@pytest.fixture(params=["tcp", "nccl"], scope="module")
def adapter(request: pytest.FixtureRequest) -> str:
    if request.param == "nccl":
        try:
            devices = open_backend("cupy").xp.cuda.runtime.getDeviceCount()
        except BackendUnavailable as unavailable:
            pytest.skip(str(unavailable))
        if devices < 4:
            pytest.skip(f"NCCL wants a device for each rank: 4, there are {devices}")
    return str(request.param)


@pytest.mark.parametrize("size", [2, 4])
def test_sums_have_the_same_bits_on_all_ranks_in_every_run(crew: Crew, adapter: str, size: int) -> None:
    first, second = (crew.run(World(size, adapter), ranks.sums, KINDS) for _ in range(2))
    assert all(found == first[0] for found in first + second)
    for kind, found in zip(KINDS, first[0], strict=True):
        arrays = [ranks.mine(rank, *kind) for rank in range(size)]
        expected = reduce(np.add, arrays)
        if adapter == "tcp":
            assert found == expected.tobytes()
        np.testing.assert_allclose(np.frombuffer(found, kind[1]), expected.ravel(), rtol=1e-5, atol=1e-3)


def test_the_order_of_additions_tells() -> None:
    """What the test above compares would be other bits in another order."""
    arrays = [ranks.mine(rank, (ranks.LARGE,), "float64") for rank in range(4)]
    assert reduce(np.add, arrays).tobytes() != reduce(np.add, arrays[::-1]).tobytes()


@pytest.mark.parametrize(("size", "root"), [(2, 1), (3, 0), (3, 2)])
def test_a_broadcast_brings_the_array_of_its_root(crew: Crew, adapter: str, size: int, root: int) -> None:
    expected = [ranks.mine(root, *kind).tobytes() for kind in KINDS]
    assert crew.run(World(size, adapter), ranks.broadcasts, KINDS, root) == [expected] * size


def test_nobody_passes_a_barrier_before_all_have_come(crew: Crew, adapter: str, tmp_path: Path) -> None:
    assert crew.run(World(4, adapter), ranks.meets, tmp_path) == [[4, 4, 4]] * 4


@pytest.mark.parametrize(
    ("odd", "other", "said"),
    [
        (2, ("allreduce", (4, 2), "float32"), r"float32\[4, 2\]"),
        (1, ("allreduce", (4, 3), "float64"), r"float64\[4, 3\]"),
        (0, ("allreduce", (ranks.LARGE,), "float32"), r"float32\[1048579\]"),
        (1, ("broadcast", (4, 3), "float32"), "a broadcast from rank 0"),
        (2, ("barrier", (4, 3), "float32"), "a barrier"),
        (0, ("allreduce", (4, 3), "float16"), "float16"),
        (1, ("strided", (9,), "float32"), "contiguous"),
    ],
)
def test_ranks_that_differ_are_all_told_how(
    crew: Crew, adapter: str, odd: int, other: tuple[Any, ...], said: str
) -> None:
    usual = ("allreduce", (4, 3), "float32")
    found = crew.run(World(3, adapter), ranks.differs, odd, usual, other)
    for first, second in found:
        assert first == second
        assert re.search(said, first), first


@pytest.mark.parametrize("victim", [0, 2])
@pytest.mark.parametrize("size", [5, ranks.LARGE])
def test_all_hear_of_a_rank_that_is_killed(crew: Crew, adapter: str, victim: int, size: int) -> None:
    found = crew.run(World(3, adapter), ranks.dies, victim, signal.SIGKILL, size, lost=victim)
    assert all(isinstance(one, Failed) for rank, one in enumerate(found) if rank != victim)
    assert f"rank {victim}" in found[1].reason


@pytest.mark.parametrize("victim", [0, 2])
def test_nobody_waits_longer_than_the_timeout_for_a_rank_that_hangs(
    crew: Crew, adapter: str, victim: int
) -> None:
    world = World(3, adapter, timeout=1.5)
    found = crew.run(world, ranks.dies, victim, signal.SIGSTOP, ranks.LARGE, lost=victim)
    assert all(isinstance(one, Failed) for rank, one in enumerate(found) if rank != victim)
    # Rank 0 knows who it is; the others, at the same moment, that rank 0 does not answer.
    assert f"rank {victim} did not come to a sum" in found[0 if victim else 1].reason


@pytest.mark.parametrize("who", [0, 1])
@pytest.mark.parametrize("size", [5, ranks.LARGE])
def test_an_error_on_one_rank_is_one_on_all(crew: Crew, adapter: str, who: int, size: int) -> None:
    found = crew.run(World(3, adapter), ranks.gives_up, who, size)
    assert all("out of memory" in one.reason for one in found)
    assert all(f"rank {who} gave up" in one.reason for rank, one in enumerate(found) if rank != who)


@pytest.mark.parametrize("who", [0, 2])
def test_an_abort_ends_the_calls_of_all(crew: Crew, adapter: str, who: int) -> None:
    assert crew.run(World(4, adapter), ranks.aborts, who) == [f"rank {who} gave up: the disk is full"] * 4


@pytest.mark.parametrize("who", [0, 1])
def test_a_rank_that_leaves_early_is_missed(crew: Crew, adapter: str, who: int) -> None:
    found = crew.run(World(2, adapter), ranks.leaves, who)
    assert found[who] is None
    assert f"rank {who}" in found[1 - who].reason


def test_a_rank_with_another_secret_is_kept_out(crew: Crew, adapter: str) -> None:
    secrets = (SECRET, SECRET[::-1], SECRET)
    found = crew.run(World(3, adapter, 1.0, secrets), ranks.sums, KINDS)
    assert "has another secret" in found[1].reason
    assert "rank 1 did not come" in found[0].reason
    assert "did not come" in found[2].reason


def test_a_world_of_one_waits_for_nobody(tmp_path: Path) -> None:
    with ALONE as alone:
        own = [ranks.mine(0, *kind).tobytes() for kind in KINDS]
        assert ranks.sums(alone, KINDS) == ranks.broadcasts(alone, KINDS, 0) == own
        assert ranks.meets(alone, tmp_path) == [1, 1, 1]
        alone.abort("nobody hears")
