"""References to secret managers, by the clouds' own SDKs against stand-ins for their services.

The SDKs are extras that nothing else needs: `pip install -e '.[aws,azure,gcp]' moto` brings them. What needs
none of them is tested without.
"""

from __future__ import annotations

import asyncio
import copy
import json
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import grpc
import pytest

from services.ai_gateway.adapters import stored_keys
from services.ai_gateway.adapters.key_ring import KeyRing
from services.ai_gateway.adapters.secret_stores import references
from services.ai_gateway.adapters.secret_stores.references import Reference, SecretUnavailable, parse
from services.ai_gateway.adapters.stored_keys import StoredKeys

SECRET = "sk-stored-0123456789"
ARN = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:team/openai-AbCdEf"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("aws-sm://team/openai", Reference("aws-sm", "team/openai")),
        (f"aws-sm://{ARN}#key", Reference("aws-sm", ARN, "key")),
        ("azure-kv://vault/openai", Reference("azure-kv", "vault/openai")),
        ("gcp-sm://project/openai#a", Reference("gcp-sm", "project/openai", "a")),
    ],
)
def test_references(text: str, found: Reference) -> None:
    assert references.is_reference(text)
    assert parse(text) == found
    assert str(found) == text


@pytest.mark.parametrize("text", ["aws-sm://", "azure-kv://vault", "gcp-sm:///name", "gcp-sm://a/b/c"])
def test_wrong_references(text: str) -> None:
    with pytest.raises(ValueError, match="has to be"):
        parse(text)


def test_aws(monkeypatch: pytest.MonkeyPatch) -> None:
    boto3, moto = pytest.importorskip("boto3"), pytest.importorskip("moto")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    with moto.mock_aws():
        here = boto3.client("secretsmanager")
        here.create_secret(Name="team/openai", SecretString=f"{SECRET}\n")
        here.create_secret(Name="team/all", SecretString=json.dumps({"xai": SECRET + "x", "n": 1}))
        there = boto3.client("secretsmanager", region_name="eu-central-1")
        arn = there.create_secret(Name="far", SecretString=SECRET + "far")["ARN"]
        assert references.read(parse("aws-sm://team/openai")) == SECRET
        assert references.read(parse("aws-sm://team/all#xai")) == SECRET + "x"
        assert references.read(parse(f"aws-sm://{arn}")) == SECRET + "far"
        here.put_secret_value(SecretId="team/openai", SecretString=SECRET + "2")
        assert references.read(parse("aws-sm://team/openai")) == SECRET + "2"
        for wrong in ("aws-sm://nobody", "aws-sm://team/openai#field", "aws-sm://team/all#none"):
            with pytest.raises(SecretUnavailable) as refused:
                references.read(parse(wrong))
            assert wrong in str(refused.value)
            assert SECRET not in str(refused.value)


class Vault(BaseHTTPRequestHandler):
    """Azure Key Vault's wire: a challenge first, then the secret for a bearer token."""

    def do_GET(self) -> None:
        allowed = self.headers.get("authorization") == "Bearer token-of-a-workload"
        there = self.path.startswith("/secrets/openai/?api-version=")
        status = 401 if not allowed else 200 if there else 404
        body = json.dumps({"value": SECRET, "id": "https://vault.vault.azure.net/secrets/openai/1"}).encode()
        self.send_response(status)
        if not allowed:
            challenge = 'Bearer authorization="https://login.microsoftonline.com/t", resource="https://vault.azure.net"'
            self.send_header("www-authenticate", challenge)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body) if status == 200 else 0))
        self.end_headers()
        if status == 200:
            self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def vault() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Vault)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_azure(vault: str) -> None:
    pytest.importorskip("azure.keyvault.secrets")
    from azure.core.credentials import AccessToken  # noqa: PLC0415
    from azure.core.pipeline.transport import RequestsTransport  # noqa: PLC0415

    from services.ai_gateway.adapters.secret_stores import azure  # noqa: PLC0415

    class Workload:
        def get_token(self, *scopes: str, **_: Any) -> AccessToken:
            assert scopes == ("https://vault.azure.net/.default",)
            return AccessToken("token-of-a-workload", 2**40)

    class ToLoopback(RequestsTransport):
        def send(self, request: Any, **options: Any) -> Any:
            sent = copy.copy(request)  # the SDK sends its own again, and only by HTTPS
            sent.url = request.url.replace("https://vault.vault.azure.net", vault)
            return super().send(sent, **options)

    def ask(reference: Reference) -> str:
        return azure.read(reference, Workload(), transport=ToLoopback())

    assert references.fetched(parse("azure-kv://vault/openai"), ask) == SECRET
    with pytest.raises(SecretUnavailable, match="azure-kv://vault/nobody cannot be read"):
        references.fetched(parse("azure-kv://vault/nobody"), ask)


def test_gcp() -> None:
    secretmanager = pytest.importorskip("google.cloud.secretmanager")
    from google.cloud.secretmanager_v1.services.secret_manager_service import transports  # noqa: PLC0415

    from services.ai_gateway.adapters.secret_stores import gcp  # noqa: PLC0415

    asked = secretmanager.AccessSecretVersionRequest
    answer = secretmanager.AccessSecretVersionResponse

    def access(request: Any, context: grpc.ServicerContext) -> Any:
        if request.name != "projects/p/secrets/openai/versions/latest":
            context.abort(grpc.StatusCode.NOT_FOUND, f"no {SECRET}")
        return answer(payload={"data": SECRET.encode()})

    method = grpc.unary_unary_rpc_method_handler(access, asked.deserialize, answer.serialize)
    name = "google.cloud.secretmanager.v1.SecretManagerService"
    server = grpc.server(ThreadPoolExecutor(1))
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler(name, {"AccessSecretVersion": method}),)
    )
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()

    def ask(reference: Reference) -> str:
        channel = grpc.insecure_channel(f"127.0.0.1:{port}")
        return gcp.read(reference, transport=transports.SecretManagerServiceGrpcTransport(channel=channel))

    try:
        assert references.fetched(parse("gcp-sm://p/openai"), ask) == SECRET
        with pytest.raises(SecretUnavailable) as refused:
            references.fetched(parse("gcp-sm://p/nobody"), ask)
        assert SECRET not in str(refused.value)
    finally:
        server.stop(0)


@pytest.mark.parametrize(("scheme", "extra"), list(references.SCHEMES.items()))
def test_without_its_sdk_a_reference_says_what_to_install(
    scheme: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("boto3", "azure.identity", "google.cloud.secretmanager", "google.cloud"):
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.delitem(sys.modules, f"services.ai_gateway.adapters.secret_stores.{extra}", raising=False)
    with pytest.raises(SecretUnavailable, match=rf"ml-training-api\[{extra}\]"):
        references.read(Reference(scheme, "a/b"))


def test_stored_keys_are_read_again_and_stay_when_they_cannot_be(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    held: list[str | None] = [SECRET, f"{SECRET}2,{SECRET}3", None, "sk-has a-space", f"{SECRET}4"]
    ring, done = KeyRing({"openai": ["sk-own"]}, {}), asyncio.Event()
    found: list[list[str]] = []

    def read(reference: Reference) -> str:
        found.append([key.secret for key in ring.of("openai")])
        if not held:
            loop.call_soon_threadsafe(done.set)
            return f"{SECRET}4"
        secret = held.pop(0)
        if secret is None:
            raise SecretUnavailable(f"{reference} cannot be read (TimeoutError)")
        return secret

    async def scenario() -> None:
        nonlocal loop
        loop = asyncio.get_running_loop()
        stored.load()
        task = asyncio.create_task(stored.keep_fresh())
        await done.wait()
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task

    loop: Any = None
    stored = StoredKeys(ring, {"openai": [Reference("aws-sm", "team/openai")]}, read)
    monkeypatch.setattr(stored_keys, "REFRESH_SECONDS", 0.0)
    asyncio.run(scenario())
    second = ["sk-own", f"{SECRET}2", f"{SECRET}3"]
    wanted = [["sk-own"], ["sk-own", SECRET], second, second, second, ["sk-own", f"{SECRET}4"]]
    assert found == wanted
    said = str([record.__dict__ for record in caplog.records])
    assert "aws-sm://team/openai" in said
    assert "a-space" not in said
