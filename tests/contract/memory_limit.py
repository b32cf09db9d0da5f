"""A real want of memory, for the one process that asks for it: a control group of its own."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.contract.waiting import until

ROOT = Path("/sys/fs/cgroup")
BYTES = 64 << 20


@contextmanager
def little_memory() -> Iterator[str]:
    """The Python code by which a process comes to have so little; skips where nobody may limit memory."""
    version_1 = (ROOT / "memory").is_dir()
    group = (ROOT / "memory" if version_1 else ROOT) / f"mlapi-test-{os.getpid()}"
    limit = group / ("memory.limit_in_bytes" if version_1 else "memory.max")
    try:
        group.mkdir()
        limit.write_text(str(BYTES))
    except OSError as error:
        pytest.skip(f"memory cannot be limited here: {error}")
    try:
        yield f"import os; open('{group}/cgroup.procs', 'w').write(str(os.getpid()))\n"
    finally:
        until(lambda: not (group / "cgroup.procs").read_text())
        group.rmdir()
