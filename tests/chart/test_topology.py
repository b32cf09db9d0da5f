"""What is where follows from where the state is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from helm.render import Refused, template
from tests.chart.conftest import SCALE, Rendered
from tests.chart.manifests import COMPONENTS, containers, environment, of

Example = Callable[[str], Rendered]
MANY: dict[str, Any] = {"autoscaling": {"enabled": True}}


@pytest.mark.parametrize("name", ["default", "embedded"])
def test_an_embedded_store_is_one_pod_with_a_claim(example: Example, name: str) -> None:
    deployments, claims = of(example(name), "Deployment"), of(example(name), "PersistentVolumeClaim")
    assert set(claims) == {"training", "ai-gateway"}
    for component, claim in claims.items():
        spec = deployments[component]["spec"]
        assert (spec["replicas"], spec["strategy"]) == (1, {"type": "Recreate"})
        volumes = {volume["name"]: volume for volume in spec["template"]["spec"]["volumes"]}
        assert volumes["data"]["persistentVolumeClaim"]["claimName"] == claim["metadata"]["name"]
        assert claim["spec"]["accessModes"] == ["ReadWriteOncePod"]
        assert claim["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}
    assert of(example("default"), "HorizontalPodAutoscaler") == {}
    assert "DATABASE_URL" not in environment(containers(example(name))["training"])


def test_health_looks_at_the_volume_from_within_its_pod(example: Example) -> None:
    """A claim that one pod may hold cannot be read from another."""
    deployments = of(example("embedded"), "Deployment")
    assert set(deployments) == {"training", "ai-gateway", "edge"}
    pod = deployments["training"]["spec"]["template"]["spec"]
    assert [container["name"] for container in pod["containers"]] == ["training", "health"]
    service = of(example("embedded"), "Service")["health"]["spec"]
    labels = deployments["training"]["spec"]["template"]["metadata"]["labels"]
    assert service["selector"].items() <= labels.items()
    names = [port["name"] for container in pod["containers"] for port in container["ports"]]
    assert len(names) == len(set(names))
    assert {port["targetPort"] for port in service["ports"]} <= set(names)


def test_at_scale_everything_has_two_to_ten_pods_and_no_claim(example: Example) -> None:
    manifests = example("scale")
    scalers, budgets = of(manifests, "HorizontalPodAutoscaler"), of(manifests, "PodDisruptionBudget")
    assert set(scalers) == set(budgets) == set(of(manifests, "Deployment")) == set(COMPONENTS)
    assert of(manifests, "PersistentVolumeClaim") == {}
    for component in COMPONENTS:
        spec = scalers[component]["spec"]
        assert (spec["minReplicas"], spec["maxReplicas"]) == (2, 10)
        deployment = of(manifests, "Deployment")[component]
        assert spec["scaleTargetRef"]["name"] == deployment["metadata"]["name"]
        assert "replicas" not in deployment["spec"]  # an upgrade would undo what the scaler did
        assert budgets[component]["spec"]["maxUnavailable"] == 1
    assert of(manifests, "Service")["health"]["spec"]["selector"]["app.kubernetes.io/component"] == "health"


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ({"training": {"replicas": 2}}, "training: more than one replica needs database.existingSecret"),
        ({"training": MANY}, "training: more than one replica needs"),
        ({"aiGateway": {"replicas": 2}}, "aiGateway: more than one replica needs database.existingSecret"),
        ({"aiGateway": MANY}, "aiGateway: more than one replica needs"),
        ({"training": MANY, "database": SCALE["database"]}, "artifacts.url"),
        ({**SCALE, "ray": {"address": "http://head:8265"}}, "ray.tokenSecret is needed"),
        ({"ray": {"cluster": {"enabled": True}, "tokenSecret": "t"}}, "cannot reach a volume"),
        ({**SCALE, "ray": {"cluster": {"enabled": True}, "tokenSecret": "t"}}, "ray.cluster.image is needed"),
    ],
)
def test_what_cannot_work_is_refused_with_what_to_do(values: dict[str, Any], why: str) -> None:
    with pytest.raises(Refused) as refused:
        template(values=values)
    assert why in str(refused.value)


def test_the_gateway_scales_while_training_keeps_its_volume() -> None:
    manifests = template(values={"database": {"existingSecret": "postgres"}, "aiGateway": {"replicas": 3}})
    assert of(manifests, "Deployment")["ai-gateway"]["spec"]["replicas"] == 3
    assert set(of(manifests, "PersistentVolumeClaim")) == {"training"}


def test_services_are_headless_so_that_envoy_balances(example: Example) -> None:
    services = of(example("scale"), "Service")
    for component in COMPONENTS[:-1]:
        assert services[component]["spec"]["clusterIP"] == "None"
    names = {name: service["metadata"]["name"] for name, service in services.items()}
    edge = environment(containers(example("scale"))["edge"])
    for component in COMPONENTS[:-1]:
        port = services[component]["spec"]["ports"][0]["port"]
        variable = f"{component.upper().replace('-', '_')}_ADDRESS"
        assert edge[variable] == f"{names[component]}:{port}"


def test_gpus_choose_their_nodes_and_ray_its_workers(example: Example) -> None:
    manifests = example("gpu")
    pod = of(manifests, "Deployment")["training"]["spec"]["template"]["spec"]
    assert pod["nodeSelector"] == {"nvidia.com/gpu.present": "true"}
    assert pod["tolerations"][0]["key"] == "nvidia.com/gpu"
    training = containers(manifests)["training"]
    assert training["resources"]["limits"]["nvidia.com/gpu"] == 1
    assert environment(training)["COMPUTE_BACKEND"] == "cupy"
    assert environment(training)["RAY_ADDRESS"] == "http://ml-ml-training-api-ray-head-svc:8265"
    (group,) = of(manifests, "RayCluster")["ray"]["spec"]["workerGroupSpecs"]
    assert group["template"]["spec"]["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == 1
    worker = environment(group["template"]["spec"]["containers"][0])
    assert {"DATABASE_URL", "ARTIFACTS_URL", "RAY_AUTH_TOKEN"} <= set(worker)
