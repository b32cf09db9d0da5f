"""`python -m gateway.validate`: Envoy itself checks the configuration, with and without tracing and TLS."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from gateway.dev_ca import certificates
from gateway.edge import command
from gateway.settings import EdgeSettings


def problems(settings: EdgeSettings) -> str:
    """What Envoy has to say against the configuration; empty when nothing."""
    words = [*command(settings, settings.data_dir / "envoy.yaml"), "--mode", "validate"]
    result = subprocess.run(words, capture_output=True, text=True, check=False)
    return result.stderr if result.returncode else ""


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        secure = {name.lower(): path for name, path in certificates(Path(folder)).items()}
        for more in ({}, {"otel_exporter_otlp_endpoint": "http://127.0.0.1:4317", **secure}):
            if found := problems(EdgeSettings.model_validate({"data_dir": folder, **more})):
                sys.exit(found)
