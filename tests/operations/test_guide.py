"""Every command of docs/operations.md is run, or checked as far as it can be; every name in it exists."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import click
import pytest
import yaml
from mlapi_client.cli import COMMANDS, main

from gateway.settings import EdgeSettings
from helm.check import VERSIONS, validate
from helm.tools import CHART, ToolMissing, helm
from services.ai_gateway.adapters import routes_file
from services.ai_gateway.prices import catalog
from services.ai_gateway.settings import VENDORS, AiGatewaySettings
from services.health.settings import HealthSettings
from services.training.settings import TrainingSettings
from tests.operations import elsewhere, guide
from tests.operations.conftest import Desk
from tests.operations.guide import ROOT, Block
from tests.unit.deploy.test_watching_files import exported, rules

INFOS = {"sh run", "sh cluster", "yaml pod", "json routes", "json prices"}
SETTINGS = (TrainingSettings, AiGatewaySettings, HealthSettings, EdgeSettings)
# Of compose, and of make.
FOREIGN = {"COMPOSE_PROFILES", "TLS"}
RUNNABLE = guide.blocks("sh run")
ELSEWHERE = [command for block in guide.blocks("sh cluster") for command in block.commands()]


def test_every_block_says_how_it_is_tried() -> None:
    assert {block.line: block.info for block in guide.blocks() if block.info not in INFOS} == {}
    assert len(RUNNABLE) > 5
    assert len(ELSEWHERE) > 15


@pytest.mark.parametrize("block", RUNNABLE, ids=[f"line {block.line}" for block in RUNNABLE])
def test_it_does_what_it_says(desk: Desk, block: Block) -> None:
    run(desk, block)


def run(desk: Desk, block: Block) -> None:
    command = ["bash", "-euo", "pipefail", "-c", block.text]
    done = subprocess.run(
        command,
        cwd=desk.folder,
        env=desk.environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, f"line {block.line}:\n{done.stdout}{done.stderr}"


@pytest.fixture(scope="module")
def chart_tools() -> None:
    try:
        helm()
    except ToolMissing as missing:
        pytest.skip(str(missing))


@pytest.mark.parametrize("command", ELSEWHERE)
@pytest.mark.usefixtures("chart_tools")
def test_what_it_names_is_there(command: str) -> None:
    elsewhere.check(command)


@pytest.mark.usefixtures("chart_tools")
def test_its_pod_is_one_and_holds_claims_of_the_chart() -> None:
    for block in guide.blocks("yaml pod"):
        pod: dict[str, Any] = yaml.safe_load(block.text)
        assert validate([pod], VERSIONS) == ""
        assert (pod["kind"].lower(), pod["metadata"]["name"]) == elsewhere.OURS
        claim, _ = pod["spec"]["volumes"]
        elsewhere.check(f"kubectl get pvc/{claim['persistentVolumeClaim']['claimName']}")


def test_its_routes_and_prices_can_be_read(tmp_path: Path) -> None:
    for block in guide.blocks("json routes"):
        assert routes_file.aliases(block.text, frozenset((*VENDORS, "local")))
    for block in guide.blocks("json prices"):
        (tmp_path / "prices.json").write_text(block.text)
        assert catalog.load(tmp_path / "prices.json")


def test_every_variable_is_one() -> None:
    known = {name.upper() for settings in SETTINGS for name in settings.model_fields} | FOREIGN
    assert named(r"\b[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+\b") - known - reasons() - of_the_client() == set()


def inline() -> list[str]:
    """What stands in backticks."""
    return [found.replace("\n", " ") for found in re.findall(r"`([^`]+)`", guide.prose())]


def named(pattern: str) -> set[str]:
    """What stands in backticks or in a command, and is like that."""
    marked = [*inline(), *(one.text for one in guide.blocks())]
    return {found for text in marked for found in re.findall(pattern, text)}


def reasons() -> set[str]:
    text = (ROOT / "protos/mlapi/common/v1/errors.proto").read_text()
    return set(re.findall(r"^  ([A-Z_]+) = \d+;", text, re.MULTILINE))


def of_the_client() -> set[str]:
    found = [one.envvar for one in main.params if isinstance(one, click.Option)]
    return {str(name) for name in found}


def test_every_metric_is_exported(tmp_path: Path) -> None:
    families = {re.sub("_(bucket|sum|count)$", "", name) for name in exported(tmp_path)}
    assert named(r"\b(?:ml_api|process|gen_ai)_\w+") <= families | exported(tmp_path)


def test_every_file_is_there() -> None:
    tops = "|".join(path.name for path in ROOT.iterdir() if not path.name.startswith("."))
    files = named(rf"(?<![\w./-])(?:{tops})(?:/[\w.-]+)*") - set(COMMANDS) - {"services", "tests"}
    assert {file for file in files if not (ROOT / file).exists()} == set()


def test_every_command_in_the_text_is_one() -> None:
    commands = {found for found in inline() if found.startswith("mlapi ")}
    assert len(commands) > 3
    for command in commands:
        elsewhere.check(command)


def test_every_value_of_the_chart_is_one() -> None:
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    paths = {found for found in inline() if re.fullmatch(r"[a-z]\w*(\.[a-z]\w*)+", found)}
    paths = {path for path in paths if path.partition(".")[0] in values}
    assert len(paths) > 3
    for path in paths:
        reached: Any = values
        for name in path.split("."):
            assert name in reached, path
            reached = reached[name]


def test_every_link_leads_somewhere() -> None:
    anchors = {re.sub(r"[^a-z0-9 -]", "", one.lower()).replace(" ", "-") for one in guide.headings()}
    for target in re.findall(r"\]\(([^)]+)\)", guide.prose()):
        file, _, anchor = target.partition("#")
        assert (guide.GUIDE.parent / file).exists(), target
        assert file or anchor in anchors, target


def test_every_alert_has_its_paragraph_and_the_right_urgency() -> None:
    _, _, after = guide.GUIDE.read_text().partition("## When an alert fires\n")
    told = re.findall(r"^### (\w+)\n(Page|Ticket)\. \S", after, re.MULTILINE)
    assert {name: urgency.lower() for name, urgency in told} == {
        rule["alert"]: rule["labels"]["severity"] for rule in rules()
    }
