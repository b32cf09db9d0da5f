"""One trace from the edge to the training worker, the logs that belong to it, and metrics by OTLP."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from gateway.stack import Stack
from tests.contract.waiting import until
from tests.e2e.journeys import flowers, train, upload
from tests.e2e.otlp_receiver import Receiver, Seen, receiving

TRACE, PARENT = "7d1f0a52c3b94e6f8a1b2c3d4e5f6071", "00f067aa0ba902b7"
ATTEMPT = "attempt"


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Stack, Receiver]]:
    """A stack in which a job was trained, and what it told the collector."""
    with receiving() as (receiver, endpoint):
        overrides = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint,
            "OTEL_BSP_SCHEDULE_DELAY": "100",
            "OTEL_BLRP_SCHEDULE_DELAY": "100",
            "OTEL_METRIC_EXPORT_INTERVAL": "200",
            "OTEL_RESOURCE_ATTRIBUTES": "deployment.environment.name=test",
        }
        headers = {"traceparent": f"00-{TRACE}-{PARENT}-01"}
        with (
            Stack(tmp_path_factory.mktemp("told"), overrides) as stack,
            httpx.Client(base_url=stack.url, timeout=60, headers=headers) as rest,
        ):
            upload(rest, "flowers", flowers())
            job = train(rest, dataset_id="flowers", target="kind", logistic={})
            assert job["state"] == "SUCCEEDED", job
            yield stack, receiver


def test_the_worker_is_in_the_trace_of_who_created_the_job(told: tuple[Stack, Receiver]) -> None:
    receiver = told[1]

    def whole(spans: list[Seen]) -> list[Seen]:
        """The attempt, what created its job, and the edge above it, once all are there."""
        by_id = {span.span_id: span for span in spans}
        above = [span for span in spans if span.name == ATTEMPT]
        while above and above[-1].parent_id in by_id:
            above.append(by_id[above[-1].parent_id])
        return above if above and above[-1].parent_id == PARENT else []

    found = receiver.wait(whole)
    assert [span.service for span in found] == ["worker", "training", "edge", "edge"]
    assert found[1].name == "/mlapi.training.v1.JobService/CreateJob"
    assert {span.trace_id for span in found} == {TRACE}
    assert found[0].attributes["mlapi.attempt"] == 1


def test_log_records_carry_the_trace(told: tuple[Stack, Receiver]) -> None:
    receiver = told[1]

    def create() -> bool:
        return any(
            one.service == "training"
            and one.trace_id == TRACE
            and one.attributes.get("method") == "/mlapi.training.v1.JobService/CreateJob"
            for one in receiver.logs
        )

    until(create)
    assert all(one.attributes["logger"] for one in receiver.logs)


def test_metrics_by_otlp_are_those_of_the_page(told: tuple[Stack, Receiver]) -> None:
    stack, receiver = told

    def page() -> dict[str, float]:
        text = httpx.get(f"http://127.0.0.1:{stack.metrics_port('training')}/metrics").text
        return {
            sample.name: sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
            if sample.name.startswith("ml_api_training_samples") or sample.labels == {"state": "succeeded"}
        }

    # What a job used is looked up after it has ended, by whoever started it.
    until(lambda: page()["ml_api_training_samples_total"] > 100, 60)
    samples = page()
    assert samples["ml_api_jobs"] == 1

    def sent(name: str, **labels: str) -> float:
        metric = receiver.metrics.get("training", {}).get(name)
        points = getattr(metric, str(metric.WhichOneof("data"))).data_points if metric else []
        wanted = [
            point.as_double
            for point in points
            if labels.items() <= {one.key: one.value.string_value for one in point.attributes}.items()
        ]
        return float(sum(wanted))

    until(lambda: sent("ml_api_jobs", state="succeeded") == 1, 60)
    until(lambda: sent("ml_api_training_samples_total") == samples["ml_api_training_samples_total"], 60)
    durations = receiver.metrics["training"]["ml_api_request_duration_seconds"].histogram.data_points
    for point in durations:
        assert sum(point.bucket_counts) == point.count > 0
        assert len(point.bucket_counts) == len(point.explicit_bounds) + 1
