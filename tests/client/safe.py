"""An agent that is given secrets, and careless with them."""

import base64
import json
from collections.abc import Callable
from typing import Any
from urllib.parse import quote, quote_plus

from agents import ActionFailed, Agent, Context, action

SEEN: list[Any] = []
#: How an action may give a secret away, by what it returns and by what it raises.
WAYS: dict[str, Callable[[str], Any]] = {
    "whole": lambda key: {"key": key},
    "as a key": lambda key: {key: 1},
    "deep": lambda key: {"a": [{"b": [key, {"c": key}]}]},
    "in a text": lambda key: {"text": f"Authorization: Bearer {key}, sent twice: {key}"},
    "half of it": lambda key: {"half": key[: len(key) // 2 + 1], "other": key[len(key) // 2 - 1 :]},
    "as JSON": lambda key: {"text": json.dumps({"key": key})},
    "in a URL": lambda key: {"url": f"https://h/?k={quote(key, safe='')}&p={quote_plus(key)}"},
    "in Base64": lambda key: {"basic": base64.b64encode(key.encode()).decode()},
    "as Python writes it": lambda key: {"repr": repr(key)},
    "in a large value": lambda key: {"text": "x" * 40_000 + key + "x" * 40_000},
}
RAISES: dict[str, Callable[[str], Exception]] = {
    "raised": lambda key: RuntimeError(f"cannot open {key}"),
    "raised with its place": lambda key: KeyError(key, {"at": key}),
    "raised in words": lambda key: ActionFailed("permanent", f"refused: {key}", details={"key": key, "of": [key]}),
    "raised and cut": lambda key: ValueError("x" * 1_990 + key),
}


class Safe(Agent):
    @action
    def open(self, key: str, context: Context) -> dict[str, Any]:
        SEEN.append(key)
        context.log("opened", key=key)
        context.progress(f"opened by {key}")
        return {"with": key, key: "a key", "part": key[: len(key) * 2 // 3]}

    @action
    def take(self, what: dict[str, Any]) -> list[Any]:
        SEEN.append(what)
        return [what]

    @action
    def spill(self, key: str, how: str, context: Context) -> Any:
        """Be careless with a secret in one way."""
        SEEN.append(key)
        context.progress(f"spilling {key}", 0.5)
        context.log(f"spilling {key}", token=key, inside={"deep": [key]})
        if how in RAISES:
            raise RAISES[how](key)
        return WAYS[how](key)

    @action
    async def tell(self, key: str, context: Context) -> dict[str, Any]:
        """Say it to another agent, and ask one that fails of it."""
        SEEN.append(key)
        await context.send("other", {"key": key, "in": [f"<{key}>"]}, action="hear")
        try:
            await context.ask("other", {"key": key}, action="lose")
        except ActionFailed as failed:
            return {"why": str(failed), "details": failed.details}
        return {}

    @action
    def hear(self, key: str, **more: Any) -> dict[str, Any]:
        return {"heard": key, **more}

    @action
    def lose(self, key: str) -> None:
        SEEN.append(key)
        raise RuntimeError(f"{'x' * 1990} the key is {key}, cut anywhere")
