"""Who calls, and how, from a call's metadata."""

from __future__ import annotations

from typing import Any

from services.ai_gateway.application.accounts import Account
from services.ai_gateway.application.chats import Call
from services.chassis import callers, clock, traced
from services.chassis.errors import invalid_fields

CACHE = "x-mlapi-cache"
_CACHES = {"": None, "on": True, "off": False}
LONGEST_KEY = 255
# A call with another's id would be taken for it, and charged to nobody.
CALL_SYMBOLS = 20


def call(context: Any) -> Call:
    """Of a gRPC call, and of a REST call that Envoy made one; raises InvalidArgument."""
    metadata = dict(context.invocation_metadata() or ())
    cache, key = metadata.get(CACHE, ""), metadata.get("idempotency-key", "")
    if cache not in _CACHES:
        raise invalid_fields({CACHE: "has to be on or off"})
    if len(key) > LONGEST_KEY:
        raise invalid_fields({"idempotency-key": f"has to be at most {LONGEST_KEY} characters"})
    account = Account(callers.tenant(), callers.key())
    traced.tell("mlapi.tenant", account.tenant)
    call_id = clock.new_id("call", CALL_SYMBOLS)
    return Call(call_id, account, context.time_remaining(), _CACHES[cache], key)
