"""A worker whose first attempt stops to train after its first step, and goes on showing that it lives."""

from __future__ import annotations

import sys
import time
from typing import Any

from services.training import attempt_process
from services.training.adapters.learner import ComputeLearner
from services.training.application.ports import Loop


class Sleeper(ComputeLearner):
    """Makes one step."""

    def fit(self, spec: Any, loop: Loop, **how: Any) -> Any:
        loop.report(1, 0.1, {})
        loop.should_stop()
        time.sleep(600)


if __name__ == "__main__":
    if sys.argv[2] == "1":
        attempt_process.ComputeLearner = Sleeper  # type: ignore[attr-defined]
    attempt_process.run(sys.argv[1], int(sys.argv[2]))
