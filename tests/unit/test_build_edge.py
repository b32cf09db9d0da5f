"""Envoy's configuration, rendered from the settings."""

from __future__ import annotations

from string import Template
from typing import Any

import pytest
import yaml

from gateway.render import render
from gateway.settings import HERE, EdgeSettings


def rendered(**settings: object) -> dict[str, Any]:
    return dict(yaml.safe_load(render(EdgeSettings.model_validate(settings))))


def cluster(config: dict[str, Any], name: str) -> tuple[str, int]:
    """Host and port of a cluster."""
    found = next(one for one in config["static_resources"]["clusters"] if one["name"] == name)
    endpoint = found["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"]
    address = endpoint["address"]["socket_address"]
    return address["address"], address["port_value"]


def test_every_name_of_the_file_is_filled_in() -> None:
    text = render(EdgeSettings.model_validate({}))
    assert "$" not in text
    assert Template((HERE / "envoy.yaml").read_text()).get_identifiers()


def test_the_settings_arrive() -> None:
    config = rendered(port=5055, admin_port=9955, training_address="training:50051", max_json_bytes=1000)
    listener = config["static_resources"]["listeners"][0]
    assert listener["address"]["socket_address"] == {"address": "127.0.0.1", "port_value": 5055}
    assert config["admin"]["address"]["socket_address"]["port_value"] == 9955
    assert cluster(config, "training") == ("training", 50051)
    assert cluster(rendered(health_address="[::1]:50053"), "health") == ("::1", 50053)
    assert "larger than 1000 bytes" in str(listener)


def test_every_process_is_an_endpoint() -> None:
    config = rendered(training_address="127.0.0.1:1,127.0.0.1:2,[::1]:3")
    found = config["static_resources"]["clusters"][0]["load_assignment"]["endpoints"][0]["lb_endpoints"]
    places = [one["endpoint"]["address"]["socket_address"] for one in found]
    assert [(one["address"], one["port_value"]) for one in places] == [
        ("127.0.0.1", 1),
        ("127.0.0.1", 2),
        ("::1", 3),
    ]


def test_the_edge_gives_up_after_the_service_does() -> None:
    text = render(EdgeSettings.model_validate({"request_timeout": 0.75}))
    assert "key: grpc-timeout, value: 750m" in text
    assert "timeout: 5.75s" in text


@pytest.mark.parametrize(
    ("endpoint", "place"),
    [
        ("http://collector:4318", ("collector", 4318)),
        ("http://collector", ("collector", 4317)),
        ("collector:4319", ("collector", 4319)),
        ("http://[::1]:4317/", ("::1", 4317)),
    ],
)
def test_tracing_comes_alive_with_an_endpoint(endpoint: str, place: tuple[str, int]) -> None:
    config = rendered(otel_exporter_otlp_endpoint=endpoint)
    assert cluster(config, "otlp") == place
    assert "envoy.tracers.opentelemetry" in str(config)


def test_without_an_endpoint_there_is_no_tracing() -> None:
    config = rendered()
    assert "otlp" not in [one["name"] for one in config["static_resources"]["clusters"]]
    assert "opentelemetry" not in str(config)
