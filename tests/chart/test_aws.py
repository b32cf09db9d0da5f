"""What a Fargate task does before its services start."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from helm.tools import ROOT
from services.chassis import key_file


def test_keys_out_of_a_variable_become_the_file_that_services_read(tmp_path: Path) -> None:
    digest = "0" * 64
    keys = f'[{{"id": "abcdefghijkl", "sha256": "{digest}", "tenant": "team-a", "scopes": ["ai:call"]}}]'
    script = (ROOT / "deploy/aws/prepare.py").read_text()  # as Terraform hands it to `python -c`
    path = tmp_path / "keys.json"
    subprocess.run([sys.executable, "-c", script, path], env={**os.environ, "API_KEYS": keys}, check=True)
    assert set(key_file.read(path)) == {"abcdefghijkl"}
    assert path.stat().st_mode & 0o777 == 0o444
