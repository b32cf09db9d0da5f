"""HTTPS at the edge, and mutual TLS behind it: who is let in, and how certificates are replaced."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Event, Thread

import grpc
import httpx
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from mlapi.training.v1 import job_service_pb2, job_service_pb2_grpc
from mlapi_client import Client, Unavailable
from mlapi_client.transport import Retry

from gateway.dev_ca import SERVER_NAME, write
from gateway.stack import SERVICES, Stack
from tests.contract.waiting import until
from tests.e2e.journeys import flowers, train, upload


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with Stack(tmp_path_factory.mktemp("tls"), {"TLS": "1"}) as running:
        yield running


@pytest.fixture(scope="module")
def folder(stack: Stack) -> Path:
    """Where the certificates are."""
    file = stack.settings.tls_ca_file
    assert file
    return file.parent


def rest(stack: Stack, folder: Path) -> httpx.Client:
    trusting = ssl.create_default_context(cafile=folder / "ca.crt")
    return httpx.Client(base_url=stack.url, verify=trusting, timeout=30)


def shake_hands(stack: Stack, change: Callable[[ssl.SSLContext], object]) -> ssl.SSLSocket:
    """A connection to the edge with a context of one's own."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    change(context)
    plain = socket.create_connection(("127.0.0.1", stack.settings.port), timeout=10)
    return context.wrap_socket(plain, server_hostname="localhost")


def test_a_model_is_trained_over_https(stack: Stack, folder: Path) -> None:
    assert stack.url.startswith("https://")
    with rest(stack, folder) as client:
        assert client.get("/health").json()["status"] == "healthy"  # which asks the others over mutual TLS
        upload(client, "flowers", flowers())
        job = train(client, dataset_id="flowers", target="kind", logistic={})
        assert job["state"] == "SUCCEEDED"
        # The gateway asks the training service.
        assert client.post("/v1/ai/enhance/async", json={"job_id": job["job_id"]}).status_code == 200
    with pytest.raises(httpx.HTTPError), httpx.Client(base_url=f"http://{stack.address}") as plain:
        plain.get("/health")


def test_native_grpc_over_tls(stack: Stack, folder: Path) -> None:
    credentials = grpc.ssl_channel_credentials((folder / "ca.crt").read_bytes())
    with grpc.secure_channel(stack.address, credentials) as channel:
        stub = job_service_pb2_grpc.JobServiceStub(channel)
        assert stub.ListJobs(job_service_pb2.ListJobsRequest(), timeout=10) is not None
    with Client(stack.url, ca_file=str(folder / "ca.crt")) as client:
        assert client.health().status == "healthy"
    with Client(stack.url, retry=Retry(attempts=1)) as client, pytest.raises(Unavailable):
        client.health()  # our CA is not one that all know


def test_versions_and_ciphers(stack: Stack) -> None:
    with shake_hands(stack, lambda one: one.set_alpn_protocols(["h2", "http/1.1"])) as secure:
        assert (secure.version(), secure.selected_alpn_protocol()) == ("TLSv1.3", "h2")

    def only_1_2(context: ssl.SSLContext) -> None:
        context.maximum_version = ssl.TLSVersion.TLSv1_2

    with shake_hands(stack, only_1_2) as secure:
        cipher = secure.cipher()
        assert cipher
        assert cipher[0].startswith("ECDHE-ECDSA-")

    def weak(context: ssl.SSLContext) -> None:
        only_1_2(context)
        context.set_ciphers("ECDHE-ECDSA-AES128-SHA:@SECLEVEL=0")

    def old(context: ssl.SSLContext) -> None:
        context.set_ciphers("ALL:@SECLEVEL=0")
        with pytest.warns(DeprecationWarning, match="TLSv1_1"):
            context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1

    for refused in (weak, old):
        with pytest.raises((ssl.SSLError, ConnectionError)):
            shake_hands(stack, refused)


def test_services_are_closed_to_those_without_a_certificate(stack: Stack, folder: Path) -> None:
    authority = (folder / "ca.crt").read_bytes()
    ours = ((folder / "service.key").read_bytes(), (folder / "service.crt").read_bytes())
    named = [("grpc.ssl_target_name_override", SERVER_NAME)]
    for name in SERVICES:
        address = f"127.0.0.1:{stack.grpc_port(name)}"
        strangers = (
            grpc.insecure_channel(address),
            grpc.secure_channel(address, grpc.ssl_channel_credentials(authority), named),
        )
        for channel in strangers:
            with channel, pytest.raises(grpc.RpcError) as refused:
                _health(channel)
            assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
        with grpc.secure_channel(address, grpc.ssl_channel_credentials(authority, *ours), named) as channel:
            assert _health(channel) == health_pb2.HealthCheckResponse.SERVING


def _health(channel: grpc.Channel) -> int:
    stub = health_pb2_grpc.HealthStub(channel)
    return int(stub.Check(health_pb2.HealthCheckRequest(), timeout=10).status)


def test_certificates_are_replaced_without_a_failed_request(stack: Stack, folder: Path) -> None:
    """Whoever asks all the time, over connections old and new, does not notice."""
    ended, answers = Event(), list[httpx.Response]()

    def ask(path: str) -> None:
        unverified = ssl.create_default_context()
        unverified.check_hostname, unverified.verify_mode = False, ssl.CERT_NONE
        while not ended.is_set():
            with httpx.Client(base_url=stack.url, verify=unverified, timeout=30) as client:
                for _ in range(5):
                    answers.append(client.get(path))

    def presented() -> str:
        return ssl.get_server_certificate(("127.0.0.1", stack.settings.port))

    before = presented()
    threads = [Thread(target=ask, args=(path,)) for path in ("/v1/jobs", "/v1/ai/models")]
    for thread in threads:
        thread.start()
    write(folder)
    until(lambda: presented() != before, 20)
    enough = len(answers) + 50
    until(lambda: len(answers) > enough, 60)
    ended.set()
    for thread in threads:
        thread.join()
    assert {answer.status_code for answer in answers} == {200}
