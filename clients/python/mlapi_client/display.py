"""How things look in a terminal; shared by `mlapi` and the demo. Without a terminal nothing moves."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Self

from google.protobuf.timestamp_pb2 import Timestamp
from mlapi.training.v1 import job_pb2
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.live import Live
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TaskID,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:  # it loads gRPC, which not every command needs
    from mlapi_client.watching import Event

State = job_pb2.Job.State
Level = job_pb2.JobEvent.Level
LEVEL_STYLES = {Level.WARNING: "yellow", Level.ERROR: "red"}
_BAR = 12
_WIDE = 160  # columns where there is no terminal, so that nothing is cut off


def console(*, stderr: bool = False, widest: int = _WIDE) -> Console:
    """A console that takes no text for markup: names of columns and files come from anywhere."""
    made = Console(stderr=stderr, markup=False, highlight=False)
    made.width = min(made.width, widest) if made.is_terminal else widest
    return made


def table(*columns: str, title: str | None = None) -> Table:
    """An airy table; columns that begin with ">" are numbers."""
    made = Table(title=title, box=None, pad_edge=False, padding=(0, 3, 0, 0), title_justify="left")
    for column in columns:
        right = column.startswith(">")
        made.add_column(
            Text(column.lstrip(">"), "bold"), justify="right" if right else "left", overflow="fold"
        )
    return made


def metrics_table(parts: Mapping[str, Mapping[str, float]]) -> Table:
    """A row for each metric, a column for each part; `parts` is part → metric → number."""
    made = table("metric", *(f">{name}" for name in parts))
    for name in sorted({name for metrics in parts.values() for name in metrics}):
        made.add_row(name, *(number(metrics.get(name)) for metrics in parts.values()))
    return made


def number(value: float | None) -> str:
    """Four digits that count: "0.9777", "1.000" for nearly one, "1" for one; "" for None."""
    if value is None:
        return ""
    if value.is_integer() and abs(value) < 1e6:
        return str(int(value))
    return f"{value:#.4g}".rstrip(".")


def size(count: int) -> str:
    """Bytes for people."""
    amount = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if amount < 1000:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1000
    return f"{amount:.1f} TB"


def clock(seconds: float) -> str:
    """`0:07`, `12:05`, `3:02:01`."""
    return str(timedelta(seconds=round(seconds))).removeprefix("0:").removeprefix("0")


@contextmanager
def upload_bar(screen: Console, name: str, total: int) -> Iterator[Callable[[int, int], None]]:
    """A bar with bytes, speed and time left; yields what takes the bytes sent and their total."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(_BAR, complete_style="cyan", finished_style="green"),
        DownloadColumn(),
        _SpeedColumn(),
        TimeRemainingColumn(compact=True, elapsed_when_finished=True),
    )
    with Progress(*columns, console=screen) as progress:
        task = progress.add_task(name, total=total)
        yield lambda sent, size: progress.update(task, completed=sent, total=size)


class Indented:
    """Something three columns to the right; unlike rich's Padding, without blanks at the ends of lines."""

    def __init__(self, content: RenderableType) -> None:
        self._content = Text(content) if isinstance(content, str) else content

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        inner = options.update_width(options.max_width - 3)
        for line in console.render_lines(self._content, inner, pad=False):
            yield Segment("   ")
            yield from line
            yield Segment.line()


class _SpeedColumn(ProgressColumn):
    """Bytes a second, over the whole transfer."""

    def render(self, task: Task) -> Text:
        seconds = task.finished_time or task.elapsed
        return Text(f"{size(int(task.completed / seconds))}/s" if seconds else "")


class Eta:
    """Time left, by the service's own clock: as the service says, else from how progress went so far."""

    def __init__(self) -> None:
        self._first: job_pb2.MetricPoint | None = None
        self._job = job_pb2.Job()

    def of(self, job: job_pb2.Job) -> float | None:
        """Seconds left as `job` was told; None while the service cannot say."""
        self._job = job
        return self._until_end(job.update_time, job.attempt)

    def after(self, point: job_pb2.MetricPoint) -> float | None:
        """Seconds left after `point`; None while nothing can be said. Each attempt begins anew."""
        if self._first is None or self._first.attempt != point.attempt:
            self._first = point
        said = self._until_end(point.time, point.attempt)
        if said is not None:
            return said
        done = point.progress - self._first.progress
        if done <= 0:
            return None
        taken = (_time(point.time) - _time(self._first.time)).total_seconds()
        return taken * (1 - point.progress) / done

    def _until_end(self, time: Timestamp, attempt: int) -> float | None:
        if self._job.attempt != attempt or not self._job.HasField("estimated_end_time"):
            return None
        return max(0.0, (_time(self._job.estimated_end_time) - _time(time)).total_seconds())


class TrainingView:
    """A live bar of one job, warnings and errors above it, and the last points below when `points` is not 0.

    Without a terminal a line for each tenth of the work when `points` is more than 0, and the final bar.
    """

    def __init__(self, screen: Console, name: str, points: int = 0) -> None:
        self._screen = screen
        self._eta = Eta()
        self._points: deque[job_pb2.MetricPoint] = deque(maxlen=points)
        self._job = job_pb2.Job()
        self._tenths = 0
        self._progress = Progress(
            SpinnerColumn(finished_text=" "),
            TextColumn("{task.description}"),
            BarColumn(_BAR, complete_style="cyan", finished_style="green"),
            TaskProgressColumn(),
            TextColumn("{task.fields[latest]}"),
            TextColumn("{task.fields[left]}", style="cyan"),
            console=screen,
        )
        self._task: TaskID = self._progress.add_task(name, total=1.0, latest="", left="")
        self._live = Live(self._progress, console=screen, refresh_per_second=8)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()
        if not self._screen.is_interactive:  # Live leaves the line open then
            self._screen.line()

    def update(self, event: Event) -> None:
        """Shows one event of a watch."""
        if isinstance(event, job_pb2.Job):
            self._show_job(event)
        elif isinstance(event, job_pb2.JobEvent):
            self._show_event(event)
        else:
            self._show_point(event)
        self._live.update(Group(self._progress, *self._table()))

    def _show_job(self, job: job_pb2.Job) -> None:
        self._job = job
        left = self._eta.of(job)
        self._progress.update(self._task, completed=job.progress)
        if job.state == State.SUCCEEDED:
            self._set_left(f"took {clock(job.usage.wall_seconds)}")
        elif job.state != State.RUNNING:
            self._set_left(State.Name(job.state))
        elif job.progress == 0:
            self._set_left("starting")
        elif left is not None:
            self._set_left(f"{clock(left)} left")

    def _show_event(self, event: job_pb2.JobEvent) -> None:
        if event.level in LEVEL_STYLES:
            text = f"{moment(event.time)}  {Level.Name(event.level)}  {event.message}"
            self._screen.print(text.strip(), style=LEVEL_STYLES[event.level])

    def _show_point(self, point: job_pb2.MetricPoint) -> None:
        left = self._eta.after(point)
        if point.values:  # the last point of a job says no more than that it is done
            self._points.append(point)
            self._progress.update(self._task, latest=self._latest(point))
        self._progress.update(self._task, completed=point.progress)
        self._set_left("" if left is None else f"{clock(left)} left")
        if self._points.maxlen and not self._screen.is_terminal and int(point.progress * 10) > self._tenths:
            self._tenths = int(point.progress * 10)
            self._screen.print(f"{point.progress:4.0%}  {self._latest(point)}")

    def _set_left(self, text: str) -> None:
        self._progress.update(self._task, left=text)

    def _latest(self, point: job_pb2.MetricPoint) -> str:
        return " ".join(part for part in (self._place(point), *_losses(point.values)) if part)

    def _place(self, point: job_pb2.MetricPoint) -> str:
        hyperparameters = hyperparameters_of(self._job)
        if "epoch" in point.values:
            most = hyperparameters.get("max_epochs") or hyperparameters.get("mlp.max_epochs")
            return f"epoch {point.values['epoch']:.0f}" + (f"/{most}" if most else "")
        return f"step {point.step}"

    def _table(self) -> Iterable[Table]:
        if not self._points or not self._screen.is_terminal:
            return []
        names = sorted({name for point in self._points for name in point.values} - {"epoch"})
        made = table(">step", *(f">{name}" for name in names))
        for point in self._points:
            place = point.values.get("epoch", point.step)
            made.add_row(f"{place:.0f}", *(number(point.values.get(name)) for name in names))
        return [made]


def hyperparameters_of(message: Any) -> dict[str, Any]:
    """Name → value of the algorithm of a job or a proposal."""
    name = message.WhichOneof("algorithm")
    if name is None:
        return {}
    return _values(getattr(message, name))


def _values(message: Any, prefix: str = "") -> dict[str, Any]:
    """Those of a part have its name before theirs."""
    found: dict[str, Any] = {}
    for field in message.DESCRIPTOR.fields:
        value = getattr(message, field.name)
        if field.message_type:
            found |= _values(value, f"{prefix}{field.name}.")
        else:
            found[prefix + field.name] = _plain(field, value)
    return found


def _plain(field: Any, value: Any) -> Any:
    if field.enum_type:
        known = field.enum_type.values_by_number.get(value)
        return known.name if known else value
    return list(value) if field.is_repeated else value


def moment(time: Any) -> str:
    """A Timestamp in local time, or nothing."""
    if not time.seconds:
        return ""
    return f"{time.ToDatetime(UTC).astimezone():%Y-%m-%d %H:%M:%S}"


def _losses(values: Mapping[str, float]) -> list[str]:
    shown = {"train_loss": "loss", "validation_loss": "val"}
    return [f"{text} {values[name]:.4f}" for name, text in shown.items() if name in values]


def _time(stamp: Timestamp) -> datetime:
    time: datetime = stamp.ToDatetime(UTC)
    return time
