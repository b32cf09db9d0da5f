"""Memory as the kernel tells it: of a group, of those above it, of the machine; and what is made of it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from services.chassis.memory import (
    BACK_BY,
    LOOK_SECONDS,
    MemoryWatch,
    Taken,
    bounds,
    fullest,
    kills,
    limit,
)
from services.chassis.shedding import takes_memory
from tests.contract.control_groups import MEMBERS, control_group

MIB = 1 << 20
UNLIMITED_V1 = "9223372036854771712"


class Kernel:
    """The files of a kernel, below a folder."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.write("proc/meminfo", "MemTotal: 1048576 kB\nMemFree: 1 kB\nMemAvailable: 786432 kB\n")
        self.write("proc/vmstat", "pgfault 12\noom_kill 7\n")

    def write(self, name: str, text: str) -> None:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def group(self, path: str, limit: str, current: int, cache: int = 0, stalled: str = "0.00") -> None:
        """Of the second version. limit, current, cache: MiB."""
        folder = f"sys/fs/cgroup/{path}"
        self.write(f"{folder}/memory.max", limit if limit == "max" else f"{int(limit) * MIB}")
        self.write(f"{folder}/memory.current", f"{current * MIB}\n")
        halves = f"inactive_file {cache * MIB // 2}\nactive_file {cache * MIB // 2}"
        self.write(f"{folder}/memory.stat", f"anon 1\n{halves}\nslab_reclaimable 0\n")
        self.write(
            f"{folder}/memory.pressure", f"some avg10=99.00 avg60=0 total=1\nfull avg10={stalled} total=1\n"
        )

    def old_group(self, path: str, limit: str, current: int, cache: int = 0) -> None:
        """Of the first version."""
        folder = f"sys/fs/cgroup/memory/{path}"
        self.write(
            f"{folder}/memory.limit_in_bytes", limit if limit == UNLIMITED_V1 else f"{int(limit) * MIB}"
        )
        self.write(f"{folder}/memory.usage_in_bytes", f"{current * MIB}")
        self.write(
            f"{folder}/memory.stat", f"cache 0\ntotal_inactive_file {cache * MIB}\ntotal_active_file 0\n"
        )
        self.write(f"{folder}/memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n")

    def in_group(self, line: str) -> None:
        self.write("proc/self/cgroup", f"{line}\n")

    def taken(self) -> tuple[int, int, float]:
        """Used and limit in MiB, and stalled, of the fullest."""
        found = fullest(bounds(self.root))()
        assert found
        return found.used // MIB, found.limit // MIB, found.stalled


@pytest.fixture
def kernel(tmp_path: Path) -> Kernel:
    return Kernel(tmp_path)


def test_without_a_group_the_machine_counts(kernel: Kernel) -> None:
    assert kernel.taken() == (256, 1024, 0)
    kernel.in_group("0::/a")
    kernel.group("a", "max", 900)
    kernel.write("proc/pressure/memory", "some avg10=2.00 total=1\nfull avg10=31.50 total=1\n")
    assert kernel.taken() == (256, 1024, 0.315)
    assert kills(kernel.root) == 7


def test_a_group_counts_without_its_cache_of_files(kernel: Kernel) -> None:
    kernel.in_group("0::/a")
    kernel.group("a", "512", current=500, cache=300, stalled="12.50")
    assert kernel.taken() == (200, 512, 0.125)
    kernel.write("sys/fs/cgroup/a/memory.events", "low 0\noom 3\noom_kill 1\n")
    assert kills(kernel.root) == 1


def test_a_group_above_that_is_fuller_counts(kernel: Kernel) -> None:
    kernel.in_group("0::/pod/container")
    kernel.group("pod/container", "512", current=256)
    kernel.group("pod", "600", current=500)
    assert kernel.taken() == (500, 600, 0)


@pytest.mark.parametrize("path", ["/kubepods/pod1/c1", "/../c1", "/"])
def test_a_container_finds_its_group_at_the_mount(kernel: Kernel, path: str) -> None:
    """Its path may be told as the machine sees it, or as another container does."""
    kernel.in_group(f"0::{path}")
    kernel.group("", "512", current=400)
    assert kernel.taken() == (400, 512, 0)


def test_the_first_version_of_groups(kernel: Kernel) -> None:
    kernel.in_group("9:name=systemd:/\n4:cpu,memory:/docker/c1\n0::/")
    kernel.old_group("docker/c1", "512", current=500, cache=100)
    kernel.old_group("docker", UNLIMITED_V1, current=5000)
    assert kernel.taken() == (400, 512, 0)
    assert kills(kernel.root) == 2


def test_the_smallest_of_all_bounds_is_the_limit(kernel: Kernel) -> None:
    assert limit(kernel.root) == 1024 * MIB
    kernel.in_group("0::/pod/container")
    kernel.group("pod/container", "600", current=1)
    kernel.group("pod", "512", current=1)
    assert limit(kernel.root) == 512 * MIB


def test_where_nothing_can_be_read_nothing_is_short(tmp_path: Path) -> None:
    watch = MemoryWatch(0.9, fullest(bounds(tmp_path)))
    assert (watch.taken(), watch.short(), watch.critical()) == (None, False, False)
    assert kills(tmp_path) == 0
    assert limit(tmp_path) is None


# What is made of it


class Watched:
    """A watch of what is set here; a look for each question."""

    def __init__(self, high: float) -> None:
        self.now, self.looks = 0.0, 0
        self.found = Taken(0, 1000)
        self.watch = MemoryWatch(high, self._look, lambda: self.now)

    def _look(self) -> Taken:
        self.looks += 1
        return self.found

    def at(self, used: int, stalled: float = 0.0) -> tuple[bool, bool]:
        """Whether memory is short, and whether critical, then."""
        self.now += LOOK_SECONDS
        self.found = Taken(used, 1000, stalled)
        return self.watch.short(), self.watch.critical()


def test_it_is_short_from_the_mark_until_well_below_it_and_critical_above() -> None:
    watched, lower = Watched(0.9), int(1000 * (0.9 - BACK_BY))
    assert watched.at(899) == (False, False)
    assert watched.at(900) == (True, False)
    assert watched.at(950) == (True, True)
    assert watched.at(949) == (True, False)
    assert watched.at(lower) == (True, False)
    assert watched.at(lower - 1) == (False, False)
    assert watched.at(899) == (False, False)


def test_it_is_short_while_processes_stand_still_for_want_of_it() -> None:
    watched = Watched(0.9)
    assert watched.at(100, stalled=0.19) == (False, False)
    assert watched.at(100, stalled=0.2) == (True, False)
    assert watched.at(100, stalled=0.1) == (True, False)
    assert watched.at(100, stalled=0.09) == (False, False)


def test_nobody_is_refused_when_it_is_off() -> None:
    assert Watched(0).at(1000, stalled=1.0) == (False, False)


def test_callers_share_a_look() -> None:
    watched = Watched(0.9)
    watched.at(950)
    watched.found = Taken(0, 1000)
    assert watched.watch.short()
    assert watched.looks == 1


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        ("/mlapi.training.v1.DatasetService/UploadDataset", True),
        ("/mlapi.training.v1.JobService/CreateJob", True),
        ("/mlapi.training.v1.ModelService/Predict", True),
        ("/mlapi.ai_gateway.v1.WireService/ChatCompletions", True),
        ("/mlapi.ai_gateway.v1.WireService/ListModels", False),
        ("/mlapi.training.v1.JobService/CancelJob", False),
        ("/mlapi.training.v1.JobService/WatchJobEvents", False),
        ("/mlapi.training.v1.ModelService/DeleteModel", False),
        ("/mlapi.training.v1.RegistryService/SetAlias", False),
        ("/grpc.health.v1.Health/Check", False),
        ("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", False),
    ],
)
def test_what_looks_or_ends_something_is_light(method: str, expected: bool) -> None:
    assert takes_memory(method) is expected


def test_a_process_sees_its_real_group_fill_up() -> None:
    code = (
        "import sys; from pathlib import Path; from services.chassis.memory import MemoryWatch\n"
        "Path(sys.argv[1]).write_text('0')\n"
        "print(MemoryWatch(0.5).short())\n"
        "held = bytearray(b'x') * (140 << 20)\n"
        "watch = MemoryWatch(0.5); print(watch.short(), watch.taken().limit >> 20)"
    )
    with control_group(200 * MIB) as group:
        command = [sys.executable, "-c", code, str(group / MEMBERS)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert done.stdout.split() == ["False", "True", "200"]
