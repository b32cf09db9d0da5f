"""Every query of a dashboard or an alert can be parsed, and asks for a metric that some service exports."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml
from prometheus_client import CollectorRegistry

from deploy.grafana import build
from services.ai_gateway.adapters.telemetry.metrics import AiMetrics, Circuits
from services.chassis.audit.auditor import Auditor
from services.chassis.machine_metrics import MachineMetrics
from services.chassis.memory import MemoryWatch
from services.chassis.shedding import Shedding
from services.chassis.telemetry import RequestMetrics
from services.training.adapters.metrics import TrainingMetrics

DEPLOY = Path(__file__).resolve().parents[3] / "deploy"
BOARDS = sorted((DEPLOY / "grafana").glob("*.json"))
RULES = DEPLOY / "prometheus" / "rules.yaml"
# Grafana fills these in.
VARIABLES = {"$__rate_interval": "5m", "$__range": "6h"}
# Prometheus itself makes it.
OWN = {"up"}
ENDINGS = {"counter": ["_total"], "histogram": ["_bucket", "_sum", "_count"], "gauge": [""]}


def of_boards() -> Iterator[tuple[str, str]]:
    for board in BOARDS:
        for panel in json.loads(board.read_text())["panels"]:
            for target in panel["targets"]:
                query = target["expr"]
                for name, value in VARIABLES.items():
                    query = query.replace(name, value)
                yield f"{board.stem}: {panel['title']}", query


def rules() -> list[dict[str, Any]]:
    return [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]


QUERIES = [*of_boards(), *((rule["alert"], rule["expr"]) for rule in rules())]


def exported(tmp_path: Path) -> set[str]:
    """Names of samples, of the services' own registries."""
    registry = CollectorRegistry()
    unread: Any = None  # what is not there has no figures, and names all the same
    RequestMetrics(registry)
    AiMetrics(registry)
    Circuits(dict, registry)
    TrainingMetrics(unread, registry)
    MachineMetrics(tmp_path, MemoryWatch(0), registry)
    Shedding(MemoryWatch(0), registry)
    Auditor("training", unread, registry)
    return {f"{one.name}{end}" for one in registry.collect() for end in ENDINGS.get(one.type, [])}


@pytest.mark.parametrize(("where", "query"), QUERIES, ids=[where for where, _ in QUERIES])
def test_it_parses_and_its_metrics_are_exported(where: str, query: str, tmp_path: Path) -> None:
    promql_parser.parse(query)
    named = set(re.findall(r"\b(?:ml_api|process|gen_ai_client)_\w+|\bup\b", query))
    assert named, f"{where} asks for no metric of ours"
    assert named <= exported(tmp_path) | OWN


def test_every_alert_says_what_is_wrong_and_what_to_do() -> None:
    for rule in rules():
        assert set(rule["annotations"]) == {"summary", "action"}, rule["alert"]
        assert rule["labels"]["severity"] in {"page", "ticket"}


def test_every_alert_has_a_rule_test() -> None:
    tested = (DEPLOY / "prometheus" / "tests" / "rules_test.yaml").read_text()
    missing = [rule["alert"] for rule in rules() if f"alertname: {rule['alert']}" not in tested]
    assert [name for name in missing if f'alertname="{name}"' not in tested] == []


def test_the_dashboards_are_those_that_the_builder_writes() -> None:
    assert {board.stem for board in BOARDS} == set(build.ALL)
    for board in BOARDS:
        assert json.loads(board.read_text()) == build.document(build.ALL[board.stem])
