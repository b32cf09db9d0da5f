"""Pods can do little, secrets are read from Secrets, and nobody reaches what is not for them."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from gateway.settings import EdgeSettings
from helm.render import Refused, template, value_files
from helm.tools import CHART
from services.ai_gateway.settings import AiGatewaySettings
from services.chassis.settings import ServiceSettings
from services.health.settings import HealthSettings
from services.training.settings import TrainingSettings
from tests.chart.conftest import SCALE, Rendered
from tests.chart.manifests import containers, environment, of, pods

Example = Callable[[str], Rendered]
EXAMPLES = ["default", *(file.name.removesuffix("-values.yaml") for file in value_files())]
SETTINGS: dict[str, type[ServiceSettings]] = {
    "training": TrainingSettings,
    "ai-gateway": AiGatewaySettings,
    "health": HealthSettings,
    "edge": EdgeSettings,
}
# Of libraries, which read them by themselves.
STANDARD = ("AWS_", "OTEL_", "RAY_AUTH_")
# Files of certificates: settings of the chassis and of the edge.
SECRET = ("DATABASE_URL", "REDIS_URL", "_API_KEY", "_TOKEN", "_SECRET", "_PASSWORD")


@pytest.mark.parametrize("name", EXAMPLES)
def test_pods_can_do_little(example: Example, name: str) -> None:
    found = dict(pods(example(name)))
    assert len(found) >= 4
    for pod in found.values():
        security = pod["securityContext"]
        assert (security["runAsNonRoot"], security["runAsUser"]) == (True, 65532)
        assert security["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in pod["containers"]:
            own = container["securityContext"]
            assert own["readOnlyRootFilesystem"] is True
            assert own["allowPrivilegeEscalation"] is False
            assert own["capabilities"] == {"drop": ["ALL"]}
            assert {"cpu", "memory"} <= set(container["resources"]["requests"])
            assert {"cpu", "memory"} <= set(container["resources"]["limits"])
            assert not container["image"].endswith(":latest")
    for deployment in of(example(name), "Deployment").values():
        pod = deployment["spec"]["template"]["spec"]
        assert pod["automountServiceAccountToken"] is False
        assert {"/data", "/tmp"} <= {
            mount["mountPath"] for one in pod["containers"] for mount in one["volumeMounts"]
        }


@pytest.mark.parametrize("name", EXAMPLES)
def test_every_variable_is_a_setting_once_and_no_secret_is_a_value(example: Example, name: str) -> None:
    for component, container in containers(example(name)).items():
        names = [one["name"] for one in container["env"]]
        assert len(names) == len(set(names))
        known = {field.upper() for field in SETTINGS[component].model_fields}
        assert {one for one in names if not one.startswith(STANDARD)} - known == set(), component
        for variable, value in environment(container).items():
            assert isinstance(value, dict) == variable.endswith(SECRET), variable


def test_settings_take_what_the_chart_says(example: Example, tmp_path: Any) -> None:
    """The values themselves, not only the names: with files in the places of mounted Secrets."""
    keys = tmp_path / "keys.json"
    keys.write_text("[]")
    for name, container in containers(example("embedded")).items():
        values = {key.lower(): value for key, value in environment(container).items()}
        values = {key: value for key, value in values.items() if isinstance(value, str) and value}
        values |= {key: str(keys) for key in values if key.endswith("_file")}
        settings = SETTINGS[name].model_validate(values)
        assert settings.auth_mode == "keys"
        assert "0.0.0.0" in (settings.bind_host, settings.host)


def test_vendors_keys_are_files_of_the_gateway_alone(example: Example) -> None:
    found = containers(example("embedded"))
    gateway = environment(found["ai-gateway"])
    assert gateway["OPENAI_API_KEY_FILE"] == "/etc/mlapi/vendors/openai-key"
    assert {environment(found[name])["RATE_LIMIT_ENABLED"] for name in ("ai-gateway", "training")} == {"true"}
    pod = of(example("embedded"), "Deployment")["ai-gateway"]["spec"]["template"]["spec"]
    (vendors,) = [volume["secret"] for volume in pod["volumes"] if volume["name"] == "vendors"]
    assert vendors["secretName"] == "ai-service-keys"
    assert {item["path"] for item in vendors["items"]} == {"openai-key", "anthropic-key"}
    for name in ("training", "health", "edge"):
        assert "/etc/mlapi/vendors" not in {mount["mountPath"] for mount in found[name]["volumeMounts"]}
        assert not [key for key in environment(found[name]) if key.startswith("OPENAI")]


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ({"trainig": {}}, "trainig"),
        ({"training": {"replica": 1}}, "replica"),
        ({"edge": {"service": {"kind": "LoadBalancer"}}}, "kind"),
        ({"training": {"replicas": 0}}, "replicas"),
        ({"auth": {"existingSecret": ""}}, "existingSecret"),
        ({"image": {"tag": "latest"}}, "tag"),
        ({"ai": {"vendors": ["opneai"]}}, "vendors"),
        ({"rateLimit": {"requests": "many"}}, "requests"),
        ({"artifacts": {"url": "s3://key@bucket"}}, "url"),
        ({"networkPolicy": {"metricsFrom": []}}, "metricsFrom"),
        ({"aiGateway": {"env": {"OPENAI_API_KEY": "sk-1"}}}, "OPENAI_API_KEY"),
        ({"aiGateway": {"env": {"DATABASE_URL": "postgresql://u:p@h/d"}}}, "DATABASE_URL"),
        ({"ingress": {"enabled": True}}, "hosts"),
    ],
)
def test_the_schema_refuses_what_is_misspelt_or_unsafe(values: dict[str, Any], why: str) -> None:
    with pytest.raises(Refused) as refused:
        template(values=values)
    assert "don't meet the specifications of the schema" in str(refused.value)
    assert why in str(refused.value)


def test_a_reference_to_a_secret_manager_is_no_secret() -> None:
    manifests = template(values={"aiGateway": {"env": {"OPENAI_API_KEY": "aws-sm://openai"}}})
    assert environment(containers(manifests)["ai-gateway"])["OPENAI_API_KEY"] == "aws-sm://openai"


def test_the_schema_closes_every_object_that_has_names_of_its_own() -> None:
    def objects(node: Any) -> Any:
        if isinstance(node, dict):
            if isinstance(node.get("properties"), dict) and node.get("type") == "object":
                yield node
            for child in node.values():
                yield from objects(child)
        elif isinstance(node, list):
            for child in node:
                yield from objects(child)

    found = list(objects(json.loads((CHART / "values.schema.json").read_text())))
    assert len(found) > 25
    assert all(one["additionalProperties"] is False for one in found)


@pytest.mark.parametrize("name", ["embedded", "scale"])
def test_the_network_is_closed_but_for_who_has_to_call(example: Example, name: str) -> None:
    policies, deployments = of(example(name), "NetworkPolicy"), of(example(name), "Deployment")
    assert set(policies) == set(deployments)
    for component, policy in policies.items():
        spec = policy["spec"]
        assert spec["policyTypes"] == ["Ingress", "Egress"]
        assert spec["podSelector"]["matchLabels"]["app.kubernetes.io/component"] == component
        opened = [port["port"] for rule in spec["ingress"] for port in rule["ports"]]
        served = {
            port["containerPort"]
            for one in deployments[component]["spec"]["template"]["spec"]["containers"]
            for port in one["ports"]
        }
        assert set(opened) == served
        assert 9901 not in opened
        for rule in spec["ingress"]:
            everyone = "from" not in rule
            assert everyone == (component == "edge" and name == "embedded")
        assert all("ports" in rule for rule in spec["egress"])
    training = policies["training"]["spec"]["ingress"][0]["from"]
    callers = [peer["podSelector"]["matchLabels"]["app.kubernetes.io/component"] for peer in training]
    assert callers == ["edge", "ai-gateway", "training" if name == "embedded" else "health"]


def test_pods_may_go_where_their_urls_point() -> None:
    values: dict[str, Any] = {
        "ai": {"localBaseUrl": "http://ollama:11434/v1"},
        "otlpEndpoint": "http://collector:4318",
    }
    values |= {"ray": {"address": "http://head:8265", "tokenSecret": "ray"}}
    values |= {"database": {"existingSecret": "postgres"}, "artifacts": {"url": "s3://bucket/here"}}
    policies = of(template(values=values), "NetworkPolicy")
    ports = {
        name: {port["port"] for port in one["spec"]["egress"][-1]["ports"]} for name, one in policies.items()
    }
    assert ports == {
        "edge": {4318},
        "training": {443, 5432, 6379, 4318, 8265},
        "ai-gateway": {443, 5432, 6379, 4318, 11434},
        "health": {5432, 4318},
    }


def test_a_ray_cluster_takes_work_from_training_alone(example: Example) -> None:
    (rule,) = of(example("gpu"), "NetworkPolicy")["ray"]["spec"]["ingress"]
    callers = [peer["podSelector"]["matchLabels"]["app.kubernetes.io/component"] for peer in rule["from"]]
    assert callers == ["training", "ray"]


def test_envoys_admin_is_on_no_port(example: Example) -> None:
    edge = containers(example("scale"))["edge"]
    assert [port["containerPort"] for port in edge["ports"]] == [5000]
    template_text = (CHART.parents[1] / "gateway/envoy.yaml").read_text()
    assert "admin:\n  address: {socket_address: {address: 127.0.0.1," in template_text


def test_mutual_tls_is_mounted_and_asked_for_by_the_container_itself(example: Example) -> None:
    """Kubelet's gRPC probe shows no certificate."""
    for name, container in containers(example("scale")).items():
        assert "/etc/mlapi/tls" in {mount["mountPath"] for mount in container["volumeMounts"]}
        probe = container["readinessProbe"]
        if name == "edge":
            assert probe["httpGet"]["scheme"] == "HTTPS"
        else:
            assert probe["exec"]["command"] == ["python", "-m", "services.chassis.probe"]
    plain = containers(template(values=SCALE))
    assert plain["training"]["readinessProbe"]["grpc"] == {"port": 50051}
