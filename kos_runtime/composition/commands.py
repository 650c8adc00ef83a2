"""Messages of the control channel as commands, and answers as messages."""

import os
import secrets
from typing import Any, Final

from kos_runtime.composition.people import Person, Unproven, identify
from kos_runtime.core.chain import SALT_BYTES
from kos_runtime.core.identity import is_run_id
from kos_runtime.core.schedule.commands import RemoveSchedule, SetSchedule
from kos_runtime.core.workflow.commands import (
    Accepted,
    Answer,
    AnswerTask,
    AskAuthority,
    CancelRun,
    Command,
    CommandMachine,
    CreateRun,
    DecideApproval,
    ExecuteStep,
    ForkRun,
    GrantAuthority,
    PauseRun,
    RequeueRun,
    RestoreRun,
    ResumeRun,
    RetryStep,
    RevisePlan,
    RevokeAuthority,
    SendSignal,
    SetAttributes,
    SetCheckpoints,
    StartRun,
)
from kos_runtime.definition.settings import EngineSettings
from kos_runtime.ports.control import Message

#: What ``command_of`` knows.
OPERATIONS: Final = frozenset(
    {
        "create",
        "start",
        "answer",
        "pause",
        "resume",
        "cancel",
        "retry",
        "signal",
        "decide",
        "grant",
        "revoke",
        "ask_authority",
        "requeue",
        "fork",
        "restore",
        "checkpoints",
        "attributes",
        "revise",
        "execute",
        "tell",
        "schedule",
        "unschedule",
    }
)


class BadRequest(ValueError):
    """A message that is no command; the text says what it lacks."""


def command_of(message: Message, settings: EngineSettings) -> Command:
    """Return the command that a message asks for. ``settings`` say who people are.

    Raises:
        BadRequest: It is none, or lacks something.
    """
    try:
        run = message["run"]
        if not isinstance(run, str) or not is_run_id(run):
            raise BadRequest(f"{run!r} is no run id")
        match message["op"]:
            case "create":
                return CreateRun(
                    run=run,
                    plan=_text(message, "plan"),
                    link=_text(message, "link"),
                    settings=message.get("settings") or {},
                    drivers=message.get("drivers") or {},
                    inputs=message.get("inputs") or {},
                    seed=int.from_bytes(os.urandom(7), "big"),
                    salt=os.urandom(SALT_BYTES),
                    author=_text(message, "author"),
                    name=message.get("name") or "",
                    key=message.get("key") or "",
                    start=bool(message.get("start", True)),
                    attributes=_attributes(message.get("attributes") or {}),
                    again=bool(message.get("again")),
                )
            case "start":
                return StartRun(run=run)
            case "answer":
                data = message["data"]
                if not isinstance(data, dict):
                    raise BadRequest("an answer is an object of the task's fields")
                return AnswerTask(run=run, path=_text(message, "step"), data=data, by=_text(message, "by"))
            case "signal":
                return SendSignal(
                    run=run, signal=_text(message, "signal"), data=message["data"], by=_text(message, "by")
                )
            case "tell":
                return CommandMachine(
                    run=run,
                    path=_text(message, "step"),
                    node=_text(message, "node"),
                    command=message["command"],
                    by=_text(message, "by"),
                )
            case "decide":
                return _decision(message, run, settings)
            case "grant":
                person = _person(message, settings)
                grant = message["grant"]
                if not isinstance(grant, dict):
                    raise BadRequest("a grant is an object")
                return GrantAuthority(
                    run=run,
                    grant=grant,
                    expires_ms=_integer(message, "expires_ms"),
                    by=person.name,
                    roles=person.roles,
                    right=person.right,
                )
            case "revoke":
                person = _person(message, settings)
                return RevokeAuthority(
                    run=run, grant=_text(message, "grant"), by=person.name, roles=person.roles, right=person.right
                )
            case "ask_authority":
                return AskAuthority(
                    run=run,
                    use=[
                        _text(message, "agent"),
                        _text(message, "grant"),
                        _text(message, "scope"),
                        _integer(message, "cost"),
                    ],
                    reason=_text(message, "reason"),
                    expires_ms=_integer(message, "expires_ms"),
                    by=_text(message, "by"),
                )
            case "pause":
                return PauseRun(run=run, by=_text(message, "by"), reason=_text(message, "reason"))
            case "resume":
                return ResumeRun(run=run, by=_text(message, "by"), reason=_text(message, "reason"))
            case "requeue":
                return RequeueRun(
                    run=run, path=_text(message, "step"), by=_text(message, "by"), reason=_text(message, "reason")
                )
            case "retry":
                retries = message["retries"]
                if type(retries) is not int:
                    raise BadRequest("retries must be an integer")
                return RetryStep(
                    run=run,
                    path=_text(message, "step"),
                    retries=retries,
                    by=_text(message, "by"),
                    reason=_text(message, "reason"),
                    way=str(message.get("way") or "retry"),
                    fallback=str(message.get("fallback") or ""),
                )
            case "fork":
                return ForkRun(
                    run=run,
                    parent=_text(message, "parent"),
                    at=_integer(message, "at"),
                    changes=_changes(message.get("changes") or []),
                    salt=os.urandom(SALT_BYTES),
                    by=_text(message, "by"),
                    name=message.get("name") or "",
                    reason=_text(message, "reason"),
                )
            case "checkpoints":
                return SetCheckpoints(run=run, interval_ms=_integer(message, "interval_ms"), by=_text(message, "by"))
            case "attributes":
                return SetAttributes(run=run, attributes=_attributes(message["attributes"]), by=_text(message, "by"))
            case "restore":
                return RestoreRun(
                    run=run, to=_integer(message, "to"), by=_text(message, "by"), reason=_text(message, "reason")
                )
            case "revise":
                return _revision(run, message)
            case "execute":
                inputs = message["inputs"]
                if inputs is not None and not isinstance(inputs, dict):
                    raise BadRequest("inputs are an object, or nothing")
                return ExecuteStep(
                    run=run,
                    path=_text(message, "step"),
                    inputs=inputs,
                    by=_text(message, "by"),
                    reason=_text(message, "reason"),
                )
            case "schedule":
                return SetSchedule(
                    run=run,
                    workflow=_text(message, "workflow"),
                    version=_text(message, "version"),
                    cron=_text(message, "cron"),
                    timezone=_text(message, "timezone"),
                    overlap=_text(message, "overlap"),
                    catch_up=_text(message, "catch_up"),
                    plan=_text(message, "plan"),
                    link=_text(message, "link"),
                    settings=message.get("settings") or {},
                    drivers=message.get("drivers") or {},
                    inputs=message.get("inputs") or {},
                    salt=os.urandom(SALT_BYTES),
                    by=_text(message, "by"),
                )
            case "unschedule":
                return RemoveSchedule(run=run, by=_text(message, "by"), reason=_text(message, "reason"))
            case "cancel":
                grace = message["grace_ms"]
                if type(grace) is not int:
                    raise BadRequest("grace_ms must be an integer")
                return CancelRun(run=run, by=_text(message, "by"), reason=_text(message, "reason"), grace_ms=grace)
            case other:
                raise BadRequest(f"no such request: {other!r}")
    except KeyError as error:
        raise BadRequest(f"the request lacks {error.args[0]!r}") from error


def _revision(run: str, message: Message) -> RevisePlan:
    expected, fields, settings = message["expected"], message["fields"], message["settings"]
    if type(expected) is not int:
        raise BadRequest("expected must be an integer")
    if not isinstance(fields, list) or not all(isinstance(name, str) for name in fields):
        raise BadRequest("fields is an array of names")
    if not isinstance(settings, dict):
        raise BadRequest("settings is an object")
    return RevisePlan(
        run=run,
        plan=_text(message, "plan"),
        link=_text(message, "link"),
        settings=settings,
        expected=expected,
        change=_text(message, "change"),
        step=_text(message, "step"),
        fields=fields,
        by=_text(message, "by"),
        reason=_text(message, "reason"),
        next_attempt=message["next_attempt"] is True,
    )


def _decision(message: Message, run: str, settings: EngineSettings) -> DecideApproval:
    data = message["data"]
    if not isinstance(data, dict):
        raise BadRequest("what is filled in is an object of the form's fields")
    person = _person(message, settings)
    return DecideApproval(
        run=run,
        path=_text(message, "step"),
        approved=bool(message["approved"]),
        data=data,
        comment=_text(message, "comment"),
        by=person.name,
        roles=person.roles,
        right=person.right,
    )


def _person(message: Message, settings: EngineSettings) -> Person:
    """Return who decides."""
    try:
        return identify(settings, _text(message, "as"), _text(message, "token"), _text(message, "by"))
    except Unproven as error:
        raise BadRequest(str(error)) from error


def _attributes(given: Any) -> dict[str, Any]:
    if not isinstance(given, dict):
        raise BadRequest("attributes are an object")
    return given


def _text(message: Message, key: str) -> str:
    value = message[key]
    if not isinstance(value, str):
        raise BadRequest(f"{key} must be a text")
    return value


def _integer(message: Message, key: str) -> int:
    value = message[key]
    if type(value) is not int:
        raise BadRequest(f"{key} must be an integer")
    return value


def _changes(given: Any) -> list[list[Any]]:
    match given:
        case list() if all(isinstance(c, list) and list(map(type, c[:2])) == [str, str] and len(c) == 3 for c in given):
            return given
        case _:
            raise BadRequest("changes are [step, name, value] each")


def message_of(answer: Answer) -> Message:
    """Return an answer as a message."""
    if isinstance(answer, Accepted):
        return {
            "ok": True,
            "run": answer.run,
            "position": answer.position,
            "event": answer.event,
            "existing": answer.existing,
            **({} if answer.reply is None else {"reply": answer.reply}),
        }
    return {"ok": False, "code": answer.code, "message": answer.message}


def new_run_id() -> str:
    """Return a random run id: 12 characters, first a letter or digit."""
    return secrets.token_hex(6)


def run_id_of_key(store_id: str, namespace: str, key: str) -> str:
    """Return the id of the run that a key belongs to: always the same in one store."""
    from hashlib import sha256

    return sha256(f"{store_id}\x00{namespace}\x00{key}".encode()).hexdigest()[:24]


def refusal(code: str, message: str) -> dict[str, Any]:
    return {"ok": False, "code": code, "message": message}
