"""The agents of the conformance rows: they write down what they execute, and wait at a gate where a test holds them."""

import os
import time
from pathlib import Path
from typing import Any

from agents import ActionFailed, Agent, Context, action


class Crew(Agent):
    """``ledger`` is the file of what was executed, ``gate`` the file that lets go whoever is held."""

    @action
    def note(self, value: Any = None, context: Context | None = None) -> dict[str, Any]:
        """Give back what it was given, and the key of its attempt."""
        self._write(context)
        return {"value": value, "key": "" if context is None else context.idempotency_key}

    @action
    def hold(self, value: Any = None, context: Context | None = None) -> dict[str, Any]:
        """Give back what it was given, once the gate is open."""
        self._write(context)
        gate = Path(self.settings.get("gate", "/"))
        while not gate.exists() and not (context is not None and context.cancelled):
            time.sleep(0.01)
        return {"value": value, "key": "" if context is None else context.idempotency_key}

    @action
    def refuse(self, value: Any = None, context: Context | None = None) -> dict[str, Any]:
        """Fail for good."""
        self._write(context)
        raise ActionFailed("permanent", f"refused {value}")

    @action
    def pick(self, value: int, context: Context | None = None) -> dict[str, Any]:
        """Give back what is not below zero, and fail for good of what is."""
        self._write(context)
        if value < 0:
            raise ActionFailed("permanent", f"picked {value}")
        return {"value": value, "key": "" if context is None else context.idempotency_key}

    @action
    def stumble(self, value: Any = None, context: Context | None = None) -> dict[str, Any]:
        """Fail in a way that may pass."""
        self._write(context)
        raise ActionFailed("transient", f"stumbled over {value}")

    def _write(self, context: Context | None) -> None:
        ledger = self.settings.get("ledger")
        if ledger and context is not None:
            line = f"{context.run} {context.step} {context.attempt} {context.fence}\n"
            descriptor = os.open(ledger, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            try:
                os.write(descriptor, line.encode())
            finally:
                os.close(descriptor)
