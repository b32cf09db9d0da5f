"""Several processes write to one LOG_FILE: it is rotated, and no line is lost or torn."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from pathlib import Path

from services.chassis.rotating import SharedRotatingFile
from services.chassis.settings import ServiceSettings

LINES, PROCESSES, MOST_BYTES, KEPT = 300, 3, 20_000, 50
PROGRAM = f"""
import json, logging, sys
from pathlib import Path
from services.chassis.rotating import SharedRotatingFile
handler = SharedRotatingFile(Path(sys.argv[1]), {MOST_BYTES}, {KEPT})
log = logging.getLogger("writer")
log.addHandler(handler)
for number in range({LINES}):
    log.error(json.dumps({{"writer": sys.argv[2], "number": number, "text": "x" * 100}}))
"""


def test_no_line_is_lost_or_torn(tmp_path: Path) -> None:
    path = tmp_path / "logs" / "all.log"
    writers = [
        subprocess.Popen([sys.executable, "-c", PROGRAM, str(path), str(name)]) for name in range(PROCESSES)
    ]
    assert [writer.wait(60) for writer in writers] == [0] * PROCESSES
    files = [one for one in path.parent.iterdir() if one.suffix != ".lock"]
    assert len(files) > 3
    # One line of each process may come to a file that has just become too large.
    assert max(one.stat().st_size for one in files) < MOST_BYTES + 200 * PROCESSES
    lines = [json.loads(line) for one in files for line in one.read_text().splitlines()]
    found = {(line["writer"], line["number"]) for line in lines}
    assert len(lines) == len(found) == LINES * PROCESSES


def test_only_so_many_are_kept(tmp_path: Path) -> None:
    handler = SharedRotatingFile(tmp_path / "one.log", 100, 2)
    for number in range(20):
        handler.emit(logging.makeLogRecord({"msg": f"{number} " + "x" * 60}))
    handler.close()
    names = sorted(one.name for one in tmp_path.iterdir())
    assert names == ["one.log", "one.log.1", "one.log.2", "one.log.lock"]
    assert "19 " in (tmp_path / "one.log").read_text()


def test_otlp_is_off_unless_asked_for_and_each_signal_can_be_turned_off() -> None:
    endpoint = {"otel_exporter_otlp_endpoint": "http://127.0.0.1:1"}
    signals = ("traces", "metrics", "logs")

    def sent(**values: object) -> list[str]:
        settings = ServiceSettings.model_validate(values)
        return [signal for signal in signals if settings.exports(signal)]

    assert sent() == []
    assert sent(**endpoint) == list(signals)
    assert sent(**endpoint, otel_sdk_disabled=True) == []
    assert sent(**endpoint, otel_metrics_exporter="none") == ["traces", "logs"]
