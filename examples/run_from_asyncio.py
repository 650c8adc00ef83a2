"""The same engine with awaitable calls: several runs side by side."""

import asyncio
import sys
from pathlib import Path

import kos_runtime

HERE = Path(__file__).parent
TOPICS = ("placement groups", "object spilling")


async def main(store: str = ".kos") -> None:
    async with kos_runtime.connect_async(store) as kos:
        runs = [await kos.start(HERE / "research-and-summarize.yaml", topic=topic, depth="shallow") for topic in TOPICS]
        for topic, outputs in zip(TOPICS, await asyncio.gather(*(run.result(300) for run in runs)), strict=True):
            print(f"{topic}: {len(outputs['sources'])} sources")


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
