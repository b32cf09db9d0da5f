"""`make run`: ready in one line; Ctrl-C leaves no process and no port behind, in mid-training too."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import psutil

from gateway.stack import free_ports
from tests.e2e.journeys import flowers, upload

PATIENCE = 30


def test_ctrl_c_ends_all_of_it(tmp_path: Path) -> None:
    ports = free_ports()
    environment = {**os.environ, **ports, "DATA_DIR": str(tmp_path)}
    command = [sys.executable, "-m", "gateway.stack"]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as stack:
        assert stack.stdout
        url = next(line.split()[1] for line in stack.stdout if line.startswith("ready: "))
        with httpx.Client(base_url=url, timeout=30) as rest:
            assert rest.get("/health").status_code == 200
            start_a_long_job(rest)
        family = psutil.Process(stack.pid).children(recursive=True)
        assert len(family) == 5  # three services, Envoy, a worker
        stack.send_signal(signal.SIGINT)
        assert stack.wait(PATIENCE) == 0
    assert [process for process in family if process.is_running()] == []
    for port in ports.values():
        with socket.socket() as one:
            # Past connections may linger on a port; a listener may not.
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            one.bind(("127.0.0.1", int(port)))


def start_a_long_job(rest: httpx.Client) -> None:
    upload(rest, "long", flowers(2000))
    endless = {"max_epochs": 100000, "early_stopping_patience": 99999}
    created = rest.post("/v1/jobs", json={"dataset_id": "long", "target": "kind", "mlp": endless})
    path = f"/v1/jobs/{created.json()['job_id']}"
    deadline = time.monotonic() + PATIENCE
    while not rest.get(path).json()["progress"]:
        assert time.monotonic() < deadline
        time.sleep(0.05)
