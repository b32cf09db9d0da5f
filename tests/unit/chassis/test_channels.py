"""Channels to several processes of a service."""

from __future__ import annotations

from concurrent import futures
from contextlib import ExitStack

import grpc
import pytest
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from services.chassis.channels import open_channel

SERVING, DRAINING = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING


class Named(health_pb2_grpc.HealthServicer):
    """Serves, and counts; what `Watch` says is the library's."""

    def __init__(self) -> None:
        self.calls, self.state = 0, health.HealthServicer()

    def Check(self, request: health_pb2.HealthCheckRequest, context: grpc.ServicerContext) -> object:
        self.calls += 1
        return health_pb2.HealthCheckResponse(status=SERVING)

    def Watch(self, request: health_pb2.HealthCheckRequest, context: grpc.ServicerContext) -> object:
        return self.state.Watch(request, context)


def test_calls_go_round_those_that_serve() -> None:
    with ExitStack() as ending:
        servicers, addresses = [Named(), Named()], []
        for servicer in servicers:
            server = grpc.server(futures.ThreadPoolExecutor(8))
            health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
            servicer.state.set("", SERVING)
            addresses.append(f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}")
            server.start()
            ending.callback(server.stop, None)
        channel = ending.enter_context(open_channel(",".join(addresses)))
        stub = health_pb2_grpc.HealthStub(channel)

        def ask() -> list[int]:
            before = [one.calls for one in servicers]
            stub.Check(health_pb2.HealthCheckRequest(), wait_for_ready=True, timeout=30)
            return [one.calls - start for one, start in zip(servicers, before, strict=True)]

        for other in ([1, 0], [0, 1]):
            while ask() != other:
                pass
        servicers[0].state.set("", DRAINING)
        while [ask() for _ in range(4)] != [[0, 1]] * 4:
            pass


def test_several_addresses_are_ips_of_one_version() -> None:
    for addresses in ("a:1,b:2", "127.0.0.1:1,[::1]:2"):
        with pytest.raises(ValueError, match=r"IP|address"):
            open_channel(addresses)
