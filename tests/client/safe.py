"""An agent that is given secrets, and careless with them."""

from typing import Any

from agents import Agent, Context, action

SEEN: list[Any] = []


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
    def lose(self, key: str) -> None:
        SEEN.append(key)
        raise RuntimeError(f"{'x' * 1990} the key is {key}, cut anywhere")
