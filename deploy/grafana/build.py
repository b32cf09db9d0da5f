"""Writes the Grafana dashboards beside it: `python deploy/grafana/build.py`. A test compares them.

A dashboard is a list of panels here; everything else of its JSON is the same for all.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
SOURCE = {"type": "prometheus", "uid": "${datasource}"}
WIDTH, HEIGHT = 8, 8
# Every replica of training says the same number of jobs.
JOBS = "max by (state) (ml_api_jobs)"
OUR_ERRORS = 'code=~"UNKNOWN|DEADLINE_EXCEEDED|INTERNAL|UNAVAILABLE|DATA_LOSS"'


@dataclass(frozen=True)
class Panel:
    """queries: legend → PromQL. unit: of Grafana."""

    title: str
    queries: dict[str, str]
    unit: str = "short"
    about: str = ""
    kind: str = "timeseries"


@dataclass(frozen=True)
class Dashboard:
    """uid: names it in links; it never changes."""

    uid: str
    title: str
    panels: list[Panel] = field(default_factory=list)


def _rate(metric: str, by: str, more: str = "") -> str:
    return f"sum by ({by}) (rate({metric}{more}[$__rate_interval]))"


def _quantile(share: float, metric: str, by: str) -> str:
    return f"histogram_quantile({share}, {_rate(f'{metric}_bucket', f'{by}, le')})"


HEALTH = Dashboard(
    "mlapi-services",
    "ML Training API / services",
    [
        Panel("Services that answer", {"{{service}}": 'up{job="ml-training-api"}'}, kind="stat"),
        Panel("Calls", {"{{endpoint}}": _rate("ml_api_requests_total", "endpoint")}, "reqps"),
        Panel(
            "Failed by our fault",
            {"all": f"sum(rate(ml_api_requests_total{{{OUR_ERRORS}}}[$__rate_interval])) or vector(0)"},
            "reqps",
            "Errors of callers, such as INVALID_ARGUMENT, are not among them.",
        ),
        Panel("Answers by code", {"{{code}}": _rate("ml_api_requests_total", "code")}, "reqps"),
        Panel(
            "Time to answer, 99 of 100",
            {"{{endpoint}}": _quantile(0.99, "ml_api_request_duration_seconds", "endpoint")},
            "s",
        ),
        Panel(
            "Time to answer, half",
            {"{{endpoint}}": _quantile(0.5, "ml_api_request_duration_seconds", "endpoint")},
            "s",
        ),
        Panel("Processor", {"{{service}}": _rate("process_cpu_seconds_total", "service")}, "short"),
        Panel("Memory", {"{{service}}": "process_resident_memory_bytes"}, "bytes"),
        Panel(
            "Memory taken",
            {"{{service}}": "ml_api_memory_used_bytes / ml_api_memory_limit_bytes"},
            "percentunit",
            "Of the control group or the machine, without caches of files; see MEMORY_HIGH_PERCENT.",
        ),
        Panel("Disk left", {"{{service}}": "ml_api_disk_free_bytes / ml_api_disk_bytes"}, "percentunit"),
    ],
)
TRAINING = Dashboard(
    "mlapi-training",
    "ML Training API / training",
    [
        Panel("Jobs by state", {"{{state}}": JOBS}),
        Panel("Waiting", {"queued": 'max(ml_api_jobs{state="queued"})'}, kind="stat"),
        Panel(
            "Attempts started", {"started": "sum(rate(ml_api_job_attempts_total[$__rate_interval]))"}, "ops"
        ),
        Panel(
            "Attempts that vanished",
            {"all": "sum(increase(ml_api_job_attempts_lost_total[$__range])) or vector(0)"},
            about="By reason in ml_api_job_attempts_lost_total; see the alert AttemptsLost.",
            kind="stat",
        ),
        Panel(
            "Attempts that made room",
            {"all": "sum(increase(ml_api_job_attempts_evicted_total[$__range])) or vector(0)"},
            about="Ended because memory was short, to go on later.",
            kind="stat",
        ),
        Panel(
            "Rows trained on",
            {"rows": "sum(rate(ml_api_training_samples_total[$__rate_interval]))"},
            "rowsps",
        ),
        Panel("GPUs at work", {"gpus": "sum(rate(ml_api_gpu_seconds_total[$__rate_interval]))"}),
        Panel("Processors at work", {"cores": "sum(rate(ml_api_cpu_seconds_total[$__rate_interval]))"}),
    ],
)
COST = Dashboard(
    "mlapi-ai-cost",
    "ML Training API / AI cost",
    [
        Panel(
            "Spent in this range",
            {"USD": "sum(increase(ml_api_ai_cost_usd_total[$__range]))"},
            "currencyUSD",
            kind="stat",
        ),
        Panel(
            "Spent in an hour, by model",
            {"{{provider}}/{{model}}": f"{_rate('ml_api_ai_cost_usd_total', 'provider, model')} * 3600"},
            "currencyUSD",
        ),
        Panel(
            "Saved in this range",
            {"USD": "sum(increase(ml_api_ai_savings_usd_total[$__range])) or vector(0)"},
            "currencyUSD",
            "What dearer choices would have cost more: answers from the cache, cheaper routes.",
            kind="stat",
        ),
        Panel("Tokens, by kind", {"{{kind}}": _rate("ml_api_ai_tokens_total", "kind")}),
        Panel("Calls, by outcome", {"{{outcome}}": _rate("ml_api_ai_calls_total", "outcome")}, "reqps"),
        Panel(
            "Attempts at vendors, by outcome",
            {"{{provider}} {{outcome}}": _rate("ml_api_ai_attempts_total", "provider, outcome")},
            "reqps",
        ),
        Panel(
            "Time of an attempt, 95 of 100",
            {
                "{{gen_ai_request_model}}": _quantile(
                    0.95, "gen_ai_client_inference_duration_seconds", "gen_ai_request_model"
                )
            },
            "s",
        ),
        Panel(
            "Circuits: 0 closed, 1 half open, 2 open",
            {"{{provider}}/{{model}}": "max by (provider, model) (ml_api_ai_circuit_state)"},
        ),
        Panel(
            "Budget thresholds passed",
            {"{{period}}": "sum by (period) (increase(ml_api_ai_budget_thresholds_total[$__range]))"},
            kind="stat",
        ),
    ],
)
ALL = {"services": HEALTH, "training": TRAINING, "ai-cost": COST}


def document(dashboard: Dashboard) -> dict[str, Any]:
    """As Grafana imports it."""
    chosen = {"name": "datasource", "type": "datasource", "query": "prometheus", "label": "Prometheus"}
    return {
        "uid": dashboard.uid,
        "title": dashboard.title,
        "tags": ["ml-training-api"],
        "schemaVersion": 39,
        "editable": True,
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "templating": {"list": [chosen]},
        "panels": [_panel(number, panel) for number, panel in enumerate(dashboard.panels)],
    }


def _panel(number: int, panel: Panel) -> dict[str, Any]:
    row, column = divmod(number, 24 // WIDTH)
    targets = [
        {"refId": chr(ord("A") + place), "expr": query, "legendFormat": legend, "datasource": SOURCE}
        for place, (legend, query) in enumerate(panel.queries.items())
    ]
    return {
        "id": number + 1,
        "type": panel.kind,
        "title": panel.title,
        "description": panel.about,
        "datasource": SOURCE,
        "gridPos": {"x": column * WIDTH, "y": row * HEIGHT, "w": WIDTH, "h": HEIGHT},
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0}, "overrides": []},
        "options": {},
        "targets": targets,
    }


def main() -> None:
    """Writes all of them."""
    for name, dashboard in ALL.items():
        text = json.dumps(document(dashboard), indent=2) + "\n"
        (HERE / f"{name}.json").write_text(text)


if __name__ == "__main__":
    main()
