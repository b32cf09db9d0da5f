"""One runner on one case, on one core, in turns: `python -m bench.compute.worker RUNNER CASE CPU SECONDS`.

A line on standard input asks for a turn, a line of JSON answers it; the end of the input ends the process.
"""

from __future__ import annotations

import os
import sys
from importlib import import_module

from bench.compute.cases import CASES, made_up
from bench.compute.turns import Enough, Turns

# Whose module is imported here, in the interpreter that has its library.
RUNNERS = {
    "ours": ("ours", "train"),
    "torch": ("torch_peers", "eager"),
    "compile": ("torch_peers", "compiled"),
    "jax": ("jax_peer", "train"),
    "sklearn": ("sklearn_peer", "train"),
    "RealMLP": ("pytabkit_peers", "real_mlp"),
    "TabM": ("pytabkit_peers", "tabm"),
}


def main(runner: str, name: str, cpu: str, seconds: str) -> None:
    os.sched_setaffinity(0, {int(cpu)})
    told = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print is no answer
    case, (module, function) = CASES[name], RUNNERS[runner]
    train = getattr(import_module(f"bench.compute.{module}"), function)
    try:
        train(case, *made_up(case), Turns(case.rows, float(seconds), sys.stdin, told))
    except Enough:
        return


if __name__ == "__main__":
    main(*sys.argv[1:])
