"""Every RPC is explained, has a REST route that reaches it, and is called by an end-to-end test."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import yaml
from google.api import annotations_pb2, http_pb2
from google.protobuf import descriptor_pb2

from gateway.render import render
from gateway.settings import EdgeSettings
from protos.build import ROOT as PROTOS
from protos.build import descriptor_set
from services.chassis import scopes
from services.chassis.audit import subject
from services.training.rpc import call_limits

E2E = PROTOS.parent / "tests" / "e2e"
# WatchJob over HTTP is WatchJobEvents; chats over HTTP have the vendors' formats, in WireService.
GRPC_ONLY = {
    "mlapi.training.v1.JobService.WatchJob",
    *(f"mlapi.ai_gateway.v1.ChatService.{name}" for name in ("Chat", "StreamChat", "Embed")),
}
# The ledger has each of their calls.
RECORDED = {f"mlapi.ai_gateway.v1.{name}Service" for name in ("Chat", "Wire")}
# Takes as long as its file is large, though it answers once.
UNHURRIED = {"mlapi.training.v1.UploadService.CompleteUpload"}


@dataclass(frozen=True)
class Rpc:
    """One method of the protos."""

    service: str
    name: str
    comment: str
    routes: tuple[tuple[str, str], ...]  # HTTP verb, path
    streams: bool

    @property
    def full_name(self) -> str:
        """As gRPC writes it, with dots."""
        return f"{self.service}.{self.name}"


@cache
def described() -> descriptor_pb2.FileDescriptorSet:
    """The protos as they are now, with their comments."""
    with tempfile.TemporaryDirectory() as folder:
        destination = Path(folder) / "api.pb"
        descriptor_set(PROTOS, destination, [])
        return descriptor_pb2.FileDescriptorSet.FromString(destination.read_bytes())


@cache
def rpcs() -> list[Rpc]:
    return [
        rpc for file in described().file if file.package.startswith("mlapi.") for rpc in _rpcs_of_file(file)
    ]


def _rpcs_of_file(file: Any) -> Iterator[Rpc]:
    comments = {tuple(one.path): one.leading_comments for one in file.source_code_info.location}
    for service_number, service in enumerate(file.service):
        for number, method in enumerate(service.method):
            yield Rpc(
                service=f"{file.package}.{service.name}",
                name=method.name,
                comment=comments.get((6, service_number, 2, number), ""),
                routes=tuple(_routes(method.options.Extensions[annotations_pb2.http])),
                streams=method.client_streaming or method.server_streaming,
            )


def _routes(rule: http_pb2.HttpRule) -> Iterator[tuple[str, str]]:
    for one in (rule, *rule.additional_bindings):
        verb = one.WhichOneof("pattern")
        if verb:
            yield verb, getattr(one, verb)


@cache
def edge() -> dict[str, Any]:
    """Envoy's connection manager, as it is rendered."""
    config = yaml.safe_load(render(EdgeSettings.model_validate({})))
    listener = config["static_resources"]["listeners"][0]
    return dict(listener["filter_chains"][0]["filters"][0]["typed_config"])


def test_the_protos_are_read() -> None:
    names = {rpc.full_name for rpc in rpcs()}
    assert len(names) == len(rpcs()) > 20
    assert names >= GRPC_ONLY | {
        "mlapi.training.v1.JobService.CreateJob",
        "mlapi.health.v1.HealthService.GetHealth",
    }


@pytest.mark.parametrize("rpc", rpcs(), ids=lambda rpc: rpc.full_name)
def test_it_is_explained_in_prose(rpc: Rpc) -> None:
    assert rpc.comment.strip().endswith((".", ":")), rpc.comment
    assert len(rpc.comment.split()) > 3


@pytest.mark.parametrize("rpc", rpcs(), ids=lambda rpc: rpc.full_name)
def test_it_has_a_route_of_its_own(rpc: Rpc) -> None:
    assert bool(rpc.routes) != (rpc.full_name in GRPC_ONLY)
    others = {route for other in rpcs() if other is not rpc for route in other.routes}
    assert not others & set(rpc.routes)


def test_the_edge_transcodes_every_service_with_routes() -> None:
    transcoder = next(
        one["typed_config"] for one in edge()["http_filters"] if one["name"].endswith("grpc_json_transcoder")
    )
    assert sorted(transcoder["services"]) == sorted({rpc.service for rpc in rpcs() if rpc.routes})


@pytest.mark.parametrize("rpc", rpcs(), ids=lambda rpc: rpc.full_name)
def test_the_edge_sends_it_to_the_service_that_has_it(rpc: Rpc) -> None:
    owner = rpc.service.split(".")[1]
    native = _first_route(f"/{rpc.service}/{rpc.name}", grpc=True)
    assert native["cluster"] == owner
    for _, path in rpc.routes:
        route = _first_route(re.sub(r"\{\w+\}", "some-id", path), grpc=False)
        assert route["cluster"] == owner
        # A stream may take longer than any request; anything else has a timeout.
        assert (route["timeout"] == "0s") == (rpc.streams or rpc.full_name in UNHURRIED)


def _first_route(path: str, *, grpc: bool) -> dict[str, Any]:
    """Where Envoy sends `path`: the first route that fits."""
    for route in edge()["route_config"]["virtual_hosts"][0]["routes"]:
        match = route["match"]
        fits = (
            path.startswith(match["prefix"])
            if "prefix" in match
            else bool(re.fullmatch(match["safe_regex"]["regex"], path))
        )
        if fits and (grpc or "grpc" not in match):
            return dict(route["route"])
    raise AssertionError(f"no route for {path}")


@pytest.mark.parametrize("rpc", rpcs(), ids=lambda rpc: rpc.full_name)
def test_it_says_what_a_key_has_to_be_for(rpc: Rpc) -> None:
    assert (rpc.service in scopes.SCOPES) != (rpc.service in scopes.FREE)
    gets = any(verb == "get" for verb, _ in rpc.routes) or rpc.name.startswith(("Get", "List", "Watch"))
    if rpc.service.startswith("mlapi.training."):
        # To predict or compare is to use models, though it is a POST.
        reads = gets or rpc.name in {"Predict", "CompareModels"}
        wanted = scopes.Scope.TRAINING_READ if reads else scopes.Scope.TRAINING_WRITE
        assert scopes.wanted(f"/{rpc.service}/{rpc.name}") is wanted


def test_the_audit_log_knows_what_a_change_is_about() -> None:
    for file in described().file:
        if file.package.startswith("mlapi."):
            import_module(file.name.removesuffix(".proto").replace("/", ".") + "_pb2")
    methods = [f"/{rpc.service}/{rpc.name}" for rpc in rpcs() if rpc.service not in RECORDED]
    found = {method: subject.names(method) for method in methods if scopes.changes(method)}
    assert len(found) > 20
    # What the path names, or the id that the answer begins with.
    assert not [method for method, (bound, made) in found.items() if not bound and not made.endswith("_id")]


@pytest.mark.parametrize(
    "rpc", [rpc for rpc in rpcs() if rpc.service.startswith("mlapi.training.")], ids=lambda rpc: rpc.full_name
)
def test_it_is_limited_or_free(rpc: Rpc) -> None:
    limited = f"/{rpc.service}/{rpc.name}" in call_limits.LIMITED
    assert limited != rpc.name.startswith(call_limits.FREE)
    # Who is at a limit may still give back what he holds.
    assert not (limited and any(verb == "delete" for verb, _ in rpc.routes))


def test_no_limit_is_for_an_rpc_that_is_not_there() -> None:
    assert call_limits.LIMITED.keys() <= {f"/{rpc.service}/{rpc.name}" for rpc in rpcs()}


def test_no_scope_is_for_a_service_that_is_not_there() -> None:
    assert scopes.SCOPES.keys() <= {rpc.service for rpc in rpcs()}


@pytest.mark.parametrize("rpc", rpcs(), ids=lambda rpc: rpc.full_name)
def test_it_is_called_end_to_end(rpc: Rpc) -> None:
    text = "\n".join(path.read_text() for path in sorted(E2E.glob("*.py")))
    assert any(re.search(pattern, text) for pattern in _traces(rpc)), (
        f"no test in {E2E.name} calls {rpc.full_name}"
    )


def _traces(rpc: Rpc) -> Iterator[str]:
    """What a call looks like in a test: `stub.GetJob(`, `rest.get("/v1/jobs/x")`, `("GET", "/v1/jobs/x"`."""
    yield rf"\.{rpc.name}\("
    for verb, path in rpc.routes:
        shape = re.sub(r"\\\{\w+\\\}", r"[^/\\s]+?", re.escape(path)) + r"""["'?]"""
        yield rf"""(?i:\b{verb}\b)[("', f]*{shape}"""
        if sum(path in (other_path for _, other_path in other.routes) for other in rpcs()) == 1:
            yield rf"""["']{shape}"""
