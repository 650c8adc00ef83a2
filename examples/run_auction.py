"""The protocol of ``auction.py`` on the engine.

    python examples/run_auction.py

Killing this script, an agent or the engine in the middle changes nothing but the time that it takes: start it again, and
it goes on with what there is.
"""

import asyncio
import sys
from typing import Literal

from auction import HOUSE, Auction, Auctions  # type: ignore[import-not-found]

import kos_runtime
from kos_runtime.core.machine import Concluded


async def main(store: str = ".kos", host: Literal["ray", "process"] = "ray") -> None:
    async with kos_runtime.connect_async(store, host=host) as kos:
        engine = kos.coordinator({"ann": "auction:Collector", "bob": "auction:Museum"})
        await engine.open("sales/vase", Auctions(), Auction("vase", ("ann", "bob")), (HOUSE, "ann", "bob"))
        ended = await engine.until("sales/vase", lambda fact: isinstance(fact, Concluded))
        print(f"the vase goes to {ended.outcome['winner']} for {ended.outcome['price']}")


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))  # type: ignore[arg-type]
