"""The import contracts hold, and each of them would notice."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# One import against each contract of pyproject.toml.
VIOLATIONS = {
    "rooms of the training service": ("training/application", "services.training.adapters.store_sql"),
    "rooms of the AI gateway": ("ai_gateway/application", "services.ai_gateway.rpc"),
    "the fake vendors share no code with the gateway": ("ai_gateway/fakes", "services.ai_gateway.domain"),
    "services speak through stubs, never through imports": ("health", "services.training.domain.job"),
    "the chassis knows no service": ("chassis", "services.training.settings"),
    "the core speaks no wire format and no SQL": ("ai_gateway/domain", "grpc"),
    "dialects are bytes in, bytes out": ("ai_gateway/dialects", "aiohttp"),
    "a dialect knows no other": ("ai_gateway/dialects/gemini", "services.ai_gateway.dialects.openai"),
    "compute knows arrays only": ("training/compute", "sqlalchemy"),
}


def verdicts(tree: Path) -> dict[str, str]:
    """Contract → KEPT or BROKEN, for the code in `tree`."""
    result = subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache"],
        cwd=tree,
        env={**os.environ, "PYTHONPATH": str(tree)},
        capture_output=True,
        text=True,
        check=False,
    )
    found = dict(re.findall(r"^(.+) (KEPT|BROKEN)$", result.stdout, re.MULTILINE))
    assert (result.returncode == 0) == (set(found.values()) == {"KEPT"}), result.stdout + result.stderr
    return found


def test_every_contract_is_kept() -> None:
    assert verdicts(ROOT) == dict.fromkeys(VIOLATIONS, "KEPT")


def test_every_contract_notices_a_violation(tmp_path: Path) -> None:
    for folder in ("services", "gateway"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    for folder, module in VIOLATIONS.values():
        (tmp_path / "services" / folder / "violation.py").write_text(f"import {module}\n")
    assert verdicts(tmp_path) == dict.fromkeys(VIOLATIONS, "BROKEN")


def test_every_folder_of_the_services_is_a_package() -> None:
    """A folder without `__init__.py` is invisible to the contracts."""
    folders = {path.parent for path in (ROOT / "services").rglob("*.py")}
    for service in ("training", "ai_gateway"):  # Alembic's own, never imported
        folders.remove(ROOT / f"services/{service}/adapters/migrations/versions")
    assert not [folder for folder in sorted(folders) if not (folder / "__init__.py").is_file()]


def test_no_written_package_is_called_like_the_proto_root() -> None:
    outside = ("clients", "gateway", "services", "tests", "bench", "protos")
    found = {path.parent for name in outside for path in (ROOT / name).rglob("mlapi/**/*.py")}
    generated = ROOT / "protos/gen/python/mlapi"
    assert found
    assert all(folder.is_relative_to(generated) for folder in found)
