"""`python -m services.ai_gateway.fakes --port 0`: the fake vendors until SIGTERM or SIGINT."""

from __future__ import annotations

import argparse
import asyncio
import gc
import signal
import sys
from collections.abc import Sequence

import uvloop

from services.ai_gateway.fakes.app import Fake
from services.ai_gateway.fakes.serving import serving
from services.ai_gateway.fakes.truth import KEPT


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m services.ai_gateway.fakes", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument(
        "--key",
        action="append",
        default=[],
        metavar="VENDOR=KEY",
        help="a key that the vendor takes, instead of sk-fake; may be given several times",
    )
    parser.add_argument("--kept", type=int, default=KEPT, help="calls that are listed")
    return parser


def keys(given: Sequence[str]) -> dict[str, set[str]]:
    """Vendor → its keys."""
    found: dict[str, set[str]] = {}
    for one in given:
        vendor, _, key = one.partition("=")
        found.setdefault(vendor, set()).add(key)
    return found


async def run(host: str, port: int, fake: Fake) -> None:
    """Serves until the process is told to end."""
    end = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, end.set)
    async with serving(fake, host, port) as address:
        sys.stdout.write(f"listening: {address}\n")
        sys.stdout.flush()
        # What is here stays: no collection need look at it. Full ones would be pauses in a benchmark.
        gc.freeze()
        gc.set_threshold(50_000, 20, 1_000)
        await end.wait()


def main() -> None:
    options = arguments().parse_args()
    uvloop.run(run(options.host, options.port, Fake(keys(options.key), options.kept)))


if __name__ == "__main__":
    main()
