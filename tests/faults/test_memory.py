"""Memory runs out under attempts that are real processes."""

from __future__ import annotations

from pathlib import Path

from services.training.domain.job import JobState
from tests.faults import truth
from tests.faults.core import core, seconds_of_training
from tests.unit.training.stand_ins import Fullness


def test_the_youngest_makes_room_and_goes_on_to_the_model_it_would_have_had(tmp_path: Path) -> None:
    memory = Fullness()
    with core(tmp_path, memory=memory) as platform:
        older = platform.add(seconds_of_training(100_000))
        platform.when(older, lambda job: job.step > 2)
        younger = platform.add(seconds_of_training(250))
        platform.when(younger, lambda job: job.checkpoints)
        memory.is_critical = True
        waiting = platform.when(younger, lambda job: job.state is JobState.QUEUED)
        assert (waiting.losses, waiting.evictions) == (0, 1)
        assert platform.job(older).state is JobState.RUNNING
        memory.is_critical = False
        platform.jobs.cancel(older, "")
        platform.ended(younger)
        assert truth.check_success(platform.store, tmp_path, younger).attempt == 2
        assert {"attempt_evicted", "went_on"} <= set(truth.kinds(platform.store, younger))
