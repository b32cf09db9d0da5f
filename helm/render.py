"""What the chart becomes: real helm, no cluster."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from helm.tools import CHART, TOOLS, helm

RELEASE = ["ml", "--namespace", "ml-api"]


class Refused(Exception):
    """Helm's own words on why."""


def value_files() -> list[Path]:
    """The examples that have to work."""
    return sorted((CHART / "ci").glob("*-values.yaml"))


def template(*files: Path, values: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
    """Every manifest, for these value files and then these values. Raises Refused."""
    command = ["template", RELEASE[0], str(CHART), *RELEASE[1:]]
    for file in files:
        command += ["--values", str(file)]
    text = run([*command, "--values", "-"], yaml.safe_dump(dict(values or {})))
    return [document for document in yaml.safe_load_all(text) if document]


def lint(*files: Path) -> None:
    """Helm's own look at the chart, warnings included. Raises Refused."""
    flags = [word for file in files for word in ("--values", str(file))]
    run(["lint", "--strict", str(CHART), *flags])


def run(arguments: list[str], given: str = "") -> str:
    """Standard output of helm. Raises Refused."""
    homes = {f"HELM_{name}_HOME": str(TOOLS / "home" / name.lower()) for name in ("CACHE", "CONFIG", "DATA")}
    done = subprocess.run(
        [helm(), *arguments], input=given, env=homes, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise Refused(f"{done.stderr}{done.stdout}".strip())
    return done.stdout
