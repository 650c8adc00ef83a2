"""Agents for the tests of the outer rooms: small, real, and without waiting."""

import threading
import time
from pathlib import Path
from typing import Any

from agents import ActionFailed, Agent, Context, action

#: Ends what ignores that it is to stop.
LET_GO = threading.Event()


class Team(Agent):
    """Does what its actions' names say."""

    @action
    def greet(self, name: str) -> dict[str, str]:
        return {"text": f"hello {name}"}

    @action
    def fail(self, kind: str = "permanent") -> dict[str, str]:
        raise ActionFailed(kind, "as it was told")

    @action
    def sleep(self, seconds: float, context: Context) -> dict[str, float]:
        end = time.monotonic() + seconds
        while time.monotonic() < end and not context.cancelled:
            time.sleep(0.01)
        return {"seconds": seconds}

    @action
    def report(self, gate: str, context: Context) -> dict[str, str]:
        """Say how far it is until a file is there."""
        context.progress("begun")
        while not Path(gate).exists() and not context.cancelled:
            context.progress("half of it", 0.5)
            time.sleep(0.02)
        return {"text": "done"}

    @action
    def ignore(self) -> dict[str, str]:
        """Do not stop, whoever asks, until the test lets go."""
        LET_GO.wait(60.0)
        return {"text": "at last"}

    @action
    def vote(self, who: str) -> dict[str, str]:
        return {"vote": "no" if who == "panel-2" else "yes", "reason": f"{who} thinks so"}

    @action
    def garbage(self) -> dict[str, int]:
        return {"n": "great"}  # type: ignore[dict-item]

    @action
    def huge(self, megabytes: int) -> dict[str, Any]:
        return {"text": "x" * (megabytes * 1_000_000)}
