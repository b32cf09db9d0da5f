"""The processes that train an attempt together: how they are started, met, counted and ended."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import psutil
import pytest

from services.training.adapters.ranks import LocalRanks
from services.training.compute.communicator.base import CommunicatorError

TIMEOUT = 60.0
BURNT = 0.3
# Joins as a rank does, uses the processor for a while, and adds its number to the others'.
RANK = f"""
import os, sys, time
import numpy as np
from services.training.compute.communicator.tcp import TcpCommunicator
port, rank, workers, parent = map(int, sys.argv[1:])
assert os.getppid() == parent
secret = sys.stdin.buffer.read()
with TcpCommunicator.join(("127.0.0.1", port), rank, workers, secret, {TIMEOUT}) as communicator:
    while time.process_time() < {BURNT}:
        pass
    communicator.allreduce(np.array([rank]))
    time.sleep({TIMEOUT})
"""


def ranks(code: str) -> LocalRanks:
    return LocalRanks([sys.executable, "-c", code], TIMEOUT)


def children() -> list[psutil.Process]:
    return psutil.Process().children()


def test_ranks_meet_are_counted_and_end_with_the_work() -> None:
    several = ranks(RANK)
    before, others = several.cpu_seconds(), set(children())
    with several(3, lambda: False) as communicator:
        total = np.array([0])
        communicator.allreduce(total)
        assert total.tolist() == [1 + 2]
        started = set(children()) - others
        assert len(started) == 2
        used = several.cpu_seconds() - before
        assert used > 2 * BURNT * 0.9
    assert not any(one.is_running() for one in started)
    assert several.cpu_seconds() - before >= used * 0.9


def test_one_process_has_nobody_to_meet() -> None:
    with ranks("raise SystemExit(3)")(1, lambda: False) as communicator:
        assert communicator.world_size == 1


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (
            "raise SystemExit(3)",
            "rank 1 did not come; 0 other connections were refused; rank 1 ended with status 3",
        ),
        (
            RANK.replace("communicator.allreduce(np.array([rank]))", "os._exit(4)"),
            "rank 1 .*; rank 1 ended with status 4",
        ),
    ],
)
def test_one_that_ends_is_missed_and_named(code: str, said: str) -> None:
    with pytest.raises(CommunicatorError, match=said), ranks(code)(2, lambda: False) as communicator:
        communicator.barrier()


def test_who_is_to_stop_waits_for_nobody(tmp_path: Path) -> None:
    asked = tmp_path / "asked"
    code = f"open({str(asked)!r}, 'w'); import time; time.sleep({TIMEOUT})"
    others = set(children())
    with pytest.raises(CommunicatorError), ranks(code)(2, asked.exists):
        pass
    assert set(children()) == others
