"""How much of the memory that this process may take is taken, as the kernel sees it before it kills.

What bounds it is the machine, its control group, or a group above that one; the fullest of them counts. What
the kernel keeps of files, it gives up by itself, and so it is not counted as taken: a job that reads its data
again and again would fill any group with it. When it gives up what is soon read again, processes stand still;
where the kernel says so (PSI), that is want of memory too.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

log = logging.getLogger("memory")
# A look is some ten reads of the kernel's files; a call that asks meanwhile is told what was found.
LOOK_SECONDS = 0.25
# Short until so much less is taken, lest every other call be refused.
BACK_BY = 0.05
# Of the time in which no process of the group could go on.
STALLED, STALLED_NO_MORE = 0.2, 0.1
# A group's file cache and the kernel's own, in both versions of control groups.
_GIVEN_UP = ("inactive_file", "active_file", "slab_reclaimable")
_GIVEN_UP_V1 = ("total_inactive_file", "total_active_file")


@dataclass(frozen=True)
class Taken:
    """used, limit: bytes. stalled: share of the last ten seconds in which nothing could go on for want of
    memory; 0 where the kernel does not say."""

    used: int
    limit: int
    stalled: float = 0.0

    @property
    def share(self) -> float:
        """0 to 1, of what may be taken."""
        return self.used / self.limit


# Answers None where nothing is bounded; raises OSError, ValueError or KeyError where nothing can be read.
Look = Callable[[], Taken | None]


class MemoryWatch:
    """Looks when it is asked, at most every LOOK_SECONDS. Thread-safe.

    high: the share from which on memory is short; 0 for never. It is critical halfway from there to the end.
    """

    def __init__(
        self, high: float, look: Look | None = None, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._high = high
        self._look = look or fullest(bounds())
        self._monotonic = monotonic
        self._lock = Lock()
        self._looked = float("-inf")
        self._taken: Taken | None = None
        self._short = False

    def taken(self) -> Taken | None:
        """What was found lately; None where nobody can tell."""
        with self._lock:
            if self._monotonic() - self._looked >= LOOK_SECONDS:
                self._taken = self._found()
                self._looked = self._monotonic()
                self._judge()
            return self._taken

    def short(self) -> bool:
        """Whether nothing should be begun that takes memory."""
        return bool(self._high) and self.taken() is not None and self._short

    def critical(self) -> bool:
        """Whether something has to end, or the kernel will end something."""
        taken = self.taken() if self._high else None
        return taken is not None and taken.share >= (1 + self._high) / 2

    def _found(self) -> Taken | None:
        try:
            return self._look()
        except (OSError, ValueError, KeyError):
            return None

    def _judge(self) -> None:
        before, taken = self._short, self._taken
        if taken is None or not self._high:
            self._short = False
        elif before:
            self._short = taken.share >= self._high - BACK_BY or taken.stalled >= STALLED_NO_MORE
        else:
            self._short = taken.share >= self._high or taken.stalled >= STALLED
        if self._short is not before:
            text = "memory is short: nothing begins that takes some" if self._short else "there is room again"
            fields = {"used": taken.used, "limit": taken.limit, "stalled": taken.stalled} if taken else {}
            log.warning(text, extra={"fields": fields})


def fullest(looks: Iterable[Look]) -> Look:
    """The one of which the largest share is taken."""
    kept = list(looks)

    def look() -> Taken | None:
        found = [taken for one in kept if (taken := one()) is not None]
        return max(found, key=lambda taken: taken.share, default=None)

    return look


def bounds(root: Path = Path("/")) -> list[Look]:
    """Everything that bounds this process. root: where `proc` and `sys` are."""
    folders, version = own_groups(root)
    group = _group if version == 2 else _group_v1
    return [*(group(folder) for folder in folders), _machine(root)]


def limit(root: Path = Path("/")) -> int | None:
    """Bytes that this process and its like may take together; None where nothing bounds them."""
    found = []
    for look in bounds(root):
        with suppress(OSError, ValueError, KeyError):
            if (taken := look()) is not None:
                found.append(taken.limit)
    return min(found, default=None)


def own_groups(root: Path = Path("/")) -> tuple[list[Path], int]:
    """The folders of this process's control group for memory and of those above it, and the version (1 or 2).

    None where there are no groups.
    """
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return [], 2
    paths = {controllers: path for _, controllers, path in (line.split(":", 2) for line in lines)}
    mount = root / "sys/fs/cgroup"
    old = next((path for names, path in paths.items() if "memory" in names.split(",")), None)
    if old is not None:
        return _upwards(mount / "memory", old), 1
    return _upwards(mount, paths.get("", "/")), 2


def kills(root: Path = Path("/")) -> int:
    """How many processes of this one's group the kernel has ended for want of memory; where it does not count
    that, of the machine."""
    folders, version = own_groups(root)
    counts = [folder / ("memory.events" if version == 2 else "memory.oom_control") for folder in folders[:1]]
    for path in (*counts, root / "proc/vmstat"):
        try:
            return _numbers(path)["oom_kill"]
        except (OSError, ValueError, KeyError):
            continue
    return 0


def _upwards(mount: Path, path: str) -> list[Path]:
    """A container may see the group as the mount itself, and its path as the machine does."""
    folder = mount / path.lstrip("/")
    if ".." in folder.parts or not folder.is_dir():
        folder = mount
    folders = [folder, *folder.parents]
    return [one for one in folders[: folders.index(mount) + 1] if one.is_dir()]


def _group(folder: Path) -> Look:
    def look() -> Taken | None:
        limit = _number(folder / "memory.max")
        if limit is None:
            return None
        facts = _numbers(folder / "memory.stat")
        used = _used(_number(folder / "memory.current"), facts, _GIVEN_UP)
        return Taken(used, limit, _stalled(folder / "memory.pressure"))

    return look


def _group_v1(folder: Path) -> Look:
    def look() -> Taken | None:
        limit = _number(folder / "memory.limit_in_bytes")
        if limit is None or limit > 1 << 62:  # no limit is a number just below the largest
            return None
        facts = _numbers(folder / "memory.stat")
        return Taken(_used(_number(folder / "memory.usage_in_bytes"), facts, _GIVEN_UP_V1), limit)

    return look


def _machine(root: Path) -> Look:
    def look() -> Taken | None:
        facts = _numbers(root / "proc/meminfo")
        total, free = facts["MemTotal:"] * 1024, facts["MemAvailable:"] * 1024
        return Taken(total - free, total, _stalled(root / "proc/pressure/memory"))

    return look


def _used(current: int | None, facts: dict[str, int], given_up: Iterable[str]) -> int:
    return max(0, (current or 0) - sum(facts.get(name, 0) for name in given_up))


def _number(path: Path) -> int | None:
    """None where it says `max`, and at the top, which has no such file."""
    try:
        text = path.read_text().strip()
    except FileNotFoundError:
        return None
    return None if text == "max" else int(text)


def _numbers(path: Path) -> dict[str, int]:
    """Lines of a name and a number, and perhaps a unit."""
    return {words[0]: int(words[1]) for words in map(str.split, path.read_text().splitlines())}


def _stalled(path: Path) -> float:
    """0 where the kernel keeps no account of it."""
    try:
        lines = path.read_text().splitlines()
    except OSError:
        return 0.0
    full = next((line for line in lines if line.startswith("full ")), "full avg10=0")
    return float(full.split()[1].removeprefix("avg10=")) / 100
