"""Validates manifests on standard input, a JSON array, against the Kubernetes versions that are named.

Runs in the venv of requirements/chart.lock. Kinds of operators are checked against schemas/; a kind that
nobody knows is an error, since a version that has dropped it is how a chart breaks.
"""

from __future__ import annotations

import functools
import json
import sys
from pathlib import Path
from typing import Any

import jsonschema
from kubernetes_validate import utils

SCHEMAS = Path(__file__).with_name("schemas")
# Files of megabytes that would be read for each manifest.
utils.schema_contents = functools.cache(utils.schema_contents)


def problems(manifest: dict[str, Any], versions: list[str]) -> list[str]:
    """What is wrong with it, in which version."""
    own = SCHEMAS / f"{manifest['kind'].lower()}.json"
    name = f"{manifest['kind']} {manifest['metadata']['name']}"
    found = []
    if own.exists():
        errors = jsonschema.Draft202012Validator(json.loads(own.read_text())).iter_errors(manifest)
        found += [f"{name}: {error.json_path}: {error.message}" for error in errors]
    for version in versions:
        for part in _pods(manifest) if own.exists() else [manifest]:
            if why := _problem(part, version):
                found.append(f"{name}: Kubernetes {version}: {why}")
    return found


def _problem(manifest: dict[str, Any], version: str) -> str:
    try:
        reached = utils.validate(manifest, version, strict=True)
    except utils.ValidationError as error:
        return f"{'.'.join(map(str, error.path))}: {error.message}"
    except (utils.SchemaNotFoundError, utils.VersionNotSupportedError) as error:
        return str(error.message)
    return "" if reached == version else f"only the schemas of {reached} are there"


def _pods(manifest: dict[str, Any]) -> list[dict[str, Any]]:
    """Pods inside an operator's resource, as Kubernetes would see them."""
    spec = manifest["spec"]
    groups = [spec.get("headGroupSpec", {}), *spec.get("workerGroupSpecs", ())]
    templates = [group["template"] for group in groups if "template" in group]
    return [
        {"apiVersion": "v1", "kind": "Pod", **template, "metadata": {"name": "pod", **template["metadata"]}}
        for template in templates
    ]


def main() -> None:
    """Ends with 1 and every problem, if there is any."""
    manifests = json.load(sys.stdin)
    found = [line for manifest in manifests for line in problems(manifest, sys.argv[1:])]
    sys.stdout.write("".join(f"{line}\n" for line in found))
    raise SystemExit(bool(found))


if __name__ == "__main__":
    main()
