"""Why an attempt's process is gone without a result, and what its owner can do."""

from __future__ import annotations

import signal
from dataclasses import dataclass

from services.training.application.ports import Exit
from services.training.domain.job import JobError

# What an attempt's process exits with when it cannot run here at all (EX_CONFIG of sysexits.h).
EXIT_ENVIRONMENT = 78
# When a process that trained along is gone; any other status but 0 would do.
EXIT_LOST = 1
# What its warden exits with when the system ended it for want of memory (EX_OSERR).
EXIT_MEMORY = 71


@dataclass(frozen=True)
class Loss:
    """final: another attempt would end like this one."""

    error: JobError
    final: bool = False


def silent(seconds: float) -> Loss:
    """It did not renew its lease, and was ended."""
    text = f"The training process said nothing for {seconds:g} s and was ended."
    return Loss(JobError("ABORTED", "TRAINING_PROCESS_LOST", text))


def stalled(seconds: float) -> Loss:
    """It renewed its lease and did no work, and was ended."""
    text = f"Training made no step for {seconds:g} s and was ended."
    return Loss(JobError("ABORTED", "TRAINING_STALLED", text))


def crowded() -> Loss:
    """It was ended for want of memory, as earlier attempts had been, and never came further."""
    text = "It was ended again and again, for there was no memory for it beside other jobs. Resume it later."
    return Loss(JobError("RESOURCE_EXHAUSTED", "OUT_OF_MEMORY", text))


def of_exit(exit: Exit) -> Loss:
    """It ended by itself, or by a stranger's hand."""
    if exit.code == EXIT_ENVIRONMENT:
        text = f"Training cannot run here: {exit.last_words or 'the log has no reason'}."
        return Loss(JobError("FAILED_PRECONDITION", "TRAINING_ENVIRONMENT_BROKEN", text), final=True)
    if exit.out_of_memory:
        text = "The system ended training for want of memory. Train on less data, or run fewer jobs at once."
        return Loss(JobError("RESOURCE_EXHAUSTED", "OUT_OF_MEMORY", text))
    text = f"The training process ended without a result{_how(exit)}."
    return Loss(JobError("ABORTED", "TRAINING_PROCESS_LOST", text))


def _how(exit: Exit) -> str:
    if exit.code is None:
        return ""
    if exit.code < 0:
        return f", by {_signal(-exit.code)}"
    return f", with exit status {exit.code}" + (
        f": {exit.last_words}" if exit.code and exit.last_words else ""
    )


def _signal(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
