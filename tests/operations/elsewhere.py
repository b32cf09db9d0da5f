"""Commands of the guide that need what is not here: what can be said of them without it.

`check` raises AssertionError that says what is wrong.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterator
from functools import cache
from itertools import pairwise
from typing import Any

import yaml
from click.testing import CliRunner
from mlapi_client.cli import main

from helm import render
from helm.tools import CHART
from tests.operations.guide import ROOT

# What helm's other verbs take, and `template` does not.
ONLY_WITH_A_CLUSTER = {"--reuse-values", "--reset-then-reuse-values"}
KINDS = {"deployment", "service", "secret", "pvc", "pod"}
FULL = {"pvc": "PersistentVolumeClaim"}
# Made of the guide's own block.
OURS = ("pod", "restore")
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text())


def check(command: str) -> None:
    """Whether what it names is there."""
    words = shlex.split(command.partition(" | ")[0])
    while re.match(r"[A-Z_]+=", words[0]):
        if words[0].startswith("COMPOSE_PROFILES="):
            assert words[0].partition("=")[2] in _profiles()
        words.pop(0)
    _CHECKS[words[0]](words[1:])


def _helm(words: list[str]) -> None:
    verb, release, *others = words
    assert release == render.RELEASE[0]
    assert verb in {"install", "upgrade", "rollback", "test", "history"}
    if verb in {"install", "upgrade"}:
        assert others[0] == str(CHART.relative_to(ROOT))
        told = render.run([verb, "--help"])
        assert [word for word in others if word.startswith("--") and f"{word} " not in told] == []
        flags = [word for word in others[1:] if word not in ONLY_WITH_A_CLUSTER]
        files = {one: str(ROOT / one) for one in flags if one.endswith(".yaml")}
        assert render.run(["template", release, str(CHART), *(files.get(one, one) for one in flags)])


def _kubectl(words: list[str]) -> None:
    named = [match for word in words if (match := re.fullmatch(r"([a-z]+)/(\S+)", word))]
    found = [(one[1], one[2]) for one in named if one[1] in KINDS]
    if words[:2] == ["create", "secret"]:
        found.append(("secret", words[3]))
    assert found or words == ["apply", "-f", f"{OURS[1]}.yaml"], words
    assert [one for one in found if one != OURS and one not in _objects()] == []
    if "-c" in words:
        assert words[words.index("-c") + 1] in {name for kind, name in _objects() if kind == "container"}
    if "--" in words:
        _inside(words[words.index("--") + 1 :])


def _docker(words: list[str]) -> None:
    assert words[0] == "compose"
    match words[1:]:
        case ["up", *_]:
            pass
        case ["exec", service, *inside]:
            assert service in COMPOSE["services"]
            _inside(inside)
        case ["cp", source, _]:
            assert source.partition(":")[0] in COMPOSE["services"]
        case _:
            raise AssertionError(words)


def _inside(words: list[str]) -> None:
    """In one of our containers, which has `mlapi` and what Debian has."""
    if words[0] == "mlapi":
        _mlapi(words[1:])
    else:
        assert words[0] in {"find", "tar"}


def _mlapi(words: list[str]) -> None:
    told = CliRunner().invoke(main, [*words, "--help"])  # unknown options are refused all the same
    assert told.exit_code == 0, told.output


def _terraform(words: list[str]) -> None:
    folder = ROOT / words[0].removeprefix("-chdir=")
    assert words[1] == "apply"
    text = "".join(path.read_text() for path in folder.glob("*.tf"))
    names = [word.partition("=")[0] for before, word in pairwise(words) if before == "-var"]
    assert [name for name in names if f'variable "{name}"' not in text] == []


def _make(words: list[str]) -> None:
    makefile = (ROOT / "Makefile").read_text()
    assert [word for word in words if not re.search(rf"^{word}:", makefile, re.MULTILINE)] == []


def _aws(words: list[str]) -> None:
    """Of their own command line nothing is here but its name."""
    assert words[0] in {"ecs", "s3api"}


def _profiles() -> set[str]:
    return {one for service in COMPOSE["services"].values() for one in service.get("profiles", ())}


@cache
def _objects() -> frozenset[tuple[str, str]]:
    """Kind and name of all that the chart makes or asks for, with any of its examples."""
    manifests = [
        one for files in [(), *((file,) for file in render.value_files())] for one in render.template(*files)
    ]
    named = {(_short(one["kind"]), one["metadata"]["name"]) for one in manifests}
    return frozenset(named | set(_mentioned(manifests)))


def _short(kind: str) -> str:
    return next((short for short, full in FULL.items() if full == kind), kind.lower())


def _mentioned(value: Any) -> Iterator[tuple[str, str]]:
    """Secrets and containers, wherever they stand."""
    if isinstance(value, dict):
        if "secretName" in value:
            yield "secret", value["secretName"]
        if "secretKeyRef" in value:
            yield "secret", value["secretKeyRef"]["name"]
        for one in value.get("containers", ()):
            yield "container", one["name"]
    for one in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _mentioned(one)


_CHECKS: dict[str, Callable[[list[str]], None]] = {
    "aws": _aws,
    "docker": _docker,
    "helm": _helm,
    "kubectl": _kubectl,
    "make": _make,
    "mlapi": _mlapi,
    "terraform": _terraform,
}
