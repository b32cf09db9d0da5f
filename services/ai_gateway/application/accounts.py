"""Who a call is made for."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Account:
    """tenant: who pays. key: the public id of the key that was shown; empty without one."""

    tenant: str
    key: str = ""
