"""The product in a minute: `make demo`. It is a test too: it fails when the digits are not learned.

python clients/demo.py [--keep DIR]
"""

from __future__ import annotations

import argparse
import csv
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from mlapi.training.v1 import job_pb2
from mlapi_client import Client, MlapiError, display, display_enhancement
from rich.console import Console, RenderableType
from rich.text import Text
from sklearn.datasets import load_breast_cancer, load_digits

from gateway.stack import Stack, StackError

ENOUGH = 0.95  # held-out accuracy on the digits
SEED = 7
ENHANCE_TRIALS = 2
ARMS = ("local", "tpe")


class DemoError(Exception):
    """The product did not do what it promises."""


@dataclass(frozen=True)
class Example:
    """A dataset as a CSV file, but for its last row, which is kept back."""

    name: str
    file: Path
    target: str
    rows: int
    columns: int
    kept: dict[str, Any]  # column → value, without the target
    truth: str


@dataclass(frozen=True)
class Trained:
    """An example and the job that has learned it."""

    example: Example
    job: job_pb2.Job


class Story:
    """Numbered steps on a screen."""

    def __init__(self, screen: Console) -> None:
        self.screen = screen
        self._steps = 0

    def step(self, title: str) -> None:
        """Begins a step."""
        self._steps += 1
        self.screen.print()
        self.screen.print(Text.assemble((f"{self._steps}  ", "bold cyan"), (title, "bold")))

    def say(self, content: RenderableType, style: str = "") -> None:
        """Something under the step's title."""
        self.screen.print(display.Indented(Text(content, style) if isinstance(content, str) else content))


def main() -> int:
    """Exit code: 0 when everything worked, 130 when interrupted, else 1."""
    parser = argparse.ArgumentParser(description="Start the product, train two models, predict, export.")
    parser.add_argument(
        "--keep", type=Path, metavar="DIR", help="keep the data here; default: a temporary folder"
    )
    keep: Path | None = parser.parse_args().keep
    story = Story(display.console(widest=100))
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that everything is stopped then too
    try:
        with _folder(keep) as folder:
            run(story, folder, kept=keep is not None)
    except (DemoError, MlapiError, StackError, OSError) as error:
        story.screen.print(f"\nThe demo failed: {error}", style="bold red")
        return 1
    except KeyboardInterrupt:
        story.screen.print("\nInterrupted; everything is stopped.")
        return 130
    return 0


def run(story: Story, folder: Path, *, kept: bool) -> None:
    """Tells the whole story; `folder` holds what the product stores."""
    story.step("Start the product: three services behind Envoy")
    began = time.monotonic()
    with ExitStack() as running:
        with story.screen.status("starting"):
            stack = running.enter_context(Stack(folder))
        client = running.enter_context(Client(stack.address))
        story.say(f"Ready at {stack.url} after {time.monotonic() - began:.1f} s (REST and gRPC on one port).")
        digits, cancer = upload(story, client)
        trained, task_id = train(story, client, digits, cancer)
        measure(story, trained)
        predict(story, client, trained)
        export(story, client, trained[0], folder)
        enhance(story, client, trained[1], task_id)
    story.step("Stop")
    where = f"kept in {folder}" if kept else f"were in {folder}, and are deleted now (--keep DIR keeps them)"
    story.say(f"Every process has ended. Datasets, metrics and models {where}.")
    next_steps(story)
    accuracy = trained[0].job.test_metrics["accuracy"]
    if accuracy < ENOUGH:
        raise DemoError(f"an accuracy of {accuracy:.3f} on the digits is less than {ENOUGH}")


def upload(story: Story, client: Client) -> tuple[Example, Example]:
    """Writes two real datasets as CSV and uploads them."""
    story.step("Upload two datasets as CSV; the last row of each is kept back")
    with tempfile.TemporaryDirectory() as folder:
        digits = _example(Path(folder), "digits", "digit", load_digits())
        cancer = _example(Path(folder), "breast-cancer", "diagnosis", load_breast_cancer())
        for example in (digits, cancer):
            size = example.file.stat().st_size
            with display.upload_bar(story.screen, f"   {example.file.name:<17}", size) as progress:
                client.datasets.upload(example.file, example.name, progress=progress)
    for example in (digits, cancer):
        dataset = client.datasets.get(example.name)
        story.say(
            f"{example.name}: {example.rows:,} rows × {example.columns} columns, one kept back; "
            f"sha256 {dataset.sha256[:12]}… as sent"
        )
    return digits, cancer


def train(
    story: Story, client: Client, digits: Example, cancer: Example
) -> tuple[tuple[Trained, Trained], str]:
    """Trains one model on each, and begins to look for a better one than the second; that task's id."""
    story.step("Train: logistic regression on breast cancer, a neural network on the digits")
    line = _train(story, client, cancer, "logistic")
    task = client.ai.enhance_async(job_id=line.job.job_id, max_trials=ENHANCE_TRIALS, arms=ARMS)
    story.say("The search for a better one than that goes on in the background.", "dim")
    # The digits are learned long before the default patience ends.
    network = _train(story, client, digits, "mlp", early_stopping_patience=60)
    return (network, line), task.task_id


def measure(story: Story, trained: tuple[Trained, Trained]) -> None:
    """Shows the metrics on rows that training never saw."""
    story.step("Measure on the test part, which training never saw")
    names = ("accuracy", "f1", "roc_auc", "log_loss")
    table = display.table("dataset", "algorithm", *(f">{name}" for name in names), ">rows/s")
    for one in trained:
        speed = one.job.usage.samples / max(one.job.usage.wall_seconds, 1e-9)
        metrics = (display.number(one.job.test_metrics.get(name)) for name in names)
        table.add_row(one.example.name, one.job.WhichOneof("algorithm"), *metrics, f"{speed:,.0f}")
    story.say(table)


def predict(story: Story, client: Client, trained: tuple[Trained, Trained]) -> None:
    """Predicts the rows that were kept back."""
    story.step("Predict the rows that were kept back")
    table = display.table("dataset", "prediction", ">probability", "truth", "")
    for one in trained:
        (prediction,) = client.models.predict(one.job.model_id, [one.example.kept])
        value = str(prediction["value"])
        right = "right" if value == one.example.truth else "wrong"
        share = prediction["probabilities"][value]
        table.add_row(one.example.name, value, f"{share:.1%}", one.example.truth, right)
    story.say(table)


def export(story: Story, client: Client, one: Trained, folder: Path) -> None:
    """Writes the model to a file and runs that without the product."""
    story.step("Export the digits: one ONNX file that runs anywhere, preprocessing included")
    (prediction,) = client.models.predict(one.job.model_id, [one.example.kept])
    file = client.models.export(one.job.model_id, folder / "digits.onnx")
    session = onnxruntime.InferenceSession(file)
    row = {column: np.array([[value]]) for column, value in one.example.kept.items()}
    (label,), (shares,) = session.run(["label", "probabilities"], row)
    story.say(
        f"{file.name}, {file.stat().st_size / 1e6:.1f} MB: onnxruntime says {label}, {shares.max():.1%}"
    )
    if label != prediction["value"]:
        raise DemoError(f"onnxruntime says {label} where the product says {prediction['value']}")


def enhance(story: Story, client: Client, one: Trained, task_id: str) -> None:
    """Waits for the search that began when `one` was trained."""
    story.step("Is there a model that is better on breast cancer? What was proposed meanwhile, measured")
    with display_enhancement.progress(story.screen, f" {one.example.name:<13}") as show:
        found = client.ai.wait(task_id, show)
    story.say(display_enhancement.enhancement(found))


def next_steps(story: Story) -> None:
    """What to type next."""
    story.step("Your turn")
    commands = (
        "make run          # and in another terminal:",
        "curl -T my.csv -X POST localhost:5000/v1/datasets/mine:upload",
        ".venv/bin/mlapi jobs create mine --target COLUMN --watch",
        ".venv/bin/mlapi predict MODEL --file rows.csv",
    )
    for command in commands:
        story.say(command, "green")


def _train(story: Story, client: Client, example: Example, algorithm: str, **settings: int) -> Trained:
    created = client.jobs.create(
        example.name, example.target, algorithm=algorithm, hyperparameters=settings, seed=SEED
    )
    job = created
    with display.TrainingView(story.screen, f" {example.name:<13}") as view:
        for event in client.jobs.watch(created.job_id):
            view.update(event)
            if isinstance(event, job_pb2.Job):
                job = event
    if job.state != job_pb2.Job.SUCCEEDED:
        raise DemoError(f"{job.job_id} is {job_pb2.Job.State.Name(job.state)}: {job.error.message}")
    return Trained(example, job)


def _example(folder: Path, name: str, target: str, bunch: Any) -> Example:
    columns = [str(column).replace(" ", "_") for column in bunch.feature_names]
    answers = [str(bunch.target_names[number]) for number in bunch.target]
    rows = bunch.data.tolist()
    file = folder / f"{name}.csv"
    with file.open("w", newline="") as lines:
        writer = csv.writer(lines)
        writer.writerow([*columns, target])
        writer.writerows([*row, answer] for row, answer in zip(rows[:-1], answers[:-1], strict=True))
    kept = dict(zip(columns, rows[-1], strict=True))
    return Example(name, file, target, len(rows), len(columns), kept, answers[-1])


@contextmanager
def _folder(keep: Path | None) -> Iterator[Path]:
    if keep is not None:
        keep.mkdir(parents=True, exist_ok=True)
        yield keep
        return
    with tempfile.TemporaryDirectory(prefix="mlapi-demo-") as folder:
        yield Path(folder)


if __name__ == "__main__":
    sys.exit(main())
