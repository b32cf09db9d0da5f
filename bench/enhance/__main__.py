"""Whether enhancements do what they say: eight tables × ten seeds, beside Optuna's own loop; and pure noise.

    python -m bench.enhance [--datasets iris,wine] [--seeds 10] [--trials 24] [--noise 100] [--processes 2]

Each run is an enhancement by the gateway's own turns, with the arms `tpe` and `hybrid`; the latter's model is
a closed list of proposals (`provider.py`). Sweeps are the training service's own rules over fits in this
process (`sweeps.py`). Optuna's loop begins with the same input, and makes as many trials more.
"""

from __future__ import annotations

import argparse
import json
import logging
import multiprocessing
import os
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from importlib.metadata import version
from pathlib import Path
from typing import Any

from bench.enhance.datasets import DATASETS, NOISE
from bench.enhance.run import Result, enhanced
from bench.enhance.sweeps import SEARCHED, SLOTS
from bench.enhance.table import lines, summary

RESULTS = Path(__file__).parents[1] / "results" / "enhance.json"
SEEDS, TRIALS, NOISE_RUNS = 10, 24, 100
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def main() -> int:
    """0 when every claim holds. Written down is a whole run only."""
    options = _options()
    os.environ |= dict.fromkeys(THREADS, "1")
    began = time.monotonic()
    wanted = [(name, seed, True) for seed in range(options.seeds) for name in options.datasets]
    kinds = list(NOISE)
    wanted += [(kinds[seed % 2], seed, False) for seed in range(options.noise)]
    runs = _all(wanted, options.trials, options.processes)
    real = [run for run in runs if run["dataset"] in DATASETS]
    found = summary(real, [run for run in runs if run["dataset"] in NOISE])
    print(lines(found))
    how = {
        "datasets": options.datasets,
        "seeds": options.seeds,
        "trials": options.trials,
        "slots": SLOTS,
        "searched": SEARCHED,
        "optuna": version("optuna"),
        "fits": sum(run["fits"] for run in runs),
        "minutes": round((time.monotonic() - began) / 60, 1),
        "processes": options.processes,
    }
    options.output.write_text(_written({**how, **found}, real))
    return 0 if all(found["reached"].values()) else 1


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    known = ",".join(DATASETS)
    parser.add_argument("--datasets", type=_list, default=list(DATASETS), help=f"some of {known}")
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--trials", type=int, default=TRIALS, help="of each arm")
    parser.add_argument("--noise", type=int, default=NOISE_RUNS, help="runs on pure noise")
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    parser.add_argument("--output", type=Path, default=RESULTS)
    return parser.parse_args()


def _list(text: str) -> list[str]:
    return text.split(",")


def _all(wanted: Sequence[tuple[str, int, bool]], trials: int, processes: int) -> list[Result]:
    """In the order in which they are wanted."""
    spawned = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(
        processes, mp_context=spawned, initializer=logging.disable, initargs=(logging.INFO,)
    ) as pool:
        asked = [pool.submit(enhanced, name, seed, trials, peer) for name, seed, peer in wanted]
        done = []
        for place, one in enumerate(asked, 1):
            done.append(one.result())
            print(f"\r{place} of {len(asked)}", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    return done


def _written(found: dict[str, Any], runs: Sequence[Result]) -> str:
    """Each run in one line."""
    head = json.dumps(found, indent=1)[:-2]
    told = ",\n  ".join(json.dumps(_short(run)) for run in runs)
    return f'{head},\n "runs": [\n  {told}\n ]\n}}\n'


def _short(value: Any) -> Any:
    """Numbers to six digits; without what is said of them."""
    if isinstance(value, dict):
        return {name: _short(one) for name, one in value.items() if name != "reason"}
    return float(f"{value:.6g}") if isinstance(value, float) else value


if __name__ == "__main__":
    sys.exit(main())
