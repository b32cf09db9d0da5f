"""What a call is about: the names in its path, else the name of what it makes."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

from google.api import annotations_pb2
from google.protobuf import descriptor_pool


def subject(method: str, request: Any, answer: Any) -> str:
    """`job-1`, `roses/3`; empty when it is not known. Either message may be None."""
    bound, made = names(method)
    if bound:
        return "/".join(str(getattr(request, name)) for name in bound) if request is not None else ""
    found = getattr(answer, made, "") or getattr(request, made, "")
    return found if isinstance(found, str) else ""


@lru_cache(1024)
def names(method: str) -> tuple[tuple[str, ...], str]:
    """Of `/package.Service/Method`: the request's fields that are in its path; the answer's first field,
    which is its id in all that is made."""
    found = descriptor_pool.Default().FindMethodByName(method.removeprefix("/").replace("/", "."))
    rule = found.GetOptions().Extensions[annotations_pb2.http]
    verb = rule.WhichOneof("pattern")
    path = getattr(rule, verb) if verb else ""
    fields = found.output_type.fields
    return tuple(re.findall(r"\{(\w+)", path)), fields[0].name if fields else ""
