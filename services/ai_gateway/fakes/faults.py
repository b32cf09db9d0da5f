"""What goes wrong, and for whom.

A fault is written NAME or NAME-NUMBER, in the user's message (`fault cut-3`), behind the model's name
(`gpt-x--429-2--drip-0.01`) or in a rule sent to `/_control/faults`. Several add up.

| name | what happens |
|---|---|
| `400` … `599` | this status in the vendor's words; the number is its `Retry-After`, 1 s for a bare 429 |
| `429date-2` | 429 whose `Retry-After` is a date, that many seconds from now |
| `hang` | no byte is ever sent |
| `reset` | connection reset before the first byte |
| `slow-0.5` | seconds before the first byte |
| `drip-0.02` | seconds between pieces; an answer in one body is as much later as its tokens take |
| `stall-3` | silence after that many pieces |
| `cut-3` | connection reset after that many pieces |
| `drop-3` | connection closed in good order there, the body unfinished |
| `close-3` | a body that ends well, without the rest of the stream |
| `garble-3` | a frame that is no JSON, after that many pieces, and the end |
| `error-3` | the vendor's error inside the stream after that many pieces; 0 is before any content |

An answer in one body is sent half by `stall`, `cut` and `drop`, `garble` and `close` spoil its JSON, and
`error` makes it an error with status 200.
"""

from __future__ import annotations

import random
import re
from dataclasses import dataclass, replace

import msgspec

_FAULT = re.compile(
    r"(429date|[45]\d\d|hang|slow|drip|reset|stall|cut|drop|close|garble|error)(?:-(\d+(?:\.\d+)?))?"
)
_IN_PROMPT = re.compile(r"\bfault (\S+)")
FOREVER = 1e6  # seconds


@dataclass(frozen=True, slots=True)
class Fault:
    """Everything that goes wrong with one call."""

    name: str = ""
    status: int = 0
    retry_after: float | None = None  # seconds
    as_date: bool = False
    delay: float = 0.0  # seconds before the first byte
    interval: float = 0.0  # seconds between pieces
    ending: str = ""  # reset, stall, cut, drop, close, garble or error
    after: int = 0  # pieces


NO_FAULT = Fault()


class Rule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A fault for all calls that match; an empty field matches any."""

    fault: str
    vendor: str = ""
    model: str = ""
    key: str = ""  # its last characters
    operation: str = ""  # chat, embed, models, count
    probability: float = 1.0
    count: int | None = None  # calls, then the rule is spent
    seed: int = 0


class _Armed:
    """A rule with what it has left."""

    def __init__(self, rule: Rule) -> None:
        self.rule = rule
        self.left = rule.count
        self._random = random.Random(rule.seed)

    def strikes(self, vendor: str, model: str, key: str, operation: str) -> bool:
        rule = self.rule
        wanted = ((rule.vendor, vendor), (rule.model, model), (rule.operation, operation))
        if self.left == 0 or any(want and want != have for want, have in wanted):
            return False
        if not key.endswith(rule.key) or self._random.random() >= rule.probability:
            return False
        if self.left is not None:
            self.left -= 1
        return True


class Faults:
    """The rules in force."""

    def __init__(self) -> None:
        self._armed: list[_Armed] = []

    def add(self, rule: Rule) -> None:
        """Raises ValueError for a fault that does not exist."""
        if with_fault(NO_FAULT, rule.fault) is None:
            raise ValueError(f"there is no fault {rule.fault!r}")
        self._armed.append(_Armed(rule))

    def clear(self) -> None:
        self._armed.clear()

    def choose(self, vendor: str, model: str, key: str, operation: str, prompt: str) -> Fault:
        """The sum of what rules, the model's name and the prompt ask for."""
        names = [a.rule.fault for a in self._armed if a.strikes(vendor, model, key, operation)]
        if "--" in model:
            names += model.split("--")[1:]
        if "fault " in prompt:
            names += _IN_PROMPT.findall(prompt)
        fault = NO_FAULT
        for name in names:
            fault = with_fault(fault, name) or fault
        return fault


def with_fault(fault: Fault, written: str) -> Fault | None:
    """The fault and one more; None if nothing is called so."""
    match = _FAULT.fullmatch(written)
    if not match:
        return None
    kind, number = match[1], float(match[2]) if match[2] else None
    fault = replace(fault, name=f"{fault.name} {written}".strip())
    if kind[0].isdigit():
        status, default = int(kind[:3]), 1.0 if kind.startswith("429") else None
        after = default if number is None else number
        return replace(fault, status=status, retry_after=after, as_date=kind.endswith("date"))
    if kind in ("hang", "slow"):
        return replace(fault, delay=FOREVER if kind == "hang" else number or 0.0)
    if kind == "drip":
        return replace(fault, interval=number or 0.0)
    return replace(fault, ending=kind, after=int(number or 0))
