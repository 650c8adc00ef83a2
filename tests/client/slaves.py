"""Agents that machines ask, for tests of coordination over a real engine."""

import os
import time
from pathlib import Path
from typing import Any

from agents import Agent, action


class Slave(Agent):
    """Works on tasks; one whose name says so fails or dies at them."""

    @action
    def on_task(self, task: str) -> dict[str, Any]:
        name, _, how = task.partition("|")
        if how == "fails":
            raise RuntimeError(f"{name} cannot be done")
        if how.startswith("dies:"):
            # Once: the file says that it has been here.
            mark = Path(how.removeprefix("dies:"))
            if not mark.exists():
                mark.touch()
                os._exit(3)
        if how == "slow":
            time.sleep(0.05)
        return {"done": name.upper()}


class Chief(Agent):
    """Says yes to what it is asked."""

    @action
    def on_question(self, question: dict[str, Any]) -> dict[str, str]:
        return {"verdict": "grant", "comment": f"{question['reason']}, says the chief"}
