"""Runs as root before a task's services: `prepare.py KEYS FOLDER…`.

Writes the API keys to the file they are read from, and hands the task's own volumes over to the services.
"""

import os
import sys
from pathlib import Path

SERVICE_USER = 65532

keys, *folders = sys.argv[1:]
Path(keys).write_text(os.environ["API_KEYS"])
Path(keys).chmod(0o444)
for folder in folders:
    os.chown(folder, SERVICE_USER, SERVICE_USER)
