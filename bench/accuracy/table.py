"""The contenders side by side: losses, ranks, and whether the bars of this benchmark are reached."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bench.accuracy.scores import not_below, ranks, score

# The product's own choice has to be as right as these, on this share of the datasets.
RIVALS = ("lightgbm", "histgradient", "forest")
SHARE = 0.8
LEADER = "realmlp"
CHOICE = "platform"
Found = Mapping[str, Mapping[str, Mapping[str, Any]]]


def compare(found: Found) -> dict[str, Any]:
    """What is published. `found`: dataset → contender → predictions, truth, seconds.

    Contenders that lack a dataset are not ranked, nor is the platform's choice, which is often `mlp` again.
    """
    rows = [_row(name, contenders) for name, contenders in found.items()]
    names = [name for name in rows[0]["scores"] if all(name in row["scores"] for row in rows)]
    names.remove(CHOICE)
    by_loss = [ranks({name: _loss(row["scores"][name]) for name in names}) for row in rows]
    by_log_loss = [
        ranks({name: row["scores"][name].get("log_loss", _loss(row["scores"][name])) for name in names})
        for row in rows
    ]
    for row, own in zip(rows, by_loss, strict=True):
        row["ranks"] = own
    means = _means(by_loss, names)
    kept_up = {rival: _mean([row["not_below"][rival] for row in rows]) for rival in rows[0]["not_below"]}
    return {
        "mean_rank": means,
        "mean_rank_by_log_loss": _means(by_log_loss, names),
        "platform_not_below": kept_up,
        "bars": {"mlp_rank_not_behind": LEADER, "platform_not_below": SHARE},
        "reached": means["mlp"] <= means.get(LEADER, 99) and all(kept >= SHARE for kept in kept_up.values()),
        "datasets": rows,
    }


def _row(name: str, contenders: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    truth = contenders[CHOICE]["truth"]
    ours = contenders[CHOICE]["predictions"]
    rivals = [rival for rival in RIVALS if rival in contenders]
    return {
        "dataset": name,
        "test_rows": len(truth),
        "classes": ours.shape[1] if ours.ndim == 2 else None,
        "scores": {
            one: {**score(own["predictions"], own["truth"]), "seconds": round(float(own["seconds"]), 1)}
            for one, own in contenders.items()
        },
        "not_below": {rival: not_below(ours, contenders[rival]["predictions"], truth) for rival in rivals},
    }


def _loss(scores: Mapping[str, float]) -> float:
    return scores["error"] if "error" in scores else scores["rmse"]


def _mean(values: list[Any]) -> float:
    return round(sum(values) / len(values), 3)


def _means(places: list[dict[str, float]], names: list[str]) -> dict[str, float]:
    means = {name: _mean([own[name] for own in places]) for name in names}
    return dict(sorted(means.items(), key=lambda pair: pair[1]))


def lines(result: Mapping[str, Any]) -> str:
    """The whole as plain text: error or RMSE, then log loss, then mean ranks."""
    ranked = result["mean_rank"]
    names = [*ranked, CHOICE]
    rows = result["datasets"]
    head = f"{'':14}{'rows':>7}" + "".join(f"{name:>13}" for name in names)
    text = ["error, or RMSE of a regression", head]
    text += [_line(row, [_loss(row["scores"][name]) for name in names]) for row in rows]
    text += ["log loss", head]
    told = [row for row in rows if row["classes"]]
    text += [_line(row, [row["scores"][name]["log_loss"] for name in names]) for row in told]
    text += ["seconds of training", head]
    text += [_line(row, [row["scores"][name]["seconds"] for name in names]) for row in rows]
    for title in ("mean_rank", "mean_rank_by_log_loss"):
        text.append(f"{title:21}" + "".join(f"{result[title][name]:>13.2f}" for name in ranked))
    text.append(f"platform not below, share of the datasets: {result['platform_not_below']}")
    return "\n".join(text)


def _line(row: Mapping[str, Any], numbers: list[float]) -> str:
    return f"{row['dataset']:14}{row['test_rows']:>7}" + "".join(f"{number:>13.5g}" for number in numbers)
