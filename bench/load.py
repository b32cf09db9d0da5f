"""Load on an address, and what it answered: wrk over HTTP/1.1 with keep-alive, h2load for native gRPC."""

from __future__ import annotations

import os
import re
import shutil
import statistics
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

# Program → the Debian package that has it.
PROGRAMS = {"wrk": "wrk", "h2load": "nghttp2-client"}
_MILLISECONDS = {"us": 0.001, "ms": 1.0, "s": 1000.0, "m": 60_000.0}


class LoadError(Exception):
    """The load could not be made, or not every request was answered well."""


@dataclass(frozen=True)
class Sample:
    """One stretch of load. p50 and p99: milliseconds."""

    rps: float
    p50: float
    p99: float


def ensure_programs() -> None:
    """Installs the load generators where that is possible; raises LoadError naming what is missing."""
    missing = [package for program, package in PROGRAMS.items() if not shutil.which(program)]
    if missing and os.geteuid() == 0 and shutil.which("apt-get"):
        subprocess.run(["apt-get", "install", "-y", "-qq", *missing], stdout=subprocess.DEVNULL, check=False)
        missing = [package for program, package in PROGRAMS.items() if not shutil.which(program)]
    if missing:
        raise LoadError(f"missing: apt-get install {' '.join(missing)}")


def versions() -> dict[str, str]:
    """Of the load generators."""
    found = {}
    for program in PROGRAMS:
        said = subprocess.run([program, "--version"], capture_output=True, text=True, check=False).stdout
        number = re.search(r"\d+(\.\d+)+", said)
        found[program] = number[0] if number else "unknown"
    return found


def rest(url: str, headers: Mapping[str, str], callers: int, seconds: int) -> Sample:
    """`callers` connections, each with one GET after the other; raises LoadError unless each is 2xx."""
    command = ["wrk", "-t1", f"-c{callers}", f"-d{seconds}s", "--timeout", "10s", "--latency"]
    for name, value in headers.items():
        command += ["-H", f"{name}: {value}"]
    said = _run([*command, url])
    if "Non-2xx" in said or "Socket errors" in said:
        raise LoadError(f"{url} with {dict(headers)}:\n{said}")
    rps = float(_found(r"Requests/sec:\s+([\d.]+)", said)[1])
    return Sample(rps, _percentile(50, said), _percentile(99, said))


def native(url: str, message: bytes, callers: int, seconds: int) -> Sample:
    """`callers` HTTP/2 connections, each with one unary gRPC call after the other; `url` names the method."""
    with tempfile.TemporaryDirectory() as folder:
        body, log = Path(folder, "body"), Path(folder, "log")
        body.write_bytes(b"\0" + len(message).to_bytes(4, "big") + message)  # a gRPC frame
        headers = ["-H", "content-type: application/grpc", "-H", "te: trailers"]
        limits = ["-t1", f"-c{callers}", "-m1", f"--duration={seconds}", f"--log-file={log}"]
        said = _run(["h2load", *limits, *headers, "-d", str(body), url])
        rows = [line.split("\t") for line in log.read_text().splitlines()]
    if not rows or any(status != "200" for _, status, _ in rows):
        raise LoadError(f"{url}:\n{said}")
    latencies = sorted(int(microseconds) / 1000 for *_, microseconds in rows)
    p99 = latencies[min(len(latencies) - 1, len(latencies) * 99 // 100)]
    return Sample(len(rows) / seconds, statistics.median(latencies), p99)


def _run(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise LoadError(f"{command[0]} ended with status {done.returncode}: {done.stderr}")
    return done.stdout


def _percentile(percent: int, said: str) -> float:
    found = _found(rf"{percent}%\s+([\d.]+)(us|ms|s|m)\b", said)
    return float(found[1]) * _MILLISECONDS[found[2]]


def _found(pattern: str, said: str) -> re.Match[str]:
    found = re.search(pattern, said)
    if not found:
        raise LoadError(f"cannot read the answer of wrk:\n{said}")
    return found
