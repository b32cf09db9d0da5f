"""Alert rules, as promtool sees them: they can be read, and each fires when it should and not before."""

from __future__ import annotations

import subprocess

from tests.watching.tools import ROOT, prometheus

PROMETHEUS = ROOT / "deploy" / "prometheus"


def test_configuration_and_rules_can_be_read() -> None:
    promtool(["check", "config", str(PROMETHEUS / "prometheus.yaml")])


def test_alerts_fire_when_they_should() -> None:
    promtool(["test", "rules", *map(str, sorted((PROMETHEUS / "tests").glob("*.yaml")))])


def promtool(words: list[str]) -> None:
    command = [prometheus("promtool"), *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
