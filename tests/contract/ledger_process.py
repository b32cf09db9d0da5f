"""Many callers of one budget, in a process of their own.

`python -m tests.contract.ledger_process URL NAME CALLERS`: each caller claims until it was refused thrice. It
settles for less, and is cancelled now and then while it claims. Prints how much was settled.
"""

from __future__ import annotations

import asyncio
import random
import sys

from services.ai_gateway.adapters.ledger_sql import SqlLedger
from services.ai_gateway.application.ports.ledger import BudgetExceeded
from tests.contract.ledgers import claim, entry, ledger_on


async def caller(ledger: SqlLedger, name: str) -> int:
    """How much it settled, in nano-dollars."""
    dice = random.Random(name)
    settled = refused = number = 0
    while refused < 3:
        number += 1
        call_id, most = f"{name}-{number}", dice.randint(50, 150)
        asking = asyncio.ensure_future(ledger.claim(claim(call_id, most)))
        if dice.random() < 0.1:
            await asyncio.sleep(0)
            asking.cancel()
        try:
            await asking
        except BudgetExceeded:
            refused += 1
            continue
        except asyncio.CancelledError:
            continue
        await asyncio.sleep(dice.random() * 0.003)
        cost = dice.randint(0, most)
        await ledger.settle(entry(call_id, cost))
        settled += cost
    return settled


async def main(url: str, name: str, callers: int) -> None:
    """All callers at once."""
    with ledger_on(url) as ledger:
        settled = await asyncio.gather(*(caller(ledger, f"{name}-{one}") for one in range(callers)))
    print(sum(settled))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
