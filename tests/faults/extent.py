"""How far the tests go: FAULTS=long takes its time."""

from __future__ import annotations

import os

LONG = os.environ.get("FAULTS") == "long"


def rounds(usual: int) -> int:
    """How often something is killed in the long form: FAULTS_ROUNDS, or as often as usual."""
    return int(os.environ.get("FAULTS_ROUNDS") or usual)
