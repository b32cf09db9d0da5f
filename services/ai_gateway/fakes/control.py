"""`/_control/…`: rules for faults, scripts, keys, and the truth, over HTTP."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import msgspec
from aiohttp import web

from services.ai_gateway.fakes.faults import Faults, Rule
from services.ai_gateway.fakes.scripts import Script, Scripts
from services.ai_gateway.fakes.truth import Truth
from services.ai_gateway.fakes.wire import encode

_rule = msgspec.json.Decoder(Rule)
_script = msgspec.json.Decoder(Script)
_keys = msgspec.json.Decoder(dict[str, list[str]])


class Control:
    """What tests of other processes reach by HTTP, and those of this one by attribute."""

    def __init__(self, keys: dict[str, set[str]], faults: Faults, scripts: Scripts, truth: Truth) -> None:
        self._keys = keys
        self._faults, self._scripts = faults, scripts
        self._truth = truth

    def add_to(self, app: web.Application) -> None:
        app.router.add_routes(
            [
                web.post("/_control/faults", self.add_rule),
                web.delete("/_control/faults", self.clear_rules),
                web.post("/_control/scripts", self.add_script),
                web.post("/_control/keys", self.set_keys),
                web.get("/_control/served", self.served),
                web.get("/_control/totals", self.totals),
                web.post("/_control/reset", self.reset),
            ]
        )

    async def add_rule(self, request: web.Request) -> web.Response:
        """A `Rule`; 400 if there is no such field or fault."""
        try:
            self._faults.add(_rule.decode(await request.read()))
        except (msgspec.DecodeError, ValueError) as problem:
            return _json({"error": str(problem)}, 400)
        return _json({})

    async def clear_rules(self, request: web.Request) -> web.Response:
        self._faults.clear()
        return _json({})

    async def add_script(self, request: web.Request) -> web.Response:
        """A `Script`; 400 if there is no such field."""
        try:
            self._scripts.add(_script.decode(await request.read()))
        except msgspec.DecodeError as problem:
            return _json({"error": str(problem)}, 400)
        return _json({})

    async def set_keys(self, request: web.Request) -> web.Response:
        """`{"openai": ["key", …]}`: from now on that vendor takes these and no others."""
        for vendor, keys in _keys.decode(await request.read()).items():
            self._keys[vendor] = set(keys)
        return _json({})

    async def served(self, request: web.Request) -> web.Response:
        """Calls, oldest first; `?after=NUMBER` only later ones, `?bodies=1` with what reached the vendor."""
        after, bodies = int(request.query.get("after", 0)), "bodies" in request.query
        return _json({"served": list(self._truth.listed(after, bodies))})

    async def totals(self, request: web.Request) -> web.Response:
        """Sums by vendor and model of calls that ended, and the number of those that did not."""
        rows = [
            {"vendor": vendor, "model": model, **asdict(total)}
            for (vendor, model), total in sorted(self._truth.totals.items())
        ]
        return _json({"totals": rows, "in_flight": self._truth.in_flight})

    async def reset(self, request: web.Request) -> web.Response:
        """Forgets rules, scripts, calls and totals."""
        self._faults.clear()
        self._scripts.clear()
        self._truth.reset()
        return _json({})


def _json(value: Any, status: int = 200) -> web.Response:
    return web.Response(status=status, body=encode(value), content_type="application/json")
