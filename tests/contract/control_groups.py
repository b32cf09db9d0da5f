"""A control group of a test's own, where this process may make one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import pytest

from services.chassis.memory import own_groups

# Of both versions. Without swap, or a full group would be slow and not full.
LIMITS = ("memory.max", "memory.limit_in_bytes", "memory.memsw.limit_in_bytes")
# What a process writes itself into.
MEMBERS = "cgroup.procs"


@contextmanager
def control_group(byte_count: int) -> Iterator[Path]:
    """The folder of a group that may take so much memory; the test is skipped where there can be none."""
    folders, _version = own_groups()
    if not folders:
        pytest.skip("there are no control groups here")
    folder = folders[-1] / f"mlapi-{uuid4().hex}"
    try:
        folder.mkdir()
    except OSError as error:
        pytest.skip(f"no control group can be made here: {error.strerror}")
    try:
        there = [folder / name for name in LIMITS if (folder / name).exists()]
        if not there:
            pytest.skip("groups here have no say in memory")
        for path in there:
            path.write_text(str(byte_count))
        if (swap := folder / "memory.swap.max").exists():
            swap.write_text("0")
        yield folder
    finally:
        folder.rmdir()
