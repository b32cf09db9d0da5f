"""Podman with a store of its own, and a base image of Debian's packages, where no registry can be asked."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or "/var/tmp") / "ml-training-api-containers"
# Nobody in a container of ours is root, may do what root may, or can change a file of the image.
HARDENED = ["--read-only", "--cap-drop=ALL", "--security-opt=no-new-privileges", "--tmpfs=/tmp:mode=1777"]
# Plain enough for a machine within a container itself. Ports are the machine's: tests choose free ones.
CONF = """
[containers]
default_ulimits = ["nofile=4096:4096", "nproc=4096:4096"]
netns = "host"
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
"""
SLOWEST_BUILD = 900
SLOWEST_START = 120


def missing() -> str:
    """What this machine lacks; empty when it has everything."""
    if os.geteuid() != 0:
        return "podman is driven as root here"
    return ", ".join(tool for tool in ("podman", "runc", "debootstrap") if not shutil.which(tool))


class Podman:
    """Images and containers of the tests. Leaving it removes the containers; images stay as a cache."""

    def __init__(self, folder: Path) -> None:
        self._conf = folder / "containers.conf"
        self._conf.write_text(CONF)
        # The same from run to run: a store refuses to be opened with another.
        self.store = [f"--root={CACHE / 'store'}", f"--runroot={CACHE / 'run'}"]
        self._names: list[str] = []

    def __enter__(self) -> Podman:
        return self

    def __exit__(self, *_: object) -> None:
        for name in self._names:
            self("rm", "--force", "--time=2", name, check=False)

    def __call__(self, *words: str, check: bool = True, seconds: float = 120) -> str:
        """What a command of podman printed on standard output; raises AssertionError with its last words."""
        done = self.run(*words, seconds=seconds)
        assert not check or done.returncode == 0, f"podman {words[0]}: {done.stderr[-4000:]}"
        return done.stdout.strip()

    def run(self, *words: str, seconds: float = 120) -> subprocess.CompletedProcess[str]:
        """The same, whatever its status."""
        environment = {**os.environ, "CONTAINERS_CONF": str(self._conf)}
        command = ["podman", *self.store, *words]
        return subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=seconds, check=False
        )

    def base(self) -> str:
        """Debian with its Python; made anew each month."""
        name = f"localhost/mlapi-base:{datetime.now(UTC):%Y-%m}"
        if self.run("image", "exists", name).returncode:
            root = CACHE / "debian"
            shutil.rmtree(root, ignore_errors=True)
            CACHE.mkdir(parents=True, exist_ok=True)
            packages = "--include=python3,python3-venv,ca-certificates"
            subprocess.run(
                ["debootstrap", "--variant=minbase", packages, "bookworm", root],
                check=True,
                capture_output=True,
            )
            for left in ("var/lib/apt/lists", "var/cache/apt", "etc/apt/sources.list"):
                subprocess.run(["rm", "-rf", root / left], check=True)
            tar = CACHE / "debian.tar"
            subprocess.run(["tar", "-C", root, "-cf", tar, "."], check=True)
            self("import", "--quiet", str(tar), name)
            shutil.rmtree(root)
            tar.unlink()
        return name

    def build(self, context: Path, service: str) -> str:
        """The image of a service."""
        name = f"localhost/mlapi-{service.replace('_', '-')}:test"
        arguments = [f"--build-arg=BASE_IMAGE={self.base()}", f"--build-arg=SERVICE={service}"]
        flags = ["--quiet", "--format=docker", "--network=host", *arguments, *_machine_settings()]
        self("build", *flags, f"--tag={name}", str(context), seconds=SLOWEST_BUILD)
        return name

    def start(self, name: str, image: str, *flags: str) -> None:
        """Starts a container; its exit is `stop`'s."""
        self._names.append(name)
        self("run", "--detach", f"--name={name}", *HARDENED, *flags, image)

    def wait_until_healthy(self, name: str) -> None:
        """Asks by the image's own health check."""
        deadline = time.monotonic() + SLOWEST_START
        while (asked := self.run("healthcheck", "run", name)).returncode:
            state = self.inspect(name)["State"]
            running = state["Status"] == "running" and time.monotonic() < deadline
            assert running, f"{name}: {state['Status']}: {asked.stdout}{asked.stderr}\n{self.logs(name)}"
            time.sleep(0.2)

    def stop(self, name: str) -> int:
        """Sends SIGTERM, gives it half a minute, and returns the exit code; 137 when that was not enough."""
        self("stop", "--time=30", name)
        return int(self.inspect(name)["State"]["ExitCode"])

    def inspect(self, name: str) -> dict[str, Any]:
        """All about a container or an image."""
        found: list[dict[str, Any]] = json.loads(self("inspect", name))
        return found[0]

    def logs(self, name: str) -> str:
        """Of both streams."""
        done = self.run("logs", name)
        return done.stdout + done.stderr


def _machine_settings() -> Sequence[str]:
    """How pip reaches an index from here: mounted while it builds, and in no layer."""
    files = [Path("/etc/pip.conf"), Path(os.environ.get("PIP_CERT", "/nowhere"))]
    return [f"--volume={file}:{file}:ro" for file in files if file.is_file()]
