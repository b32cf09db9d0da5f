"""With AUTH_MODE=keys: who calls without a key, or with one for something else, gets nowhere; by REST, gRPC
and the vendors' SDKs."""

from __future__ import annotations

import time
from threading import Event, Thread
from typing import Any

import anthropic
import grpc
import httpx
import openai
import pytest
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_status import rpc_status
from mlapi.training.v1 import job_service_pb2, job_service_pb2_grpc
from mlapi_client import Client, PermissionDenied, Unauthenticated, key_file

from gateway.stack import SERVICES, Stack
from tests.contract.waiting import until
from tests.e2e.journeys import flowers, only_error, upload
from tests.e2e.keyed import EVERYTHING, Keyed

CHEAP, HAIKU = "openai/gpt-5-mini", "anthropic/claude-haiku-4-5"
UNKNOWN = "mlk_abcdefghijkl_" + "x" * 32


def reason(status: int, answer: httpx.Response) -> str:
    assert answer.status_code == status, answer.text
    return str(only_error(answer)["reason"])


@pytest.mark.parametrize("shown", ["", UNKNOWN])
def test_a_stranger_gets_nowhere_but_to_health(keyed: Keyed, shown: str) -> None:
    with keyed.rest(shown) as rest:
        for path in ("/v1/jobs", "/v1/datasets", "/v1/uploads", "/v1/ai/status", "/v1/ai/usage"):
            assert reason(401, rest.get(path)) == "UNAUTHENTICATED"
        assert reason(401, rest.get("/v1/jobs/x:watch")) == "UNAUTHENTICATED"
        assert reason(401, rest.post("/v1/datasets/x:upload", content=b"a\n1\n")) == "UNAUTHENTICATED"
        assert reason(401, rest.post("/v1/jobs", content=b"not even JSON")) == "UNAUTHENTICATED"
        for path in ("/health", "/livez", "/readyz"):
            assert rest.get(path).status_code == 200
        assert rest.get("/health").json()["ai_services"]["openai"]["status"] == "healthy"


def test_no_service_is_open_behind_the_edge(keyed: Keyed, key: str) -> None:
    at = dict(zip(SERVICES, ports(keyed.stack), strict=True))
    for port in at.values():
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            health = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest())
            assert health.status == health_pb2.HealthCheckResponse.SERVING
    with grpc.insecure_channel(f"127.0.0.1:{at['training']}") as channel:
        jobs = job_service_pb2_grpc.JobServiceStub(channel)
        with pytest.raises(grpc.RpcError) as refused:
            jobs.ListJobs(job_service_pb2.ListJobsRequest())
        status: Any = rpc_status.from_call(refused.value)
        info = error_details_pb2.ErrorInfo.FromString(status.details[0].value)
        assert (status.code, info.reason, info.domain) == (16, "UNAUTHENTICATED", "mlapi")
        assert jobs.ListJobs(job_service_pb2.ListJobsRequest(), metadata=(("x-api-key", key),)) is not None


def ports(stack: Stack) -> list[str]:
    settings = stack.settings
    addresses = (settings.training_address, settings.ai_gateway_address, settings.health_address)
    return [address.rpartition(":")[2] for address in addresses]


def test_a_key_is_for_its_scopes(keyed: Keyed) -> None:
    reader, caller = keyed.key("training:read"), keyed.key("ai:call")
    with keyed.rest(reader) as rest:
        assert rest.get("/v1/jobs").status_code == 200
        assert reason(403, rest.post("/v1/jobs", json={})) == "PERMISSION_DENIED"
        assert reason(403, rest.get("/v1/ai/status")) == "PERMISSION_DENIED"
    with keyed.rest(caller) as rest:
        assert rest.get("/v1/ai/status").status_code == 200
        assert reason(403, rest.get("/v1/jobs")) == "PERMISSION_DENIED"
        assert reason(403, rest.put("/v1/ai/budgets/team-a", json={})) == "PERMISSION_DENIED"


def test_the_python_client(keyed: Keyed, key: str, job: str) -> None:
    with Client(keyed.stack.address, api_key=key) as client:
        assert client.jobs.wait(job).tenant == "team-a"
    with Client(keyed.stack.address) as client, pytest.raises(Unauthenticated):
        client.jobs.get(job)
    reader = keyed.key("ai:call")
    with Client(keyed.stack.address, api_key=reader) as client, pytest.raises(PermissionDenied):
        client.ai.enhance_async(job_id=job)


def test_a_caller_at_his_limit_waits_while_others_go_on(keyed: Keyed, key: str, job: str) -> None:
    tight = keyed.key(*EVERYTHING, requests="3/hour")
    spec = {"dataset_id": "flowers", "target": "kind", "logistic": {}}
    rows = {"rows": [{"length": 0.5, "width": 0.5, "color": "red"}]}
    with keyed.rest(tight) as rest, keyed.rest(key) as others:
        model = until(lambda: others.get(f"/v1/jobs/{job}").json().get("model_id"), 60)
        upload(rest, "more", flowers())
        part = rest.post("/v1/uploads", json={"dataset_id": "more"}).json()["upload_id"]
        assert rest.post("/v1/jobs", json={**spec, "epohcs": 1}).status_code == 400
        made = rest.post("/v1/jobs", json=spec).json()["job_id"]
        for path in (f"/v1/models/{model}:explain", f"/v1/models/{model}:export?format=ONNX"):
            at_the_limit(rest.get(path))
        at_the_limit(rest.post("/v1/jobs", json=spec))
        at_the_limit(rest.post("/v1/datasets/more:upload", content=flowers()))
        assert others.post("/v1/datasets", json={}).status_code == 200
        # What was begun goes on, a model is there to be asked, and what is held can be given back.
        assert rest.post(f"/v1/uploads/{part}:write?offset=0", content=flowers()).status_code == 200
        assert rest.post(f"/v1/uploads/{part}:complete", json={}).status_code == 200
        assert rest.post("/v1/jobs", json={**spec, "validate_only": True}).status_code == 200
        assert rest.post(f"/v1/models/{model}:predict", json=rows).status_code == 200
        assert rest.get("/v1/jobs").status_code == 200
        assert rest.post(f"/v1/jobs/{made}:cancel").status_code in {200, 400}  # it may have ended
        until(lambda: rest.delete(f"/v1/jobs/{made}").status_code == 200)
    enhances_all_the_same(keyed, tight, job)


def at_the_limit(answer: httpx.Response) -> None:
    assert reason(429, answer) == "RATE_LIMITED"
    assert 3540 <= int(answer.headers["retry-after"]) <= 3660


def enhances_all_the_same(keyed: Keyed, key: str, job: str) -> None:
    """What is read is asked for with the caller's key; training goes on with the gateway's."""
    with Client(keyed.stack.address, api_key=key) as client:
        task = client.ai.enhance_async(job_id=job, max_trials=1, arms=["random"])
        until(lambda: client.ai.task(task.task_id).result.arms[0].sweep_ids, 60)
        [sweep] = client.ai.task(task.task_id).result.arms[0].sweep_ids
        assert client.sweeps.get(sweep).tenant == "team-a"
        client.ai.cancel(task.task_id)
        until(lambda: client.ai.task(task.task_id).status == "cancelled", 60)
    # The gateway counts by itself: enhancing was the first of three.
    client = openai_sdk(keyed, key)
    for _ in range(2):
        client.chat.completions.create(model=CHEAP, messages=SAID)
    with pytest.raises(openai.RateLimitError):
        client.chat.completions.create(model=CHEAP, messages=SAID)


def test_usage_and_budgets_are_the_keys_tenants(keyed: Keyed) -> None:
    lab, rival = keyed.key("ai:call", "ai:budgets", tenant="lab"), keyed.key("ai:call", tenant="rival")
    admin = keyed.key("admin", tenant="ops")
    for shown in (lab, rival):
        openai_sdk(keyed, shown).chat.completions.create(model=CHEAP, messages=SAID)
    with keyed.rest(lab) as rest:
        rows = rest.get("/v1/ai/usage").json()["rows"]
        assert {(row["tenant"], row["key"]) for row in rows} == {("lab", lab[4:16])}
        assert rest.get("/v1/ai/usage?tenant=lab").json()["rows"] == rows
        for path in ("/v1/ai/usage?tenant=rival", "/v1/ai/usage:export?tenant=none", "/v1/ai/budgets/rival"):
            assert reason(403, rest.get(path)) == "PERMISSION_DENIED"
        limits = {"limits": [{"period": "DAY", "usd": 1, "key": lab[4:16]}]}
        assert reason(403, rest.put("/v1/ai/budgets/rival", json=limits)) == "PERMISSION_DENIED"
        assert rest.put("/v1/ai/budgets/lab", json=limits).status_code == 200
    openai_sdk(keyed, lab).chat.completions.create(model=CHEAP, messages=SAID)
    with keyed.rest(admin) as rest:
        spent = rest.get("/v1/ai/budgets/lab").json()["limits"][0]["spent_nano_usd"]
        assert int(spent) > 0  # the key that was shown is the key that is charged
        assert {"lab", "rival"} <= {row["tenant"] for row in rest.get("/v1/ai/usage").json()["rows"]}


SAID: Any = [{"role": "user", "content": "say 2"}]


def openai_sdk(keyed: Keyed, key: str) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{keyed.stack.url}/v1/ai", api_key=key, max_retries=0)


def claude(keyed: Keyed, **key: Any) -> anthropic.Anthropic:
    return anthropic.Anthropic(base_url=f"{keyed.stack.url}/anthropic", max_retries=0, **key)


def test_openais_sdk_raises_its_own_errors(keyed: Keyed, key: str) -> None:
    client = openai_sdk(keyed, key)
    assert (
        client.chat.completions.create(model=CHEAP, messages=SAID).choices[0].message.content == "word0 word1"
    )
    assert list(client.models.list())
    wrong = openai_sdk(keyed, UNKNOWN)
    calls = [
        lambda sdk: sdk.chat.completions.create(model=CHEAP, messages=SAID),
        lambda sdk: list(sdk.chat.completions.create(model=CHEAP, messages=SAID, stream=True)),
        lambda sdk: sdk.embeddings.create(model="openai/text-embedding-3-small", input="a"),
        lambda sdk: sdk.models.list(),
    ]
    for call in calls:
        with pytest.raises(openai.AuthenticationError) as refused:
            call(wrong)
        assert (refused.value.status_code, refused.value.code) == (401, "invalid_api_key")
    reader = openai_sdk(keyed, keyed.key("training:read"))
    for call in calls:
        with pytest.raises(openai.PermissionDeniedError, match="has not the scope ai:call"):
            call(reader)


def test_anthropics_sdk_raises_its_own_errors(keyed: Keyed, key: str) -> None:
    def ask(client: anthropic.Anthropic) -> Any:
        return client.messages.create(model=HAIKU, max_tokens=9, messages=SAID)

    assert ask(claude(keyed, api_key=key)).content[0].text == "word0 word1"
    assert ask(claude(keyed, auth_token=key)).content[0].text == "word0 word1"
    with pytest.raises(anthropic.AuthenticationError) as refused:
        ask(claude(keyed, api_key=UNKNOWN))
    assert refused.value.body["error"]["type"] == "authentication_error"  # type: ignore[index,call-overload]
    reader = claude(keyed, api_key=keyed.key("training:read"))
    with pytest.raises(anthropic.PermissionDeniedError, match="has not the scope"):
        ask(reader)
    with (
        pytest.raises(anthropic.AuthenticationError),
        claude(keyed, api_key=UNKNOWN).messages.stream(model=HAIKU, max_tokens=9, messages=SAID),
    ):
        pass


def test_keys_are_rotated_without_a_failed_request(keyed: Keyed) -> None:
    shown = [keyed.key("training:read")]
    ended, answers = Event(), list[int]()

    def call() -> None:
        with httpx.Client(base_url=keyed.stack.url) as rest:
            while not ended.is_set():
                headers = {"authorization": f"Bearer {shown[0]}"}
                answers.append(rest.get("/v1/jobs", headers=headers).status_code)

    caller = Thread(target=call)
    caller.start()
    try:
        old = shown[0]
        shown[0] = keyed.key("training:read")
        served = len(answers)
        while len(answers) < served + 3:  # with the new one
            time.sleep(0.01)
        key_file.revoke(keyed.file, old[4:16])
        keyed.wait(old, 401)
    finally:
        ended.set()
        caller.join()
    assert set(answers) == {200}
    assert len(answers) > 10


def test_no_key_is_in_any_log(keyed: Keyed, key: str) -> None:
    """Runs last: all that was shown above is looked for."""
    logs = {path.name: path.read_text(errors="replace") for path in keyed.stack.logs.iterdir()}
    assert {"training.log", "ai_gateway.log", "health.log", "access.log"} <= logs.keys()
    assert f'"key": "{key[4:16]}"' in logs["ai_gateway.log"]  # its public id may be
    secrets = [one[17:] for one in (*keyed.shown, UNKNOWN)]
    assert len(secrets) > 8
    for name, text in logs.items():
        assert not [secret for secret in secrets if secret in text], name
    for name in SERVICES:
        metrics = httpx.get(f"http://127.0.0.1:{keyed.stack.metrics_port(name)}/metrics").text
        assert not [secret for secret in secrets if secret in metrics]
