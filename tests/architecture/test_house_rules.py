"""Sizes, and who may read the environment."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LONGEST_FILE = 350
LONGEST_FUNCTION = 45
# What is longer, how long it is, and why. The number may only go down.
EXCEPTIONS = {
    "services/training/adapters/migrations/versions/0001_datasets_jobs_models.py:upgrade": (
        49,
        "a list of tables, which is not changed any more",
    ),
}


def sources() -> list[Path]:
    return sorted((ROOT / "services").rglob("*.py"))


def test_files_can_be_read_in_one_sitting() -> None:
    lengths = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in sources()}
    assert len(lengths) > 50
    assert {name: length for name, length in lengths.items() if length > LONGEST_FILE} == {}


def test_functions_are_short() -> None:
    functions = ast.FunctionDef | ast.AsyncFunctionDef
    lengths = [
        (f"{path.relative_to(ROOT)}:{node.name}", (node.end_lineno or 0) - node.lineno + 1)
        for path in sources()
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, functions)
    ]
    assert len(lengths) > 500
    long = {name: length for name, length in lengths if length > LONGEST_FUNCTION}
    assert long == {name: length for name, (length, _) in EXCEPTIONS.items()}


@pytest.mark.parametrize("read", ["os.environ['HOME']", "os.getenv('HOME')", "dict(os.environ)"])
@pytest.mark.parametrize(
    ("place", "refused"),
    [
        ("services/training/domain/job.py", True),
        ("services/training/__main__.py", True),
        ("services/chassis/server.py", True),
        ("gateway/stack.py", True),
        ("services/training/settings.py", False),
        ("services/chassis/settings.py", False),
        ("gateway/settings.py", False),
    ],
)
def test_only_settings_read_the_environment(place: str, refused: bool, read: str) -> None:
    command = [Path(sys.executable).with_name("ruff"), "check", "--select=TID251", "--no-cache"]
    result = subprocess.run(
        [*command, "--output-format=concise", f"--stdin-filename={place}", "-"],
        cwd=ROOT,
        input=f"import os\n\nprint({read})\n",
        capture_output=True,
        text=True,
        check=False,
    )
    assert ("TID251" in result.stdout, result.returncode) == (refused, int(refused)), result.stderr


def test_nobody_excuses_himself_from_it() -> None:
    assert not [path for path in sources() if "TID251" in path.read_text() or "# ruff:" in path.read_text()]
