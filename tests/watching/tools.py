"""Prometheus and a collector: from PATH, else fetched once into `.tools/`, which git ignores."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TOOLS = ROOT / ".tools"
FETCH_SECONDS = 120


def prometheus(name: str) -> str:
    """Path of `prometheus` or `promtool`; skips the test where there is none and none can be fetched."""
    if found := shutil.which(name):
        return found
    folder = TOOLS / "prometheus"
    if not folder.exists():
        _fetch_prometheus(folder)
    return str(folder / "usr" / "bin" / name)


def collector() -> str:
    """Path of rotel's agent, an OpenTelemetry collector; skips likewise. Pinned by its hash."""
    folder = TOOLS / "rotel"
    agent = folder / "rotel" / "rotel-agent"
    if not agent.exists():
        lock = ROOT / "requirements" / "watching.lock"
        uv = [str(Path(sys.executable).parent / "uv"), "pip", "install", "--quiet", "--require-hashes"]
        _run([*uv, "--python", sys.executable, "--target", str(folder), "-r", str(lock)], "rotel", ROOT)
    return str(agent)


def _fetch_prometheus(folder: Path) -> None:
    """The distribution's package, whose hash apt checks; unpacked, not installed."""
    if not (shutil.which("apt-get") and shutil.which("dpkg")):
        pytest.skip("Prometheus is neither on PATH nor to be had from apt-get")
    download = TOOLS / "download"
    download.mkdir(parents=True, exist_ok=True)
    _run(["apt-get", "download", "prometheus"], "prometheus", download)
    (package,) = download.glob("prometheus_*.deb")
    _run(["dpkg", "-x", str(package), str(folder)], "prometheus", download)
    shutil.rmtree(download)


def _run(command: list[str], name: str, folder: Path) -> None:
    try:
        done = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, timeout=FETCH_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        pytest.skip(f"{name} could not be fetched in {FETCH_SECONDS} s")
    if done.returncode:
        pytest.skip(f"{name} could not be fetched: {done.stderr.strip()[-300:]}")
