"""The agent of the benchmarks: a typed action that does nothing, and one that makes a list."""

from pydantic import BaseModel

from agents import ActionFailed, Agent, Context, action


class Payload(BaseModel):
    """About 200 bytes."""

    text: str
    n: int


class Noop(Agent):
    """What is measured is the engine, not the work."""

    @action
    def noop(self, d: Payload) -> Payload:
        return d

    @action
    def flaky(self, context: Context, d: Payload) -> Payload:
        """Fail the first attempt of every tenth."""
        if d.n % 10 == 0 and context.attempt == 1:
            raise ActionFailed("transient", "the first attempt of a tenth")
        return d

    @action
    def numbers(self, n: int) -> dict[str, list[Payload]]:
        return {"items": [Payload(text="x" * 180, n=i) for i in range(n)]}

    @action
    def join(self, count: int) -> dict[str, int]:
        return {"count": count}
