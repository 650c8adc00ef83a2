"""Two kinds of agents that answer each other for ever, if nobody ends it."""

from typing import Any

from agents import Agent, Context, action


class Ping(Agent):
    @action
    async def go(self, text: str, context: Context) -> dict[str, Any]:
        return dict(await context.ask("pong", {"text": text}, action="go"))


class Pong(Agent):
    @action
    async def go(self, text: str, context: Context) -> dict[str, Any]:
        return dict(await context.ask("ping", {"text": text}, action="go"))
