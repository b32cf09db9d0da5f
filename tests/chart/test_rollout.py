"""An upgrade loses no call where there is more than one pod; and what is watched meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec

import pytest
import yaml

from helm.check import VERSIONS, chart, terraform, validate
from helm.render import run, template
from helm.tools import CHART, ROOT, ToolMissing
from tests.chart.conftest import Rendered
from tests.chart.manifests import COMPONENTS, containers, environment, of

Example = Callable[[str], Rendered]
PORTS = {"training": 50051, "ai-gateway": 50052, "health": 50053}


def test_pods_come_before_pods_go(example: Example) -> None:
    for deployment in of(example("scale"), "Deployment").values():
        spec = deployment["spec"]
        rolling = spec["strategy"]["rollingUpdate"]
        assert (rolling["maxUnavailable"], rolling["maxSurge"]) == (0, 1)
        keys = [one["topologyKey"] for one in spec["template"]["spec"]["topologySpreadConstraints"]]
        assert keys == ["topology.kubernetes.io/zone", "kubernetes.io/hostname"]


def test_they_are_given_notice_and_the_time_to_drain(example: Example) -> None:
    for name, deployment in of(example("scale"), "Deployment").items():
        pod = deployment["spec"]["template"]["spec"]
        (container,) = pod["containers"]
        before = container["lifecycle"]["preStop"]
        patience = float(environment(container)["DRAIN_TIMEOUT"])
        if name == "edge":
            *module, notice, waits = before["exec"]["command"]
            assert module == ["python", "-m", "gateway.drain"]
            assert float(waits) == patience
            assert find_spec("gateway.drain")
        else:
            notice = before["sleep"]["seconds"]
        assert float(notice) > 0
        assert pod["terminationGracePeriodSeconds"] > float(notice) + patience


def test_every_container_is_probed(example: Example) -> None:
    found = containers(example("embedded"))
    assert set(found) == set(COMPONENTS)
    for name, container in found.items():
        for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
            if name == "edge":
                assert {"httpGet", "tcpSocket"} & set(container[probe])
            else:
                assert container[probe]["grpc"]["port"] == PORTS[name]
    assert found["edge"]["readinessProbe"]["httpGet"]["path"] == "/livez"


def test_prometheus_finds_every_service(example: Example) -> None:
    manifests = example("scale")
    monitor = of(manifests, "ServiceMonitor")["metrics"]["spec"]
    (chosen,) = monitor["selector"]["matchExpressions"]
    for component in PORTS:
        assert component in chosen["values"]
        service = of(manifests, "Service")[component]
        assert monitor["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
        assert monitor["endpoints"][0]["port"] in {port["name"] for port in service["spec"]["ports"]}
    assert of(example("default"), "ServiceMonitor") == {}


def test_alerts_are_those_of_deploy(example: Example) -> None:
    rules = CHART / "files/rules.yaml"
    assert of(example("scale"), "PrometheusRule")["metrics"]["spec"] == yaml.safe_load(rules.read_text())
    source = ROOT / "deploy/prometheus/rules.yaml"
    assert not source.exists() or source.read_text() == rules.read_text(), f"copy {source} to {rules}"


def test_the_notes_say_where_state_is_and_how_keys_are_made() -> None:
    text = run(["install", "ml", str(CHART), "--dry-run=client"])
    notes = text.partition("NOTES:")[2]
    assert "SQLite" in notes
    assert "mlapi keys create" in notes
    assert "put TLS before it" in notes


def test_version_is_that_of_the_product() -> None:
    about = yaml.safe_load((CHART / "Chart.yaml").read_text())
    product = (ROOT / "pyproject.toml").read_text()
    assert f'version = "{about["appVersion"]}"' in product


def test_the_readme_names_every_value() -> None:
    text = (CHART / "README.md").read_text()
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    component = values["training"]
    names = [name for name in values if name not in ("training", "aiGateway", "health", "edge")]
    assert [name for name in (*names, *component) if f"`{name}" not in text and f".{name}`" not in text] == []


def test_every_manifest_is_valid_in_every_version() -> None:
    try:
        assert "manifests are valid for Kubernetes 1.31 to 1.37" in chart()
    except ToolMissing as missing:
        pytest.skip(str(missing))


def test_terraform_is_well_formed() -> None:
    assert terraform().startswith("terraform: ")


def test_what_is_invalid_is_noticed() -> None:
    manifests = template()
    deployment = of(manifests, "Deployment")["edge"]
    deployment["spec"]["replicaz"] = 2
    budget = {"apiVersion": "policy/v1beta1", "kind": "PodDisruptionBudget", "metadata": {"name": "old"}}
    cluster = {"apiVersion": "ray.io/v1", "kind": "RayCluster", "metadata": {"name": "r"}, "spec": {}}
    try:
        found = validate([deployment, budget, cluster], VERSIONS[:1])
    except ToolMissing as missing:
        pytest.skip(str(missing))
    assert "'replicaz' was unexpected" in found
    assert "Couldn't find schema for kind PodDisruptionBudget" in found
    assert "'rayVersion' is a required property" in found
