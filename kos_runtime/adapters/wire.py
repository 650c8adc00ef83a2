"""Invocations and outcomes as bytes: what crosses between processes, never pickles of our own objects.

Everything is positional: a batch is an array of rows, a row an array of fields in the order of the classes of
``kos_runtime.core.invocation``. Inputs and exposed results travel as bytes inside and are not opened here. What comes
in is checked row by row; bytes that are no batch are refused as a whole, since whoever made them is not one of ours.
"""

from collections.abc import Sequence
from typing import Any, Final, NoReturn

from kos_runtime.adapters.codec import Packers, check_plain, unpack_bounded
from kos_runtime.core.failure import ErrorType, WorkflowError, failure
from kos_runtime.core.invocation import Gather, Invocation, Outcome, Piece
from kos_runtime.core.record import PAYLOAD_LIMIT, BlobRef

#: No batch is larger than this many bytes. A batch of a thousand has a few hundred thousand.
MAX_BATCH_BYTES: Final = 256 * 1024 * 1024
_MODES: Final = frozenset({"one", "list", "concat", "text"})
_OWN: Final = Packers()
_GATHERS: Final = Invocation._fields.index("gathers")
_BLOB: Final = Invocation._fields.index("inputs_blob")

Key = tuple[str, str, int]


def pack_work(invocations: list[Invocation], settled: Sequence[Key] = ()) -> bytes:
    """Return a batch of invocations, and what the process may forget, as bytes: one argument of one call."""
    packed: bytes = _OWN.pack((_invocation_rows(invocations), settled))
    return packed


def _invocation_rows(invocations: list[Invocation]) -> list[tuple[Any, ...]]:
    # Most hold nothing but plain values, and are the row themselves.
    return [i if not i.gathers and i.inputs_blob is None else _invocation_row(i) for i in invocations]


def _invocation_row(i: Invocation) -> tuple[Any, ...]:
    blob = None if i.inputs_blob is None else (i.inputs_blob.digest, i.inputs_blob.size)
    row: list[Any] = list(i)
    row[_GATHERS], row[_BLOB] = [_gather(g) for g in i.gathers], blob
    return tuple(row)


def unpack_work(data: bytes) -> tuple[list[Invocation], list[Key]]:
    """Return the batch, and what may be forgotten. ``ValueError`` when these bytes are none."""
    whole = _rows(data)
    try:
        rows, settled = whole
        return [_invocation(*row) for row in rows], _keys(settled)
    except (TypeError, ValueError, IndexError) as error:
        raise ValueError(f"not a batch of invocations: {error}") from error


def _invocation(
    run: str, path: str, attempt: int, fence: int, epoch: int, agent: str, action: str, inputs: bytes, timeout_ms: int,
    key: str, gathers: list[Any] | None, outputs: list[Any] | None, lenient: bool, part: bool, blob: list[Any] | None,
    heartbeat_ms: int = 0, mail: bytes = b"", peer: bytes = b"",
) -> Invocation:  # fmt: skip
    if not (
        type(run) is type(path) is type(agent) is type(action) is type(key) is str
        and type(attempt) is type(fence) is type(epoch) is type(timeout_ms) is type(heartbeat_ms) is int
        and type(lenient) is type(part) is bool
        and type(inputs) is type(mail) is type(peer) is bytes
    ):
        _refuse("a field has the wrong type")
    return Invocation(
        run,
        path,
        attempt,
        fence,
        epoch,
        agent,
        action,
        inputs,
        timeout_ms,
        key,
        [_read_gather(g) for g in gathers] if gathers else [],
        None if outputs is None else [(_text(name), _text(of)) for name, of in outputs],
        lenient,
        part,
        None if blob is None else _read_ref(blob),
        heartbeat_ms,
        mail,
        peer,
    )


def pack_outcomes(outcomes: list[Outcome], running: list[Key] | None = None) -> bytes:
    """Return outcomes, and what still runs, as bytes. An outcome that cannot be packed becomes a failure."""
    packed: bytes
    try:
        packed = _OWN.pack(([_outcome_row(o) for o in outcomes], running or ()))
    except Exception:
        packed = _OWN.pack(([_certain_row(o) for o in outcomes], running or ()))
    return packed


def _outcome_row(o: Outcome) -> tuple[Any, ...]:
    return (
        o.run,
        o.path,
        o.fence,
        None if o.error is None else o.error.to_plain(),
        o.exposed,
        [(name, ref.digest, ref.size, kind, length) for name, ref, kind, length in o.blobs] if o.blobs else None,
        o.duration_ms,
        o.notes or None,
    )


def _certain_row(o: Outcome) -> tuple[Any, ...]:
    """Return a row that can be packed: none of a batch may be lost because of one."""
    row = _outcome_row(o)
    try:
        _OWN.pack(row)
    except Exception as problem:
        error = failure(
            ErrorType.VALIDATION, f"the outcome cannot be sent: {problem}"[:500], step=o.path, recoverable=False
        )
        return _outcome_row(Outcome(o.run, o.path, o.fence, error=error, duration_ms=o.duration_ms))
    return row


def unpack_outcomes(data: bytes) -> tuple[list[Outcome], list[Key]]:
    """Return outcomes and what still runs. ``ValueError`` when these bytes are none."""
    whole = _rows(data)
    try:
        rows, running = whole
        outcomes = [_outcome(*row) for row in rows]
        keys = _keys(running)
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        raise ValueError(f"not a batch of outcomes: {error}") from error
    return outcomes, keys


def _outcome(
    run: str, path: str, fence: int, error: dict[str, Any] | None, exposed: bytes, blobs: list[Any] | None,
    duration: float, notes: dict[str, object] | None,
) -> Outcome:  # fmt: skip
    if not (
        type(run) is type(path) is str
        and type(fence) is int
        and type(exposed) is bytes
        and type(duration) in {float, int}
        and 0 <= duration < float("inf")
    ):
        _refuse("a field has the wrong type")
    if notes is not None:
        check_plain(notes, "notes")
        if type(notes) is not dict:
            _refuse("notes are an object")
    return Outcome(
        run,
        path,
        fence,
        None if error is None else _error(error),
        exposed,
        [(_text(n), _read_ref((digest, size)), _text(kind), _count(length)) for n, digest, size, kind, length in blobs]
        if blobs
        else [],
        duration,
        notes or {},
    )


def _error(plain: dict[str, Any]) -> WorkflowError:
    check_plain(plain, "error")
    error = WorkflowError.from_plain(plain)
    _text(error.message)
    _text(error.step)
    _text(error.suggested_action)
    if type(error.recoverable) is not bool or type(error.details) is not dict:
        _refuse("an error has a field of the wrong type")
    return error


def _rows(data: bytes) -> list[Any]:
    if len(data) > MAX_BATCH_BYTES:
        raise ValueError(f"a batch of {len(data)} bytes, at most {MAX_BATCH_BYTES} are taken")
    rows = unpack_bounded(data)
    if type(rows) is not list:
        raise ValueError("not a batch: it is no array")
    return rows


def _gather(gather: Gather) -> tuple[Any, ...]:
    pieces = [
        (piece.packed, None if piece.blob is None else (piece.blob.digest, piece.blob.size), piece.path, piece.secret)
        for piece in gather.pieces
    ]
    return gather.place, gather.mode, pieces, gather.cut


def _read_gather(plain: list[Any]) -> Gather:
    place, mode, pieces, cut = plain
    if mode not in _MODES or not place:
        _refuse(f"no such gather: {mode!r:.40}")
    return Gather(
        _path(place),
        mode,
        [_piece(*piece) for piece in pieces],
        None if cut is None else (_count(cut[0]), _count(cut[1])),
    )


def _piece(packed: bytes | None, blob: list[Any] | None, path: list[Any], secret: str) -> Piece:
    if _text(secret):
        if packed is not None or blob is not None:
            _refuse("a piece is bytes, a blob or a secret")
        return Piece(secret=secret)
    if (packed is None) is (blob is None) or (packed is not None and type(packed) is not bytes):
        _refuse("a piece is either bytes or a blob")
    return Piece(packed, None if blob is None else _read_ref(blob), _path(path))


def _path(plain: list[Any]) -> tuple[str | int, ...]:
    for part in plain:
        if type(part) is not str and type(part) is not int:
            _refuse(f"{part!r:.40} is no step of a path")
    return tuple(plain)


def _read_ref(plain: Any) -> BlobRef:
    digest, size = plain
    if _count(size) > PAYLOAD_LIMIT:
        _refuse(f"a blob of {size} bytes")
    return BlobRef(_text(digest), size)


def _keys(rows: Any) -> list[Key]:
    return [(_text(run), _text(path), _count(fence)) for run, path, fence in rows]


def _text(value: Any) -> str:
    if type(value) is not str:
        _refuse(f"{value!r:.40} is no text")
    return value


def _count(value: Any) -> int:
    if type(value) is not int or value < 0:
        _refuse(f"{value!r:.40} is no number of something")
    return value


def _refuse(reason: str) -> NoReturn:
    raise ValueError(reason)
