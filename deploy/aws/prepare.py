"""Runs as root before the task's services: writes the API keys where they are read, and hands volumes over."""

import os
from pathlib import Path

SERVICE_USER = 65532

keys = Path("/keys/keys.json")
keys.write_text(os.environ["API_KEYS"])
keys.chmod(0o444)
for folder in os.environ["OWNED"].split(":"):
    os.chown(folder, SERVICE_USER, SERVICE_USER)
