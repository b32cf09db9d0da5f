"""A real Ray cluster on this machine: a head that runs nothing, and machines that may be lost."""

from __future__ import annotations

import os
import random
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import psutil

from helm.tools import venv
from services.chassis.errors import AppError
from services.training.adapters.ray_jobs import RayJobs
from tests.contract.waiting import until

START_SECONDS = 60.0
STORE_BYTES = "80000000"  # the smallest that Ray takes; nothing is put there


class Machine:
    """One node. It has the addresses and the folders of its own that a machine would have."""

    def __init__(self, log: Path, arguments: Sequence[str], environment: Mapping[str, str]) -> None:
        self._log = log
        ray = [str(venv("ray")), "-m", "ray.scripts.scripts", "start", "--block", "--disable-usage-stats"]
        with log.open("wb") as out:
            self._process = subprocess.Popen(
                [*ray, f"--object-store-memory={STORE_BYTES}", *arguments],
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
            )

    @property
    def alive(self) -> bool:
        """Whether it is there."""
        return self._process.poll() is None

    def started(self) -> bool:
        """Whether it is there; fails when it never will be."""
        text = self._log.read_text()
        assert self.alive, text
        return "Ray runtime started" in text

    def runs(self, process: psutil.Process) -> bool:
        """Whether the process is one of this machine's."""
        return any(parent.pid == self._process.pid for parent in process.parents())

    def lost(self) -> None:
        """As if its power had failed: with all that runs on it."""
        top = psutil.Process(self._process.pid)
        top.suspend()  # so that it starts nothing meanwhile
        for process in [*top.children(recursive=True), top]:
            process.kill()
        self._process.wait()


class Cluster:
    """Its dashboard's URL, its token, and the Jobs API behind them."""

    def __init__(self) -> None:
        # Sockets are in there, whose names may have 107 characters.
        self._folder = Path(tempfile.mkdtemp(prefix="ray-", dir="/tmp"))
        self.token = secrets.token_hex(16)
        self._gcs, dashboard, client = _free_ports(3)
        self.url = f"http://127.0.0.1:{dashboard}"
        self.machines: list[Machine] = []
        self._start(
            "head",
            [
                *("--head", "--node-ip-address=127.0.0.1", f"--port={self._gcs}", "--num-cpus=0"),
                *("--dashboard-host=127.0.0.1", f"--dashboard-port={dashboard}"),
                *(f"--ray-client-server-port={client}", f"--temp-dir={self._folder / 'head'}"),
            ],
            {},
        )
        self.jobs = RayJobs(self.url, self.token)
        until(self._answers, START_SECONDS)

    def add(self, cpus: int, **variables: str) -> Machine:
        """One more machine, with variables of its own."""
        number = len(self.machines) + 1
        address = [f"--address=127.0.0.1:{self._gcs}", f"--node-ip-address=127.0.0.{number}"]
        return self._start(f"machine-{number}", [*address, f"--num-cpus={cpus}"], variables)

    def end(self) -> None:
        """Nothing is left of it."""
        for machine in reversed(self.machines):
            if machine.alive:
                machine.lost()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _start(self, name: str, arguments: Sequence[str], variables: Mapping[str, str]) -> Machine:
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        environment = {**os.environ, "PATH": path, "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": self.token}
        # Work is handed to the head by its agent's port, where another cluster's may listen by default.
        own = [*arguments, f"--dashboard-agent-listen-port={_free_ports(1)[0]}"]
        machine = Machine(self._folder / f"{name}.log", own, {**environment, **variables})
        self.machines.append(machine)
        # One after the other: two that start in one moment take the same ports.
        until(machine.started, START_SECONDS)
        return machine

    def _answers(self) -> bool:
        try:
            return self.jobs.all() == []
        except AppError:
            return False


def _free_ports(number: int) -> list[int]:
    """Neither of those that Ray takes for its workers, nor of those that the system hands out meanwhile."""
    found: list[int] = []
    for port in random.sample(range(20_000, 32_000), 1000):
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            found.append(port)
        if len(found) == number:
            break
    return found
