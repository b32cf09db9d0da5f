"""What a call used, and what that costs: whole tokens, and whole nano-dollars (1e-9 USD)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields

# Rates are nano-dollars for so many tokens, which makes every published price a whole number.
PER_TOKENS = 1_000_000
NANO_USD = 1_000_000_000
# Names of models whose price is remembered.
MOST_FOUND = 4096


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one call. No token is in two of the first five numbers.

    input: read at the full price. cache_read: from the vendor's cache. cache_write, cache_write_1h: put
    there, for five minutes or an hour. output: written, reasoning included.
    reasoning: how many of `output` the caller does not see. searches: made by the vendor for this call.
    estimated: the vendor did not say, so these are guesses that err upwards.
    """

    input: int = 0
    cache_read: int = 0
    cache_write: int = 0
    cache_write_1h: int = 0
    output: int = 0
    reasoning: int = 0
    searches: int = 0
    estimated: bool = False

    @property
    def input_total(self) -> int:
        """All that was read."""
        return self.input + self.cache_read + self.cache_write + self.cache_write_1h

    @property
    def total(self) -> int:
        """All tokens."""
        return self.input_total + self.output

    def plus(self, other: Usage) -> Usage:
        """Of two calls together."""
        numbers = {
            item.name: getattr(self, item.name) + getattr(other, item.name)
            for item in fields(self)
            if item.name != "estimated"
        }
        return Usage(**numbers, estimated=self.estimated or other.estimated)


@dataclass(frozen=True, slots=True)
class Rates:
    """Nano-dollars for a million tokens of a kind; `request` for each call, `search` for each search.

    A kind without a price of its own (-1) costs what `input` does, and `reasoning` what `output` does.
    """

    input: int
    output: int
    cache_read: int = -1
    cache_write: int = -1
    cache_write_1h: int = -1
    reasoning: int = -1
    request: int = 0
    search: int = 0

    def cost(self, usage: Usage) -> int:
        """Nano-dollars, rounded half up once, for the whole."""
        tokens = (
            usage.input * self.input
            + usage.cache_read * _or(self.cache_read, self.input)
            + usage.cache_write * _or(self.cache_write, self.input)
            + usage.cache_write_1h * _or(self.cache_write_1h, self.input)
            + usage.output * self.output
            + usage.reasoning * (_or(self.reasoning, self.output) - self.output)
        )
        return (tokens + PER_TOKENS // 2) // PER_TOKENS + self.request + usage.searches * self.search

    @property
    def dearest_output(self) -> int:
        """The most that a token written can cost, for a million of them."""
        return max(self.output, self.reasoning)

    @property
    def dearest_input(self) -> int:
        """The most that a token read can cost, for a million of them."""
        return max(self.input, self.cache_read, self.cache_write, self.cache_write_1h)


def _or(rate: int, other: int) -> int:
    return other if rate < 0 else rate


@dataclass(frozen=True, slots=True)
class Price:
    """What a model costs. steps: input tokens from which other rates hold for the whole call → those rates,
    rising; the first is from 0. batch: for calls that can wait; None where the vendor has no such price.
    """

    steps: tuple[tuple[int, Rates], ...]
    batch: tuple[tuple[int, Rates], ...] = ()

    def cost(self, usage: Usage, *, batch: bool = False) -> int:
        """Nano-dollars."""
        return self.rates(usage.input_total, batch=batch).cost(usage)

    def rates(self, input_tokens: int, *, batch: bool = False) -> Rates:
        """Those that hold for a call that reads so many."""
        steps = (self.batch if batch else self.steps) or self.steps
        return next(rates for start, rates in reversed(steps) if input_tokens >= start)

    def most(self, input_tokens: int, output_tokens: int, searches: int = 0, *, batch: bool = False) -> int:
        """The most that a call can cost which reads and writes at most so much: nano-dollars, rounded up."""
        steps = (self.batch if batch else self.steps) or self.steps
        within = [rates for start, rates in steps if start <= input_tokens] or [steps[0][1]]
        return max(
            -(-(input_tokens * rates.dearest_input + output_tokens * rates.dearest_output) // PER_TOKENS)
            + rates.request
            + searches * rates.search
            for rates in within
        )


FREE = Price(((0, Rates(0, 0)),))


@dataclass(frozen=True)
class PriceList:
    """What models cost. version: where the prices are from, for the ledger.

    prices: of single models, by vendor and model. rules: of a vendor's other models, from their names.
    listed: the models that can be told by name, (vendor, model).
    """

    version: str
    prices: Mapping[tuple[str, str], Price]
    rules: Mapping[str, Callable[[str], Price | None]] = field(default_factory=dict)
    listed: Sequence[tuple[str, str]] = ()
    _found: dict[tuple[str, str], Price | None] = field(default_factory=dict, repr=False, compare=False)

    def find(self, vendor: str, model: str) -> Price | None:
        """None when nobody knows what it costs."""
        name = (vendor, model)
        if name in self.prices:
            return self.prices[name]
        if name not in self._found:
            # Callers choose the names, so there may be any number of them.
            if len(self._found) >= MOST_FOUND:
                self._found.clear()
            rule = self.rules.get(vendor)
            self._found[name] = rule(model) if rule else None
        return self._found[name]
