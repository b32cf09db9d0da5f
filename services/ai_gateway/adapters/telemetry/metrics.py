"""Metrics of calls to the vendors.

The tenant is no label. Callers name tenants freely, and so every series would come once for each of them;
`GET /v1/ai/usage` answers by tenant, exactly, and spans have it. Models are named by callers too, within what
has a price: beyond MOST_MODELS they are counted together as `other`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from services.ai_gateway.adapters.telemetry import names
from services.ai_gateway.adapters.telemetry.server_address import ServerAddress
from services.ai_gateway.application.ports import Entry
from services.ai_gateway.application.router import Lane
from services.ai_gateway.domain.budget import Period, Spent
from services.ai_gateway.domain.usage import NANO_USD, Usage

MOST_MODELS = 500
OTHER = "other"
_LABELS = (
    "gen_ai_operation_name",
    "gen_ai_provider_name",
    "gen_ai_request_model",
    "server_address",
    "server_port",
)
_STATES = {"closed": 0, "half_open": 1, "open": 2}


class AiMetrics:
    """All of them, in one registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        own = ["provider", "model"]

        def counter(name: str, about: str, labels: Sequence[str]) -> Counter:
            return Counter(name.removesuffix("_total"), about, labels, registry=registry)

        about = "Tokens, as in the ledger; kinds are disjoint, output is without reasoning"
        self.tokens = counter(names.TOKENS, about, [*own, "kind"])
        self.cost = counter(names.COST_USD, "What calls cost, as in the ledger", own)
        self.savings = counter(names.SAVED_USD, "What dearer choices would have cost more", own)
        self.calls = counter(names.CALLS, "Entries of the ledger by outcome", [*own, "outcome"])
        self.attempts = counter(names.ATTEMPTS_MADE, "Calls to vendors by how they ended", [*own, "outcome"])
        self.thresholds = counter(names.THRESHOLDS, "Thresholds of budgets that were passed", ["period"])
        for period in Period:  # from 0: an increase is only seen where there was something before
            self.thresholds.labels(period)
        self.conventional = Conventional(registry)
        self._models: set[tuple[str, str]] = set()
        self._series = cache(self._of_model)
        self._ledgers = cache(self._of_ledger)

    def series(self, operation: str, vendor: str, model: str, server: ServerAddress) -> Series:
        """Where calls of that kind to that model are counted."""
        return self._series(operation, vendor, self._bounded(vendor, model), server)

    def entered(self, entry: Entry) -> None:
        """Counts what came into the ledger."""
        self._ledgers(entry.vendor, self._bounded(entry.vendor, entry.model)).add(entry)

    def passed(self, limits: Sequence[Spent]) -> None:
        """Counts thresholds of budgets that were passed."""
        for spent in limits:
            self.thresholds.labels(spent.limit.period).inc()

    def _bounded(self, vendor: str, model: str) -> str:
        name = (vendor, model)
        if name in self._models:
            return model
        if len(self._models) >= MOST_MODELS:
            return OTHER
        self._models.add(name)
        return model

    def _of_model(self, operation: str, vendor: str, model: str, server: ServerAddress) -> Series:
        return Series(self, operation, vendor, model, server)

    def _of_ledger(self, vendor: str, model: str) -> _Ledger:
        return _Ledger(self, vendor, model)


class Conventional:
    """Those that OpenTelemetry's conventions name, new and old."""

    def __init__(self, registry: CollectorRegistry) -> None:
        def seconds(name: str, about: str, *more: str) -> Histogram:
            labels = [*_LABELS, *more]
            return Histogram(name, about, labels, buckets=names.SECONDS_BUCKETS, registry=registry)

        def tokens(name: str, about: str, *more: str) -> Histogram:
            labels = [*_LABELS, *more]
            return Histogram(name, about, labels, buckets=names.TOKENS_BUCKETS, registry=registry)

        def used(name: str, about: str) -> Counter:
            labels = [*_LABELS, "gen_ai_token_modality"]
            return Counter(name.removesuffix("_total"), about, labels, registry=registry)

        self.duration = seconds(names.DURATION, "Time of an attempt", "error_type")
        self.first_chunk = seconds(names.FIRST_CHUNK, "Time to the first chunk of a stream")
        self.output_chunk = seconds(names.OUTPUT_CHUNK, "Time between chunks of a stream")
        self.usage = {
            "input": used(names.USAGE_INPUT, "Tokens read, cached ones included"),
            "output": used(names.USAGE_OUTPUT, "Tokens written, reasoning included"),
            "cache_read": used(names.USAGE_CACHE_READ, "Tokens read from the vendor's cache"),
            "cache_write": used(names.USAGE_CACHE_WRITE, "Tokens written to the vendor's cache"),
            "reasoning": used(names.USAGE_REASONING, "Tokens of reasoning"),
        }
        self.operation_input = tokens(names.OPERATION_INPUT, "Tokens read by an attempt")
        self.operation_output = tokens(names.OPERATION_OUTPUT, "Tokens written by an attempt")
        self.embeddings_duration = seconds(names.EMBEDDINGS_DURATION, "Time of an attempt", "error_type")
        self.embeddings_input = tokens(names.EMBEDDINGS_INPUT, "Tokens read by an attempt")
        self.old_duration = seconds(names.OLD_DURATION, "Time of an attempt (old name)", "error_type")
        self.old_first_chunk = seconds(names.OLD_FIRST_CHUNK, "Time to the first chunk (old name)")
        self.old_output_chunk = seconds(names.OLD_OUTPUT_CHUNK, "Time between chunks (old name)")
        self.old_tokens = tokens(names.OLD_TOKENS, "Tokens of an attempt (old name)", "gen_ai_token_type")


class Series:
    """Of one operation of one model; its labels are looked up once, for they take a lock and build tuples."""

    def __init__(
        self, metrics: AiMetrics, operation: str, vendor: str, model: str, server: ServerAddress
    ) -> None:
        all_of = metrics.conventional
        labels = (operation, names.PROVIDERS.get(vendor, vendor), model, server.address, str(server.port))
        self.embeds = operation == names.EMBEDDINGS
        duration = all_of.embeddings_duration if self.embeds else all_of.duration
        self._outcomes = cache(lambda outcome: metrics.attempts.labels(vendor, model, outcome).inc)
        self._durations = cache(
            lambda error: (
                duration.labels(*labels, error).observe,
                all_of.old_duration.labels(*labels, error).observe,
            )
        )
        old_tokens = all_of.old_tokens
        self._read = (old_tokens.labels(*labels, "input").observe, *self._new_input(all_of, labels))
        self._written: tuple[Callable[[float], None], ...] = ()
        if not self.embeds:
            self._written = (
                old_tokens.labels(*labels, "output").observe,
                all_of.operation_output.labels(*labels).observe,
            )
            self._usage = {kind: one.labels(*labels, "unknown").inc for kind, one in all_of.usage.items()}
            self._first = (
                all_of.first_chunk.labels(*labels).observe,
                all_of.old_first_chunk.labels(*labels).observe,
            )
            self._between = (
                all_of.output_chunk.labels(*labels).observe,
                all_of.old_output_chunk.labels(*labels).observe,
            )

    def ended(self, outcome: str, error: str, seconds: float) -> None:
        """An attempt. error: its `error.type`, empty without one."""
        self._outcomes(outcome)()
        for observe in self._durations(error):
            observe(seconds)

    def first_chunk(self, seconds: float) -> None:
        """Of a stream, after so long."""
        for observe in self._first:
            observe(seconds)

    def next_chunk(self, seconds: float) -> None:
        """Of a stream, so long after the one before."""
        for observe in self._between:
            observe(seconds)

    def used(self, usage: Usage) -> None:
        """What the vendor said of an attempt."""
        read = usage.input_total
        for observe in self._read:
            observe(read)
        for observe in self._written:
            observe(usage.output)
        if self.embeds:
            return
        counts = self._usage
        counts["input"](read)
        counts["output"](usage.output)
        if usage.cache_read:
            counts["cache_read"](usage.cache_read)
        if written := usage.cache_write + usage.cache_write_1h:
            counts["cache_write"](written)
        if usage.reasoning:
            counts["reasoning"](usage.reasoning)

    def _new_input(
        self, all_of: Conventional, labels: tuple[str, ...]
    ) -> tuple[Callable[[float], None], ...]:
        found = all_of.embeddings_input if self.embeds else all_of.operation_input
        return (found.labels(*labels).observe,)


class _Ledger:
    """Of one model: tokens by kind, and money."""

    def __init__(self, metrics: AiMetrics, vendor: str, model: str) -> None:
        kinds = ("input", "cache_read", "cache_write", "output", "reasoning")
        self._tokens = {kind: metrics.tokens.labels(vendor, model, kind).inc for kind in kinds}
        self._cost = metrics.cost.labels(vendor, model).inc
        self._saved = metrics.savings.labels(vendor, model).inc
        self._outcomes = cache(lambda outcome: metrics.calls.labels(vendor, model, outcome).inc)

    def add(self, entry: Entry) -> None:
        usage = entry.usage
        counts = (
            ("input", usage.input),
            ("cache_read", usage.cache_read),
            ("cache_write", usage.cache_write + usage.cache_write_1h),
            ("output", max(usage.output - usage.reasoning, 0)),
            ("reasoning", usage.reasoning),
        )
        for kind, tokens in counts:
            if tokens:
                self._tokens[kind](tokens)
        self._outcomes(entry.outcome)()
        if entry.nano_usd:
            self._cost(entry.nano_usd / NANO_USD)
        if entry.savings_nano_usd:
            self._saved(entry.savings_nano_usd / NANO_USD)


class Circuits(Collector):
    """The state of every circuit, looked up when somebody asks: 0 closed, 1 half open, 2 open."""

    def __init__(self, states: Callable[[], Mapping[Lane, str]], registry: CollectorRegistry) -> None:
        self._states = states
        registry.register(self)

    def collect(self) -> Iterable[Metric]:
        """One sample for each target and key."""
        gauge = GaugeMetricFamily(
            names.CIRCUIT, "0 closed, 1 half open, 2 open", labels=["provider", "model", "key"]
        )
        # Whoever names many models sees only those that are of use: broken ones come first.
        states = sorted(self._states().items(), key=lambda item: -_STATES[item[1]])
        for lane, state in states[:MOST_MODELS]:
            labels = [lane.target.vendor, lane.target.model, lane.key.name]
            gauge.add_metric(labels, _STATES[state])
        return [gauge]
