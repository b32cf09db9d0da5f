"""`Limiter` in Redis: one script looks at all of a call's rates and takes from all, or from none.

The library `limits` is atomic for one limit at a time, and keeps an entry for every token.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from redis.asyncio import BlockingConnectionPool, Redis
from redis.exceptions import RedisError

from services.chassis.errors import Unavailable
from services.chassis.rates.limits import RateLimited
from services.chassis.rates.names import named
from services.chassis.rates.rate import Kind, Rate, RateBook

# What `rates.Counter` does, on the server. Counters are hashes of slots. Arguments: now, or empty for the
# server's own clock; when tokens were taken; what to do; and amount, window, width and cost of each rate.
_SCRIPT = """
local clock = redis.call('TIME')
local now = tonumber(ARGV[1]) or clock[1] * 1000 + math.floor(clock[2] / 1000)
local taken, back = tonumber(ARGV[2]), ARGV[3] == 'give back'
local kept, longest, which = {}, 0, 0
for i, key in ipairs(KEYS) do
  local at = i * 4
  local amount, window = tonumber(ARGV[at]), tonumber(ARGV[at + 1])
  local width, cost = tonumber(ARGV[at + 2]), tonumber(ARGV[at + 3])
  local flat, used, slots, newest = redis.call('HGETALL', key), {}, {}, 0
  for j = 1, #flat, 2 do newest = math.max(newest, tonumber(flat[j])) end
  local mine = math.max(now, newest * width)
  local first, sum = math.floor((mine - window) / width), 0
  for j = 1, #flat, 2 do
    local slot = tonumber(flat[j])
    if slot < first then redis.call('HDEL', key, flat[j]) else
      used[slot] = tonumber(flat[j + 1])
      sum = sum + used[slot]
      slots[#slots + 1] = slot
    end
  end
  local over, wait = sum + cost - amount, 0
  if over > 0 and not back then
    wait = window
    table.sort(slots)
    for _, slot in ipairs(slots) do
      over = over - used[slot]
      if over <= 0 then wait = (slot + 1) * width + window - mine; break end
    end
  end
  if wait > longest then longest, which = wait, i end
  kept[i] = {math.floor(mine / width), cost, window, used, math.floor(taken / width)}
end
if longest > 0 then return {which, longest} end
for i, key in ipairs(KEYS) do
  local slot, cost, window, used, old = unpack(kept[i])
  if cost > 0 then
    redis.call('HINCRBY', key, slot, cost)
    redis.call('PEXPIRE', key, window * 2)
  elseif back and used[old] then
    redis.call('HSET', key, old, math.max(used[old] + cost, 0))
  end
end
return {0, now}
"""


# Seconds that Redis has for an answer, and for a free connection.
PATIENCE = 2.0
CONNECTIONS = 32


def connected(url: str) -> Redis:
    """A client. Who finds no free connection waits for one, rather than being refused at once."""
    pool = BlockingConnectionPool.from_url(
        url,
        max_connections=CONNECTIONS,
        timeout=PATIENCE,
        socket_timeout=PATIENCE,
        socket_connect_timeout=PATIENCE,
    )
    return Redis.from_pool(pool)


class RedisLimiter:
    """Limits callers, exactly for all who share the server. One event loop.

    clock: seconds since 1970; the server's own unless given.
    """

    def __init__(self, client: Redis, book: RateBook, clock: Callable[[], float] | None = None) -> None:
        self._script = client.register_script(_SCRIPT)
        self._book = book
        self._clock = clock

    async def acquire(self, tenant: str, key: str, endpoint: str, tokens: int) -> float:
        """See `Limiter`."""
        rates = named(self._book.of(key, endpoint), tenant, key)
        if not rates:
            return 0.0
        costs = [tokens if rate.kind is Kind.TOKENS else 1 for _, rate in rates]
        which, moment = await self._run(rates, costs, "take", 0)
        if which:
            rate = rates[which - 1][1]
            raise RateLimited(str(rate), rate.amount, moment / 1000)
        return moment / 1000

    async def give_back(self, tenant: str, key: str, endpoint: str, tokens: int, taken: float = 0.0) -> None:
        """See `Limiter`."""
        found = named(self._book.of(key, endpoint), tenant, key)
        rates = [pair for pair in found if pair[1].kind is Kind.TOKENS]
        if rates and tokens:
            await self._run(rates, [-tokens] * len(rates), "give back", round(taken * 1000))

    async def _run(
        self, rates: Sequence[tuple[str, Rate]], costs: Sequence[int], what: str, taken: int
    ) -> tuple[int, int]:
        """What the script answers: which rate refuses and for how many milliseconds, or 0 and when it was."""
        arguments: list[Any] = [round(self._clock() * 1000) if self._clock else "", taken, what]
        for (_, rate), cost in zip(rates, costs, strict=True):
            arguments += [rate.amount, rate.window, rate.width, cost]
        try:
            which, moment = await self._script([f"rate:{name}" for name, _ in rates], arguments)
        except (RedisError, OSError, TimeoutError) as error:
            raise Unavailable("SERVICE_UNAVAILABLE", "Redis does not answer.", 1.0) from error
        return int(which), int(moment)
