"""What many runs say together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from services.training.compute.paired import paired_difference

# (candidate, baseline): the first is to be at least the second.
PAIRS = (("tpe", "optuna"), ("hybrid", "tpe"))
ROWS = ("validation", "test", "truth")
SURE = 0.025  # one-sided, for "worse"
BETTER_AT_LEAST, NOISE_AT_MOST = 0.95, 0.05
TIE = 1e-9
Run = Mapping[str, Any]


def summary(runs: Sequence[Run], noise: Sequence[Run]) -> dict[str, Any]:
    """The comparisons, the claims, and whether each is as it should be."""
    compared = {f"{one} over {other}": _compared(runs, one, other) for one, other in PAIRS}
    adopted, false = _claims(runs), _claims(noise)
    reached = {name: found["validation"]["p_worse"] >= SURE for name, found in compared.items()}
    reached["adopted are better"] = adopted["adopted"] > 0 and adopted["share"] >= BETTER_AT_LEAST
    reached["noise is not adopted"] = false["adopted"] <= NOISE_AT_MOST * len(noise)
    return {"compared": compared, "claims": adopted, "noise": false, "reached": reached}


def _compared(runs: Sequence[Run], one: str, other: str) -> dict[str, Any]:
    found: dict[str, Any] = {where: _difference(runs, one, other, where) for where in ROWS}
    for name in dict.fromkeys(run["dataset"] for run in runs):
        own = [run for run in runs if run["dataset"] == name]
        means = {where: _difference(own, one, other, where)["mean"] for where in ROWS}
        found.setdefault("datasets", {})[name] = means
    return found


def _difference(runs: Sequence[Run], one: str, other: str, where: str) -> dict[str, Any]:
    """By how much `one` is lower than `other`, in shares of what the input of that dataset has on average.

    A pair is a dataset and a seed. p_worse: one-sided, that of a mean this far below 0 by chance.
    """
    inputs: dict[str, list[float]] = {}
    for run in runs:
        inputs.setdefault(run["dataset"], []).append(run["arms"]["input"][where])
    scale = np.array([np.mean(inputs[run["dataset"]]) for run in runs])
    sides = [np.array([run["arms"][arm][where] for run in runs]) / scale for arm in (one, other)]
    found, gains = paired_difference(sides[0][None], sides[1][None]), sides[1] - sides[0]
    return {
        "mean": round(found.mean, 5),
        "low": round(found.low, 5),
        "high": round(found.high, 5),
        "p_worse": round(1 - found.p_value, 4),
        "wins": int((gains > TIE).sum()),
        "ties": int((np.abs(gains) <= TIE).sum()),
        "losses": int((gains < -TIE).sum()),
    }


def _claims(runs: Sequence[Run]) -> dict[str, Any]:
    """Of runs marked ADOPT, how many are better on rows that nobody saw, as means over the final's seeds."""
    adopted = [run["final"] for run in runs if run["recommendation"] == "adopt"]
    better = sum(one["truth_winner"] < one["truth_input"] for one in adopted)
    share = round(better / len(adopted), 4) if adopted else 0.0
    return {"runs": len(runs), "adopted": len(adopted), "better": better, "share": share}


def lines(found: Mapping[str, Any]) -> str:
    """A table for people."""
    told = [f"{'lower by, % of the input':28}{'rows':12}{'mean':>8}{'95 % interval':>20}{'w/t/l':>12}"]
    for name, parts in found["compared"].items():
        for where in ROWS:
            one = parts[where]
            interval = f"{100 * one['low']:.2f} to {100 * one['high']:.2f}"
            counts = f"{one['wins']}/{one['ties']}/{one['losses']}"
            told.append(f"{name:28}{where:12}{100 * one['mean']:8.2f}{interval:>20}{counts:>12}")
    claims, noise = found["claims"], found["noise"]
    told.append(f"ADOPT in {claims['adopted']} of {claims['runs']} runs; truly better in {claims['better']}")
    told.append(f"ADOPT on noise in {noise['adopted']} of {noise['runs']} runs")
    told += [f"{'yes' if reached else 'NO':4}{name}" for name, reached in found["reached"].items()]
    return "\n".join(told)
