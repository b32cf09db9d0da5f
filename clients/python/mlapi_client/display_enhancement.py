"""An enhancement on a terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from mlapi.ai_gateway.v1 import enhancement_pb2
from rich.console import Console, Group, RenderableType
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskProgressColumn, TextColumn
from rich.text import Text

from mlapi_client.display import Indented, number, table

Enhancement = enhancement_pb2.Enhancement


@contextmanager
def progress(screen: Console, name: str) -> Iterator[Callable[[float], None]]:
    """A bar; call what comes with the part that is done."""
    columns = (
        SpinnerColumn(finished_text=" "),
        TextColumn("{task.description}"),
        BarColumn(20, complete_style="cyan", finished_style="green"),
        TaskProgressColumn(),
    )
    with Progress(*columns, console=screen) as bar:
        task = bar.add_task(name, total=1.0)
        yield lambda part: bar.update(task, completed=part)


def enhancement(found: Enhancement) -> Group:
    """What the arms measured, and what comes of it."""
    metric = found.input.metric
    arms = table("arm", ">trials", f">validation {metric}", f">test {metric}", "")
    for arm in found.arms:
        best = (number(arm.best_validation), number(arm.best_test)) if arm.trial_count else ("", "")
        arms.add_row(arm.name, str(arm.trial_count), *best, arm.note)
    lines: list[RenderableType] = [arms]
    if found.HasField("best"):
        changes = ", ".join(
            f"{one.field} {one.before or 'default'} → {one.after or 'default'}" for one in found.best.changes
        )
        lines.append(Text.assemble(("Best: ", "bold"), f"{changes} (by {found.best.source})"))
    lines.append(verdict(found))
    return Group(*lines)


def verdict(found: Enhancement) -> RenderableType:
    """The recommendation and why, or why there is none."""
    if found.recommendation == Enhancement.RECOMMENDATION_UNSPECIFIED:
        state = Enhancement.State.Name(found.state).lower()
        return Text(f"It {state}. {found.error.message}".strip(), "yellow")
    adopt = found.recommendation == Enhancement.ADOPT
    name = Enhancement.Recommendation.Name(found.recommendation)
    return Group(Text(name, "bold green" if adopt else "bold cyan"), Indented(found.reason))
