"""What Dockerfile and compose.yaml promise, read as text: no engine is needed."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from gateway.settings import EdgeSettings
from services.ai_gateway.settings import AiGatewaySettings
from services.chassis.settings import ProbeSettings
from services.health.settings import HealthSettings
from services.training.settings import TrainingSettings

ROOT = Path(__file__).resolve().parents[2]
SETTINGS = {
    "training": TrainingSettings,
    "ai_gateway": AiGatewaySettings,
    "health": HealthSettings,
    "edge": EdgeSettings,
}
DOCKERFILE = (ROOT / "Dockerfile").read_text()
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text())
OURS = {name: service for name, service in COMPOSE["services"].items() if "build" in service}
LOCKS = [
    "training",
    "training-gpu",
    "training-ray",
    "training-gpu-ray",
    "ai_gateway",
    "health",
    "edge",
    "stack",
    "descriptors",
]
# What Python, its libraries and the C library read.
FOREIGN = {
    "HOME",
    "MALLOC_ARENA_MAX",
    "NUMBA_CACHE_DIR",
    "PATH",
    "PYTHONDONTWRITEBYTECODE",
    "PYTHONPATH",
    "PYTHONUNBUFFERED",
}


def _pins(lock: str) -> dict[str, str]:
    text = (ROOT / f"requirements/{lock}.lock").read_text()
    return dict(re.findall(r"^([a-z0-9-]+)(?:\[[^\]]*\])?==([^ ;\\]+)", text, re.MULTILINE))


def _final_stage() -> str:
    return DOCKERFILE.rpartition("\nFROM ")[2]


def test_the_image_is_nobodys_and_asks_itself() -> None:
    stage = _final_stage()
    assert re.search(r"^USER 65532:65532$", stage, re.MULTILINE)
    assert re.search(r"^HEALTHCHECK .*services\.chassis\.probe", stage, re.MULTILINE)
    assert re.search(r"^STOPSIGNAL SIGTERM$", stage, re.MULTILINE)
    assert not re.search(r"^(RUN|ADD) ", stage, re.MULTILINE)  # no compiler, no pip: all is copied


def test_everything_that_is_installed_has_a_hash() -> None:
    installs = re.findall(r"pip.* install .*", DOCKERFILE)
    assert installs
    assert all("--require-hashes" in line for line in installs)


@pytest.mark.parametrize("lock", LOCKS)
def test_images_have_the_versions_that_are_tested(lock: str) -> None:
    pins, tested = _pins(lock), _pins("dev")
    assert len(pins) > 3
    assert {name: pin for name, pin in pins.items() if tested.get(name, pin) != pin} == {}
    assert "--hash=sha256:" in (ROOT / f"requirements/{lock}.lock").read_text()


@pytest.mark.parametrize(
    ("lock", "extras"),
    [
        ("training", ["training", "scale", "client"]),
        ("ai_gateway", ["ai-gateway", "scale", "client"]),
        ("health", ["health", "scale"]),
        ("edge", ["edge"]),
        ("stack", ["training", "ai-gateway", "health", "edge", "scale", "client"]),
    ],
)
def test_locks_have_what_their_extras_name(lock: str, extras: list[str]) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [
        *project["dependencies"],
        *(one for extra in extras for one in project["optional-dependencies"][extra]),
    ]
    names = {re.split(r"[\[<>=;! ]", one)[0].lower() for one in wanted}
    assert names - set(_pins(lock)) == set()


def test_no_version_of_an_image_floats() -> None:
    bases = re.findall(r"^ARG BASE_IMAGE=(.+)$", DOCKERFILE, re.MULTILINE)
    images = [service["image"] for service in COMPOSE["services"].values()]
    assert len(bases) == 1
    assert len(images) == 7
    for image in [*bases, *images]:
        assert re.search(r":[^:/]*\d", image), image
        assert "latest" not in image


def test_compose_has_every_service_and_binds_it() -> None:
    assert set(OURS) == set(SETTINGS)
    for name, service in OURS.items():
        assert service["build"]["args"]["SERVICE"] == name
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert service["user"] == "65532:65532"
        assert service["environment"]["AUTH_MODE"] == "keys"


def test_compose_gives_time_to_drain() -> None:
    for service in OURS.values():
        drain = sum(float(service["environment"][name]) for name in ("DRAIN_NOTICE", "DRAIN_TIMEOUT"))
        assert float(service["stop_grace_period"].rstrip("s")) > drain


@pytest.mark.parametrize("name", list(SETTINGS))
def test_every_variable_is_a_setting(name: str) -> None:
    known = {field.upper() for kind in (*SETTINGS.values(), ProbeSettings) for field in kind.model_fields}
    own = {field.upper() for field in SETTINGS[name].model_fields}
    shared = set(COMPOSE["x-environment"])
    assert shared - known == set()
    given = {variable for variable in OURS[name]["environment"] if not variable.startswith("AWS_")}
    assert given - shared - own == set()
    block = re.search(r"^ENV (.*?[^\\])\n", _final_stage(), re.MULTILINE | re.DOTALL)
    assert block
    variables = set(re.findall(r"([A-Z_]+)=", block[1]))
    assert len(variables) > 8
    assert variables - known - FOREIGN == set()


def test_no_secret_is_written_down() -> None:
    secret = re.compile(r"KEY|PASSWORD|SECRET|TOKEN|DATABASE_URL|REDIS_URL")
    for service in COMPOSE["services"].values():
        for name, value in service["environment"].items() if "environment" in service else ():
            if secret.search(name):
                assert value is None or str(value).startswith(("${", "/run/secrets/", "/etc/mlapi/keys/")), (
                    name
                )
    assert not re.search(r"^(ARG|ENV) .*(KEY|PASSWORD|SECRET|TOKEN)=", DOCKERFILE, re.MULTILINE)
    assert (ROOT / ".dockerignore").read_text().splitlines()[1] == "*"


def test_the_probe_asks_where_the_services_listen() -> None:
    asked = ProbeSettings.model_fields
    for name in ("training", "ai_gateway", "health"):
        port = f"{name}_grpc_port"
        assert asked[port].default == SETTINGS[name].model_fields[port].default
    assert asked["port"].default == EdgeSettings.model_fields["port"].default
