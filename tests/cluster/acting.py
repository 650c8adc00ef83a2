"""An agent for the tests on Ray: it writes down every execution of its actions' bodies, then does as it is told."""

import os
import time
from typing import Any

from kos_runtime.ports.agent import Agent, Context, action


class kWorker(Agent):  # noqa: N801 - the class name is what a person reads on the dashboard
    @action
    def note(self, ledger: str, context: Context, value: Any = None) -> dict[str, Any]:
        write(ledger, context)
        return {"value": value, "pid": os.getpid()}

    @action
    def nap(self, ledger: str, seconds: float, context: Context, value: Any = None) -> dict[str, Any]:
        write(ledger, context)
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and not context.cancelled:
            time.sleep(0.02)
        return {"value": value, "pid": os.getpid()}

    @action
    def gate(self, ledger: str, opened_by: str, context: Context) -> dict[str, Any]:
        """Go on when a file is there."""
        write(ledger, context)
        while not os.path.exists(opened_by):  # noqa: PTH110
            context.progress("at the gate", 0.5)
            time.sleep(0.02)
        return {"pid": os.getpid()}

    @action(isolated=True)
    def gate_alone(self, ledger: str, opened_by: str, context: Context) -> dict[str, Any]:
        return self.gate(ledger, opened_by, context)

    @action
    def die(self, ledger: str, unless: str, context: Context) -> dict[str, Any]:
        """End its process, unless a file is there."""
        write(ledger, context)
        if os.path.exists(unless):  # noqa: PTH110
            return {"pid": os.getpid()}
        os._exit(9)


def write(ledger: str, context: Context) -> None:
    """Append one line in one write, so that processes may share the file."""
    line = f"{context.run} {context.step} {context.attempt} {context.fence}\n"
    descriptor = os.open(ledger, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(descriptor, line.encode())
    finally:
        os.close(descriptor)


class kTalker(Agent):  # noqa: N801 - as above
    """Asks kListener, turn after turn."""

    @action
    async def talk(self, ledger: str, opened_by: str, turns: int, context: Context) -> dict[str, Any]:
        write(ledger, context)
        heard = []
        for turn in range(turns):
            body = {"ledger": ledger, "opened_by": opened_by, "turn": turn}
            answer = await context.ask("listener", body, conversation="one")
            heard.append(answer["turn"])
        return {"heard": heard}


class kListener(Agent):  # noqa: N801 - as above
    @action
    def on_message(self, ledger: str, opened_by: str, turn: int, context: Context) -> dict[str, int]:
        """Answer at once, but to the second turn only when a file is there."""
        write(ledger, context)
        while turn == 1 and not os.path.exists(opened_by):  # noqa: PTH110
            time.sleep(0.02)
        return {"turn": turn, "before": len(context.conversation)}


class kJudge(Agent):  # noqa: N801 - as above
    @action
    def on_authority_request(self, request: dict[str, Any], context: Context) -> dict[str, str]:
        """Pass it on, when the file is there that the request is about; the ledger lies beside it."""
        gate = "/" + request["target"]
        write(os.path.join(os.path.dirname(gate), "ledger"), context)  # noqa: PTH118, PTH120
        while not os.path.exists(gate):  # noqa: PTH110
            time.sleep(0.02)
        return {"verdict": "pass", "comment": "not mine to give"}
