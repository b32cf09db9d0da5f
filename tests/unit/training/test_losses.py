"""What a job's owner is told of a process that is gone."""

from __future__ import annotations

import pytest

from services.training.application import losses
from services.training.application.losses import EXIT_ENVIRONMENT
from services.training.application.ports import Exit
from services.training.domain.job import JobError

GONE = "The training process ended without a result"


@pytest.mark.parametrize(
    ("exit", "message"),
    [
        (Exit(), f"{GONE}."),
        (Exit(last_words="nobody saw it"), f"{GONE}."),
        (Exit(0, last_words="done"), f"{GONE}, with exit status 0."),
        (Exit(1, last_words="ValueError: no"), f"{GONE}, with exit status 1: ValueError: no."),
        (Exit(3), f"{GONE}, with exit status 3."),
        (Exit(-9, last_words="step 7"), f"{GONE}, by SIGKILL."),
        (Exit(-11), f"{GONE}, by SIGSEGV."),
        (Exit(-99), f"{GONE}, by signal 99."),
    ],
)
def test_an_end_without_a_result_says_how(exit: Exit, message: str) -> None:
    loss = losses.of_exit(exit)
    assert loss == losses.Loss(JobError("ABORTED", "TRAINING_PROCESS_LOST", message), final=False)


def test_want_of_memory_is_told_from_other_kills_and_says_what_helps() -> None:
    loss = losses.of_exit(Exit(-9, out_of_memory=True))
    assert (loss.error.code, loss.error.reason) == ("RESOURCE_EXHAUSTED", "OUT_OF_MEMORY")
    assert "less data" in loss.error.message
    assert not loss.final


@pytest.mark.parametrize("words", ["No module named 'cupy'", ""])
def test_where_nothing_can_run_nothing_is_tried_again(words: str) -> None:
    loss = losses.of_exit(Exit(EXIT_ENVIRONMENT, last_words=words))
    assert loss.final
    assert (loss.error.code, loss.error.reason) == ("FAILED_PRECONDITION", "TRAINING_ENVIRONMENT_BROKEN")
    assert (words or "no reason") in loss.error.message


def test_silence_and_standing_still_are_told_apart() -> None:
    silent, stalled = losses.silent(15), losses.stalled(0.5)
    assert (silent.error.reason, silent.final) == ("TRAINING_PROCESS_LOST", False)
    assert "for 15 s" in silent.error.message
    assert (stalled.error.reason, stalled.final) == ("TRAINING_STALLED", False)
    assert "for 0.5 s" in stalled.error.message
