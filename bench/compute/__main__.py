"""How fast networks train on one core, beside PyTorch, JAX, scikit-learn and pytabkit in the same run.

    python -m bench.compute [--shapes small,large] [--peers torch,jax] [--rounds N] [--quick]

Each runner is a process that trains without end and takes turns with the others on one core; epochs count,
not the preparation of data. Rounds are interleaved, so that whatever else the machine does meets all alike.
Time is the processor's, which is the clock's on a quiet machine. A figure is the median over the rounds, a
ratio the median of the ratios within each round.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy  # noqa: F401 (whose BLAS is asked about)
from threadpoolctl import threadpool_info

from bench.compute.cases import CASES, Case
from bench.compute.rounds import ROOT, Turn, WorkerFailed, measure, rate, ratio, share

RESULTS = ROOT / "bench" / "results" / "compute.json"
VENV = ROOT / ".bench" / "compute"
LOCK = ROOT / "requirements" / "bench-compute.lock"
PEERS = {"plain": ("torch", "compile", "jax", "sklearn"), "RealMLP": ("RealMLP",), "TabM": ("TabM",)}
# How many times as fast as a peer we mean to be.
BARS = {
    "small": {"torch": 3.0, "jax": 1.3, "sklearn": 2.0},
    "middle": {"torch": 1.8, "jax": 1.1, "sklearn": 1.5},
    "large": {"torch": 1.1, "jax": 1.0, "sklearn": 1.5},
    "digits": {"torch": 1.1, "jax": 1.0, "sklearn": 1.5},
    "realmlp": {"RealMLP": 2.0},
    "tabm": {"TabM": 2.0},
}
_VERSIONS = ("torch", "jax", "scikit-learn", "pytabkit")


def main() -> int:
    """0 when every bar that was measured is reached."""
    options = _options()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the workers end too
    python = options.python or installed()
    wanted = [name for names in PEERS.values() for name in names]
    wanted = options.peers.split(",") if options.peers else wanted
    rows = []
    for name in options.shapes.split(","):
        case = CASES[name]
        runners = ("ours", *(peer for peer in PEERS[case.recipe] if peer in wanted))
        taken = measure(case, runners, python, options.rounds, options.seconds)
        rows.append(row(case, taken))
        print(lines(rows[-1]), flush=True)
    if not options.quick and not options.peers:
        RESULTS.write_text(json.dumps(summary(rows, python, options), indent=2) + "\n")
    return 0 if all(found["reached"] for found in rows) else 1


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--shapes", default=",".join(CASES), help=f"some of {','.join(CASES)}")
    parser.add_argument("--peers", help="some of them; the result is then only printed")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3.0, help="at least, of each turn")
    parser.add_argument("--quick", action="store_true", help="three short rounds; only printed")
    parser.add_argument("--python", type=Path, help="an interpreter that has the peers, in place of our own")
    options = parser.parse_args()
    if options.quick:
        options.rounds, options.seconds = 3, 0.5
    return options


def installed() -> Path:
    """The interpreter of an environment with the peers in it: the product needs none of them."""
    uv, python = str(Path(sys.executable).parent / "uv"), VENV / "bin" / "python"
    if not python.exists():
        subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, str(VENV)], check=True)
    sync = ["pip", "sync", "--quiet", "--python", str(python), "--require-hashes", str(LOCK)]
    subprocess.run([uv, *sync], check=True)
    return python


def row(case: Case, taken: Mapping[str, Sequence[Turn]]) -> dict[str, Any]:
    """What was found of one case; samples a second of every round are kept, to show the spread."""
    bars = {peer: bar for peer, bar in BARS[case.name].items() if peer in taken}
    times = {peer: round(ratio(taken["ours"], turns), 2) for peer, turns in taken.items() if peer != "ours"}
    runners = {
        runner: {
            "samples_per_second": round(rate(turns)),
            "seconds_per_epoch": round(case.rows / rate(turns), 4),
            "processor_share": round(share(turns), 2),
            "of_each_round": [round(turn.rows / turn.cpu) for turn in turns],
        }
        for runner, turns in taken.items()
    }
    reached = all(times[peer] >= bar for peer, bar in bars.items())
    return {
        "case": case.name,
        "title": case.title,
        "rows": case.rows,
        "runners": runners,
        "times_as_fast_as": times,
        "bars": bars,
        "reached": reached,
    }


def lines(found: Mapping[str, Any]) -> str:
    """One case as plain text."""
    text = [
        f"{found['title']}",
        f"  {'':10}{'samples/s':>12}{'s/epoch':>10}{'share':>7}{'ratio':>7}{'bar':>6}",
    ]
    for runner, figures in found["runners"].items():
        rates = f"{figures['samples_per_second']:>12,}{figures['seconds_per_epoch']:>10.3f}"
        times, bar = found["times_as_fast_as"].get(runner, ""), found["bars"].get(runner, "")
        text.append(f"  {runner:10}{rates}{figures['processor_share']:>7.2f}{times:>7}{bar:>6}")
    return "\n".join(text)


def summary(rows: Sequence[Mapping[str, Any]], python: Path, options: argparse.Namespace) -> dict[str, Any]:
    """What is published."""
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "machine": {"processor": _processor(), "blas": _blas(), "cores": os.cpu_count(), "used": 1},
        "versions": {"python": platform.python_version(), **_ours(), **_peers(python)},
        "rounds": options.rounds,
        "seconds": options.seconds,
        "rows": rows,
    }


def _blas() -> str:
    """Whose kernels NumPy's products run: `OPENBLAS_CORETYPE` may hold them back."""
    found = [one for one in threadpool_info() if one["user_api"] == "blas"]
    return f"{found[0]['internal_api']} {found[0]['version']}, {found[0]['architecture']}" if found else ""


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _ours() -> dict[str, str]:
    return {name: metadata.version(name) for name in ("numpy", "numba")}


def _peers(python: Path) -> dict[str, str]:
    code = (
        f"import json, importlib.metadata as m; print(json.dumps({{n: m.version(n) for n in {_VERSIONS}}}))"
    )
    said = subprocess.run([python, "-c", code], check=True, capture_output=True, text=True).stdout
    found: dict[str, str] = json.loads(said)
    return found


if __name__ == "__main__":
    try:
        sys.exit(main())
    except WorkerFailed as failed:
        print(failed, file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)
