"""Runs tools over shares of a repository."""

from functools import partial
from pathlib import Path
from typing import Any, Final

from agents import ActionFailed, Agent, Context, action

from .processes import run_module
from .surveyor import digest
from .tools import TOOLS, Claim

#: How long one tool may take over one share, in seconds.
TOOL_S: Final = 300.0
#: Claims of one share that are told.
MAX_CLAIMS: Final = 1_000


class Inspector(Agent):
    @action(over="shares", gather="fields", idempotent=True)
    async def inspect(self, context: Context, shares: list[dict[str, Any]]) -> dict[str, list[Claim]]:
        """Return what the tools claim about each share's files; nothing of the repository is changed by it."""
        claims: list[Claim] = []
        for number, share in enumerate(shares):
            tool, root, files = share["tool"], Path(share["root"]), share["files"]
            context.progress(f"{tool} over {len(files)} files, {files[0]} first", number / len(shares))
            try:
                same = digest(root, files) == share["digest"]
            except OSError:
                same = False
            if not same:
                text = f"{files[0]} or one beside it changed while {root} was reviewed: start the review again"
                raise ActionFailed("validation", text, recoverable=False)
            run = partial(_run, share["python"], root)
            cache = Path(context.cache_dir, "code_review", "mypy")
            found = await TOOLS[tool](run, root, files, cache)
            found.sort(key=lambda claim: (claim["file"], claim["line"], claim["code"], claim["message"]))
            claims += found[:MAX_CLAIMS]
        return {"claims": claims}


async def _run(python: str, root: Path, module: str, arguments: list[str]) -> Any:
    return await run_module(python, module, arguments, root, TOOL_S)
