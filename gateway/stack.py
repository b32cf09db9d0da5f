"""The whole product on one machine: three services and the edge.

    python -m gateway.stack        what `make run` runs: the ports of the settings, in the foreground

`Stack` is the same on free ports, for the demo and the tests.
"""

from __future__ import annotations

import os
import signal
import socket
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from threading import Event
from types import TracebackType
from typing import Self

from gateway.edge import command
from gateway.log_files import trim
from gateway.settings import EdgeSettings, environment
from services.chassis.settings import is_loopback, load

SERVICES = ("training", "ai_gateway", "health")
FIRST_PORTS = {"training": (50051, 9101), "ai_gateway": (50052, 9102), "health": (50053, 9103)}
# Two checks of the edge, with a second between, and a bit: then it sends a process that drains nothing more.
NOTICE_SECONDS = 3.0
# Between those of a service's first process and its second.
PORT_STEP = 10
POLL_SECONDS = 0.02

# glibc gives every thread a heap of its own and keeps what each has once needed: measured on an upload of a
# gigabyte, a third of the memory.
FRUGAL = {"MALLOC_ARENA_MAX": "2"}

# We started it ourselves, and look at nothing but its health; its certificate may be for another name.
_ANYBODY = ssl.create_default_context()
_ANYBODY.check_hostname, _ANYBODY.verify_mode = False, ssl.CERT_NONE


class StackError(Exception):
    """The stack did not start, or a part of it ended; the message says which and shows its last words."""


class Stack:
    """The running product. Leaving it ends every process.

    url: of REST. address: of native gRPC, the same port.
    """

    def __init__(
        self, data_dir: Path, overrides: Mapping[str, str] | None = None, *, on_free_ports: bool = True
    ) -> None:
        values = {**FRUGAL, **environment(), "DATA_DIR": str(data_dir.resolve()), **(overrides or {})}
        if values.get("TLS") in {"1", "true"}:
            from gateway.dev_ca import certificates  # noqa: PLC0415 (a container has no such library)

            values |= certificates(data_dir.resolve() / "tls")
        workers = int(values.get("MAX_WORKERS") or 1)
        if workers > 1:  # else there is nobody to go to meanwhile
            values.setdefault("DRAIN_NOTICE", str(NOTICE_SECONDS))
        if on_free_ports:
            values.update(free_ports())
        self._ports = _ports(values, workers, on_free_ports)
        self._environment = _with_addresses(values, self._ports)
        self.settings = EdgeSettings.model_validate(_fields(self._environment))
        host = "127.0.0.1" if is_loopback(self.settings.host) else self.settings.host
        self.address = f"{host}:{self.settings.port}"
        self.url = f"{'https' if self.settings.edge_tls_cert_file else 'http'}://{self.address}"
        self.logs = data_dir.resolve() / "logs"
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Starts everything and returns when every service takes calls; raises StackError.

        A vendor that is away, or a disk that fills, keeps nobody from the rest: `/health` tells of it.
        """
        self.logs.mkdir(parents=True, exist_ok=True)
        for name in self._ports:
            self.start_service(name)
        self._start_edge()
        deadline = time.monotonic() + self.settings.ready_timeout
        while not self._ready():
            self.check()
            if time.monotonic() > deadline:
                raise StackError(f"not ready after {self.settings.ready_timeout:g} s: {_get(self.url)}")
            time.sleep(POLL_SECONDS)

    def workers(self, service: str) -> list[str]:
        """The processes of one of SERVICES: `training`, `training-1`, …"""
        return [name for name in self._ports if name.partition("-")[0] == service]

    def start_service(self, name: str) -> None:
        """Starts a process of one of SERVICES, named as `workers` does."""
        self._spawn(name, [sys.executable, "-m", f"services.{name.partition('-')[0]}"])

    def kill(self, name: str, how: signal.Signals = signal.SIGKILL) -> None:
        """Ends one process and waits for it; for tests of what happens then."""
        process = self._processes.pop(name)
        process.send_signal(how)
        process.wait()

    def pid(self, name: str) -> int:
        """Process id of a service's process, or of `edge`."""
        return self._processes[name].pid

    def grpc_port(self, name: str) -> int:
        """Where a process of one of SERVICES answers gRPC."""
        return self._ports[name][0]

    def metrics_port(self, name: str) -> int:
        """Where a process of one of SERVICES answers Prometheus."""
        return self._ports[name][1]

    def check(self) -> None:
        """Raises StackError when a process has ended."""
        for name, process in self._processes.items():
            if process.poll() is not None:
                words = (self.logs / f"{name}.log").read_text(errors="replace").splitlines()[-12:]
                raise StackError("\n".join([f"{name} ended with status {process.returncode}:", *words]))

    def stop(self) -> None:
        """Ends the edge, so that nothing new comes in, then lets the services finish."""
        for names in (["edge"], list(self._ports)):
            processes = [self._processes.pop(name) for name in names if name in self._processes]
            for process in processes:
                process.send_signal(signal.SIGTERM)
            for process in processes:
                _wait_or_kill(process, self.settings.drain_timeout + 5)

    def _start_edge(self) -> None:
        self._spawn("edge", command(self.settings, self.logs.parent / "envoy.yaml"))

    def _spawn(self, name: str, command: Sequence[str]) -> None:
        # The vendors' keys are nobody's business but the AI gateway's.
        service = name.partition("-")[0].upper()
        keys = [key for key in self._environment if "_API_KEY" in key and not key.startswith(f"{service}_")]
        secret = () if service == "AI_GATEWAY" else keys
        own = dict(self._environment)
        if name in self._ports:
            grpc, metrics = map(str, self._ports[name])
            own |= {f"{service}_GRPC_PORT": grpc, f"{service}_METRICS_PORT": metrics}
        with (self.logs / f"{name}.log").open("ab") as log:
            # A session of its own: Ctrl-C reaches the runner only, and the runner ends the parts in order.
            self._processes[name] = subprocess.Popen(
                command,
                env={key: value for key, value in own.items() if key not in secret},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def _ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/readyz", timeout=5, context=_ANYBODY) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False


def main() -> int:
    """Runs the stack until Ctrl-C or until a part of it ends."""
    settings = load(EdgeSettings)
    ended = Event()
    for name in (signal.SIGINT, signal.SIGTERM):
        signal.signal(name, lambda *_: ended.set())
    with ExitStack() as running:
        try:
            stack = running.enter_context(Stack(settings.data_dir, on_free_ports=False))
            ca = [f"CA: {file}"] if (file := stack.settings.tls_ca_file) else []
            print(f"logs: {stack.logs}", *ca, f"ready: {stack.url}", sep="\n", flush=True)
            while not ended.wait(0.5):
                stack.check()
                trim(stack.logs, settings.log_file_bytes, settings.log_file_count)
        except StackError as error:
            print(error, file=sys.stderr)
            return 1
    return 0


def free_ports() -> dict[str, str]:
    """Ports that are free now, all different: of the edge, and of each service's first process."""
    services = [f"{name.upper()}_{kind}_PORT" for name in SERVICES for kind in ("GRPC", "METRICS")]
    names = ("PORT", "ADMIN_PORT", *services)
    return dict(zip(names, map(str, _free(len(names))), strict=True))


def _free(count: int) -> list[int]:
    """Free ports, all different: each is held until all are known."""
    with ExitStack() as held:
        found = [held.enter_context(socket.socket()) for _ in range(count)]
        for one in found:
            one.bind(("127.0.0.1", 0))
        return [int(one.getsockname()[1]) for one in found]


def _ports(values: Mapping[str, str], workers: int, free: bool) -> dict[str, tuple[int, int]]:
    """Process → its ports for gRPC and for metrics."""
    found: dict[str, tuple[int, int]] = {}
    for service, standard in FIRST_PORTS.items():
        names = (f"{service.upper()}_GRPC_PORT", f"{service.upper()}_METRICS_PORT")
        first = [int(values.get(name) or port) for name, port in zip(names, standard, strict=True)]
        for number in range(workers):
            fresh = free and number > 0
            grpc, metrics = _free(2) if fresh else (port + number * PORT_STEP for port in first)
            found[f"{service}-{number}" if number else service] = (grpc, metrics)
    return found


def _with_addresses(values: dict[str, str], ports: Mapping[str, tuple[int, int]]) -> dict[str, str]:
    """Where the services are, unless that is said already."""
    for service in SERVICES:
        mine = [str(grpc) for name, (grpc, _) in ports.items() if name.partition("-")[0] == service]
        values.setdefault(f"{service.upper()}_ADDRESS", ",".join(f"127.0.0.1:{port}" for port in mine))
    values.setdefault("ACCESS_LOG", str(Path(values["DATA_DIR"]) / "logs" / "access.log"))
    return values


def _fields(values: Mapping[str, str]) -> dict[str, str]:
    return {name: values[name.upper()] for name in EdgeSettings.model_fields if name.upper() in values}


def _get(url: str) -> str:
    try:
        with urllib.request.urlopen(f"{url}/health", timeout=5, context=_ANYBODY) as answer:
            return str(answer.read().decode(errors="replace"))
    except urllib.error.HTTPError as error:
        return error.read().decode(errors="replace")
    except OSError as error:
        return str(error)


def _wait_or_kill(process: subprocess.Popen[bytes], seconds: float) -> None:
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


if __name__ == "__main__":
    sys.exit(main())
