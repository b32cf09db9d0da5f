"""`make chart-check`: lint and render the chart with every value file, validate all of it; and deploy/aws.

What is not here is fetched, once, by hash (tools.py).
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from helm.render import Refused, lint, template, value_files
from helm.tools import ROOT, ToolMissing, validator

VERSIONS = [f"1.{minor}" for minor in range(31, 38)]
# Nobody asks for it by default, and nothing in the value files leaves it out.
EVERYTHING: dict[str, Any] = {"networkPolicy": {"edgeFrom": []}, "edge": {"readinessPath": "/readyz"}}
AWS = ROOT / "deploy/aws"


def validate(manifests: list[dict[str, Any]], versions: list[str]) -> str:
    """What is wrong with them, a line each; empty when nothing is."""
    different = {json.dumps(manifest, sort_keys=True): manifest for manifest in manifests}
    done = subprocess.run(
        [validator(), str(Path(__file__).with_name("validate.py")), *versions],
        input=json.dumps(list(different.values())),
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout or (done.stderr if done.returncode else "")


def chart() -> str:
    """Renders and validates; says what was looked at. Raises Refused, ToolMissing."""
    manifests = []
    for files in [(), *((file,) for file in value_files())]:
        lint(*files)
        manifests += template(*files)
    manifests += template(values=EVERYTHING)
    if problems := validate(manifests, VERSIONS):
        raise Refused(problems)
    return f"chart: {len(manifests)} manifests are valid for Kubernetes {VERSIONS[0]} to {VERSIONS[-1]}"


def terraform() -> str:
    """Checks deploy/aws, as far as this machine can; says how far. Raises Refused.

    The provider is where Terraform looks for it, TF_CLI_ARGS_init included; no account is needed.
    """
    tool = shutil.which("terraform")
    if tool is None:
        return "terraform: left out, there is none on PATH"
    _terraform([tool, "fmt", "-check", "-diff", "-recursive"])
    started = [tool, "init", "-backend=false", "-input=false", "-no-color"]
    if subprocess.run(started, cwd=AWS, capture_output=True, check=False).returncode:
        return "terraform: well-formed; validate and test left out, the AWS provider cannot be had"
    _terraform([tool, "validate", "-no-color"])
    _terraform([tool, "test", "-no-color"])
    return "terraform: well-formed, valid, and its tests pass"


def _terraform(command: list[str]) -> None:
    done = subprocess.run(command, cwd=AWS, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Refused(done.stdout + done.stderr)


def main() -> None:
    """Ends with 1 and what is wrong."""
    began = time.perf_counter()
    try:
        for line in (chart(), terraform()):
            print(line)
    except (Refused, ToolMissing) as error:
        sys.exit(str(error))
    print(f"took {time.perf_counter() - began:.0f} s")


if __name__ == "__main__":
    main()
