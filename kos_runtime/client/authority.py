"""Who may do what in a run, as its log says; for people and for driver scripts."""

import time
from typing import Any

from kos_runtime.client.folding import need_payloads
from kos_runtime.client.over import need_run
from kos_runtime.client.reading import Reading
from kos_runtime.composition.machines import make_installed_known
from kos_runtime.core.errors import InvalidDefinition
from kos_runtime.core.machine import Commanded, Refused
from kos_runtime.core.workflow import events as ev
from kos_runtime.core.workflow.authority import ANYBODY, Held


def _held(reading: Reading, run: str) -> tuple[Held, list[dict[str, Any]]]:
    """Return the authority of a run, and every use of it with its place in the log.

    Raises:
        NotFound: There is no such run.
        InvalidDefinition: It asks for no authority, or its payloads are gone.
    """
    need_run(reading, run)
    need_payloads(reading, run)
    make_installed_known()
    held: Held | None = None
    uses: list[dict[str, Any]] = []
    for line in reading.lines(run):
        match line.event:
            case ev.AuthorityOpened(setup=setup):
                held, uses = Held(setup), []
            case ev.AuthorityRecorded(path=path, facts=facts) if held is not None:
                held.add(facts)
                uses += [_use(path, line, values) for label, values in facts if label.startswith("authority_used.")]
            case _:
                pass
    if held is None:
        raise InvalidDefinition(
            f"run {run} asks for no authority: its workflow has neither authority: nor authority_required"
        )
    return held, uses


def _use(path: str, line: Any, values: list[Any]) -> dict[str, Any]:
    agent, action, target, cost, grant, at, chain, of, *_ = values
    path = path or of.rpartition("+")[0]
    return {
        "seq": line.seq, "at": at, "step": path, "agent": agent, "action": action, "target": target, "cost": cost, "grant": grant,
        "chain": chain,
    }  # fmt: skip


def _now() -> int:
    return time.time_ns() // 1_000_000


def authority_of(reading: Reading, run: str) -> dict[str, Any]:
    """Return who stands above whom, every grant, every use and every request of a run."""
    held, uses = _held(reading, run)
    shown: dict[str, Any] = _asked(held, {"do": "show"})
    anybody = "anybody" if held.person == ANYBODY else held.person
    return {**shown, "person": anybody, "uses": uses}


def may(reading: Reading, run: str, use: list[Any]) -> bool:
    """Say whether an agent may do something now."""
    held, _ = _held(reading, run)
    return not isinstance(_asked(held, {"do": "check", "use": use}), Refused)


def answered(reading: Reading, run: str, request: str) -> dict[str, Any]:
    """Return what became of a request: ``granted`` is None as long as it stands with somebody."""
    held, _ = _held(reading, run)
    for line in _asked(held, {"do": "show"})["answered"]:
        if line["request"] == request:
            granted = line["verdict"] == "grant"
            return {
                "request": request,
                "granted": granted,
                "grant": line["grant"],
                "by": line["by"],
                "comment": line["comment"],
            }
    return {"request": request, "granted": None, "grant": "", "by": "", "comment": ""}


def _asked(held: Held, command: dict[str, Any]) -> Any:
    instance = held.instance
    return instance.machine.decide(instance.state, Commanded(command), _now()).reply
