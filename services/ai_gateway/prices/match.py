"""Which model a name means, as genai-prices decides it: names have aliases, dates and suffixes.

A clause is a text of which the first character says what the rest is to a name: `=` all of it, `^` its
beginning, `$` its end, `*` a part of it, `~` a regular expression that is found in it. A list of clauses
holds when one of them does, {"all": [...]} when each of them does. All but regular expressions are in lower
case.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import date
from typing import TypeAlias

Clause: TypeAlias = "str | list[Clause] | dict[str, list[Clause]]"

_COMPACT_DATE = re.compile(r"-(20\d{2})(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])(?=-|:|$)")
_TESTS: Mapping[str, Callable[[str, str], bool]] = {
    "=": lambda name, text: name == text,
    "^": lambda name, text: name.startswith(text),
    "$": lambda name, text: name.endswith(text),
    "*": lambda name, text: text in name,
    "~": lambda name, text: re.search(text, name) is not None,
}


def holds(clause: Clause, name: str) -> bool:
    """Whether it holds for a name in lower case."""
    if isinstance(clause, str):
        return _TESTS[clause[0]](name, clause[1:])
    if isinstance(clause, list):
        return any(holds(one, name) for one in clause)
    return all(holds(one, name) for one in clause["all"])


def spellings(model: str) -> list[str]:
    """The names to look for, one after the other: the second has its date as `-2025-12-11`."""
    name = model.lower()
    dashed = _COMPACT_DATE.sub(_dashed, name)
    return [name] if dashed == name else [name, dashed]


def _dashed(found: re.Match[str]) -> str:
    year, month, day = (int(part) for part in found.groups())
    try:
        return f"-{date(year, month, day).isoformat()}"
    except ValueError:
        return found.group()
