"""The agent of the rows about types and sizes: small actions without chance or waiting."""

from typing import Any

from agents import ActionFailed, Agent, action


class Hands(Agent):
    """Does what its actions' names say."""

    @action
    def echo(self, **values: Any) -> dict[str, Any]:
        return dict(values)

    @action
    def typed(self, whole: int, text: str, flag: bool = False) -> dict[str, Any]:
        return {"whole": whole, "text": text, "flag": flag}

    @action
    def gives(self, value: Any) -> dict[str, int]:
        """Declare a number, and give what was asked for."""
        return {"n": value}

    @action
    def large(self, megabytes: int) -> dict[str, Any]:
        return {"text": "x" * (megabytes << 20)}

    @action
    def fails(self, kind: str = "transient") -> dict[str, Any]:
        raise ActionFailed(kind, "as it was told")
