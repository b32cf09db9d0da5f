"""Finding things in what the chart becomes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

Manifest = Mapping[str, Any]
COMPONENTS = ("training", "ai-gateway", "health", "edge")


def of(manifests: list[dict[str, Any]], kind: str) -> dict[str, dict[str, Any]]:
    """Component → its object of this kind."""
    label = "app.kubernetes.io/component"
    return {one["metadata"]["labels"][label]: one for one in manifests if one["kind"] == kind}


def pods(manifests: list[dict[str, Any]]) -> Iterator[tuple[str, dict[str, Any]]]:
    """What every pod is to be like, the test's and Ray's included, with a name for it."""
    for one in manifests:
        name = f"{one['kind']} {one['metadata']['name']}"
        match one["kind"]:
            case "Deployment":
                yield name, one["spec"]["template"]["spec"]
            case "Pod":
                yield name, one["spec"]
            case "RayCluster":
                groups = [one["spec"]["headGroupSpec"], *one["spec"]["workerGroupSpecs"]]
                for group in groups:
                    yield f"{name} {group.get('groupName', 'head')}", group["template"]["spec"]


def containers(manifests: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """The product's containers by name, wherever they run."""
    found = of(manifests, "Deployment").values()
    return {
        container["name"]: container
        for deployment in found
        for container in deployment["spec"]["template"]["spec"]["containers"]
    }


def environment(container: Manifest) -> dict[str, Any]:
    """Name → value, or where it comes from."""
    return {one["name"]: one.get("value", one.get("valueFrom")) for one in container["env"]}
