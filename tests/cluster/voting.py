"""Electors for the tests on Ray: each writes down that it was asked; some think until a file is there."""

import os
import time
from pathlib import Path

from kos_runtime.ports.agent import Agent, action


class kVoter(Agent):  # noqa: N801 - the class name is what a person reads on the dashboard
    @action
    def vote(self, who: str, ledger: str, opened_by: str, slow: list[str]) -> dict[str, str]:
        descriptor = os.open(f"{ledger}.votes", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            os.write(descriptor, f"{who}\n".encode())
        finally:
            os.close(descriptor)
        while who in slow and not Path(opened_by).exists():
            time.sleep(0.02)
        return {"vote": "yes", "reason": f"{who} thinks so"}
