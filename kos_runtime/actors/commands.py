"""Requests and answers as bytes: what crosses between a driver and a partition."""

from typing import Any, Final

from kos_runtime.core.schedule.commands import RemoveSchedule, SetSchedule
from kos_runtime.core.workflow.commands import (
    Accepted,
    Answer,
    AnswerTask,
    AskAuthority,
    CancelRun,
    Command,
    CreateRun,
    DecideApproval,
    ExecuteStep,
    ForkRun,
    GrantAuthority,
    PauseRun,
    Rejected,
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
from kos_runtime.ports.codec import Codec

_COMMANDS: Final[tuple[type[Any], ...]] = (
    CreateRun, StartRun, AnswerTask, PauseRun, ResumeRun, CancelRun, RetryStep, ForkRun, RestoreRun, RevisePlan, ExecuteStep,
    SetSchedule, RemoveSchedule, SetCheckpoints, SendSignal, DecideApproval, RequeueRun, SetAttributes,
    GrantAuthority, RevokeAuthority, AskAuthority,
)  # fmt: skip
_FIELDS: Final = tuple(tuple(command.__slots__) for command in _COMMANDS)
_KIND: Final = {command: number for number, command in enumerate(_COMMANDS)}


def pack_requests(requests: list[tuple[str, Command]], codec: Codec) -> bytes:
    """Return (command id, command) pairs as bytes."""
    rows = []
    for command_id, command in requests:
        kind = _KIND[type(command)]
        rows.append([kind, command_id, [getattr(command, name) for name in _FIELDS[kind]]])
    return codec.pack(rows)


def unpack_requests(data: bytes, codec: Codec) -> list[tuple[str, Command]]:
    """Return the pairs. ``ValueError`` when these bytes are none."""
    try:
        return [
            (command_id, _COMMANDS[kind](**dict(zip(_FIELDS[kind], values, strict=True))))
            for kind, command_id, values in codec.unpack(data)
        ]
    except (TypeError, IndexError) as error:
        raise ValueError(f"not a batch of requests: {error}") from error


def pack_answers(answers: list[Answer], codec: Codec) -> bytes:
    """Return answers as bytes."""
    return codec.pack(
        [
            [False, answer.code, answer.message]
            if isinstance(answer, Rejected)
            else [True, answer.run, answer.position, answer.event, answer.existing]
            for answer in answers
        ]
    )


def unpack_answers(data: bytes, codec: Codec) -> list[Answer]:
    """Return the answers. ``ValueError`` when these bytes are none."""
    try:
        return [
            Accepted(run=row[1], position=row[2], event=row[3], existing=row[4])
            if row[0]
            else Rejected(code=row[1], message=row[2])
            for row in codec.unpack(data)
        ]
    except (TypeError, IndexError) as error:
        raise ValueError(f"not a batch of answers: {error}") from error
