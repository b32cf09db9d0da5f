"""The figures side by side, and whether the bars of this benchmark are reached."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

OURS = "ours, gRPC"
Found = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Bar:
    """What we mean to reach. figure: from the figures of all contenders; None where a peer is missing."""

    name: str
    limit: float
    figure: Callable[[Found], float | None]
    at_least: bool = False


def _own(*path: str) -> Callable[[Found], float | None]:
    def figure(found: Found) -> float | None:
        value: Any = found[OURS]
        for name in path:
            value = value.get(name) if value else None
        return None if value is None else float(value)

    return figure


def _times(peer: str) -> Callable[[Found], float | None]:
    return lambda found: found.get(peer, {}).get("ours_times_its_rps_at_16")


BARS = (
    Bar("requests/s at 16 callers, times Portkey's", 1.0, _times("Portkey"), at_least=True),
    Bar("requests/s at 16 callers, times LiteLLM's", 4.0, _times("LiteLLM"), at_least=True),
    Bar("processor ms a request at 16 callers", 1.0, _own("whole", "16", "cpu_ms")),
    Bar("added p50 ms at 1 caller", 1.5, _own("whole", "1", "added_p50_ms")),
    Bar("added p99 ms at 1 caller", 4.0, _own("whole", "1", "added_p99_ms")),
    Bar("added p50 ms to the first token", 3.0, _own("first_token", "added_p50_ms")),
    Bar("clean streams of 128", 128, _own("streams", "128", "clean"), at_least=True),
    Bar("clean streams of 512 (the stretch)", 512, _own("streams", "512", "clean"), at_least=True),
    Bar("MB at rest", 150, _own("memory", "rest_mb")),
    Bar("KB for 1,000 more requests", 100, _own("memory", "growth_kb")),
    Bar("seconds from start to the first answer", 2.0, _own("start_seconds")),
)


def verdicts(found: Found) -> list[dict[str, Any]]:
    """Each bar with what was found; `reached` is None where nothing was."""
    rows = []
    for bar in BARS:
        figure = bar.figure(found)
        reached = None if figure is None else figure >= bar.limit if bar.at_least else figure <= bar.limit
        side = "at least" if bar.at_least else "at most"
        rows.append({"bar": bar.name, side: bar.limit, "found": figure, "reached": reached})
    return rows


def lines(found: Found) -> str:
    """One row for each contender: first all loads, then all else."""
    text = [f"{'whole answers':14}{'callers':>8}{'req/s':>9}{'p50 ms':>9}{'p99 ms':>9}{'+p50':>8}{'+p99':>8}"]
    text[0] += f"{'cpu ms':>8}"
    for name, figures in found.items():
        text += [_load(name, callers, one) for callers, one in figures["whole"].items()]
    text.append(
        f"\n{'':14}{'+first p50':>11}{'+p99':>8}{'clean streams':>22}{'MB rest':>9}{'after':>7}{'start s':>9}"
    )
    text += [_rest(name, figures) for name, figures in found.items()]
    return "\n".join(text)


def _load(name: str, callers: str, one: Mapping[str, Any]) -> str:
    figures = f"{one['rps']:>9,}{one['p50_ms']:>9.2f}{one['p99_ms']:>9.2f}"
    added = f"{_number(one.get('added_p50_ms'), 8)}{_number(one.get('added_p99_ms'), 8)}"
    return f"{name:14}{callers:>8}{figures}{added}{one['cpu_ms']:>8.3f}"


def _rest(name: str, figures: Mapping[str, Any]) -> str:
    first, memory = figures["first_token"], figures.get("memory", {})
    clean = ", ".join(f"{one['clean']} of {count}" for count, one in figures["streams"].items())
    added = f"{_number(first.get('added_p50_ms'), 11)}{_number(first.get('added_p99_ms'), 8)}"
    sizes = f"{_number(memory.get('rest_mb'), 9, 0)}{_number(memory.get('after_mb'), 7, 0)}"
    return f"{name:14}{added}{clean:>22}{sizes}{_number(figures.get('start_seconds'), 9, 2)}"


def _number(value: float | None, width: int, digits: int = 2) -> str:
    return f"{'':>{width}}" if value is None else f"{value:>{width}.{digits}f}"


def said(rows: list[dict[str, Any]]) -> str:
    """The bars as plain text."""
    words = {True: "reached", False: "MISSED", None: "not measured"}
    text = []
    for row in rows:
        side, limit = next((side, row[side]) for side in ("at least", "at most") if side in row)
        figure = "" if row["found"] is None else f"{row['found']:g}"
        text.append(f"{row['bar']:48}{figure:>9}  {side} {limit:<6g}{words[row['reached']]}")
    return "\n".join(text)
