"""Invocations and outcomes as bytes: what crosses between processes, never pickles of our own objects."""

from typing import Any

from kos_runtime.adapters.codec import MsgpackCodec
from kos_runtime.core.failure import WorkflowError
from kos_runtime.core.invocation import Gather, Invocation, Outcome, Piece
from kos_runtime.core.record import BlobRef

_CODEC = MsgpackCodec()


def pack_invocations(invocations: list[Invocation]) -> bytes:
    """Return a batch of invocations as bytes."""
    return _CODEC.pack(
        [
            [
                i.run, i.path, i.attempt, i.fence, i.epoch, i.agent, i.action, i.inputs, i.timeout_ms, i.key,
                [_gather(g) for g in i.gathers] if i.gathers else None, i.outputs, i.lenient, i.part, _ref(i.inputs_blob),
            ]
            for i in invocations
        ]  # fmt: skip
    )


def unpack_invocations(data: bytes) -> list[Invocation]:
    """Return the batch. ``ValueError`` when these bytes are none."""
    try:
        return [_invocation(*row) for row in _CODEC.unpack(data)]
    except (TypeError, IndexError) as error:
        raise ValueError(f"not a batch of invocations: {error}") from error


def _invocation(
    run: str, path: str, attempt: int, fence: int, epoch: int, agent: str, action: str, inputs: bytes, timeout_ms: int,
    key: str, gathers: list[Any] | None, outputs: list[Any] | None, lenient: bool, part: bool, blob: list[Any] | None,
) -> Invocation:  # fmt: skip
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
        None if outputs is None else [(name, of) for name, of in outputs],
        lenient,
        part,
        _read_ref(blob),
    )


def pack_outcomes(outcomes: list[Outcome], running: list[tuple[str, str, int]] | None = None) -> bytes:
    """Return outcomes, and what still runs, as bytes."""
    rows = [
        [
            o.run, o.path, o.fence, None if o.error is None else o.error.to_plain(), o.exposed,
            [[name, ref.digest, ref.size, kind, length] for name, ref, kind, length in o.blobs] if o.blobs else None,
            o.duration_ms, o.notes or None,
        ]
        for o in outcomes
    ]  # fmt: skip
    return _CODEC.pack([rows, running or []])


def unpack_outcomes(data: bytes) -> tuple[list[Outcome], list[tuple[str, str, int]]]:
    """Return outcomes and what still runs. ``ValueError`` when these bytes are none."""
    try:
        rows, running = _CODEC.unpack(data)
        outcomes = [
            Outcome(
                run,
                path,
                fence,
                None if error is None else WorkflowError.from_plain(error),
                exposed,
                [(name, BlobRef(digest, size), kind, length) for name, digest, size, kind, length in blobs or ()],
                duration,
                notes or {},
            )
            for run, path, fence, error, exposed, blobs, duration, notes in rows
        ]
        return outcomes, [(run, path, fence) for run, path, fence in running]
    except (TypeError, KeyError) as error:
        raise ValueError(f"not a batch of outcomes: {error}") from error


def _ref(ref: BlobRef | None) -> list[Any] | None:
    return None if ref is None else [ref.digest, ref.size]


def _read_ref(plain: list[Any] | None) -> BlobRef | None:
    return None if plain is None else BlobRef(plain[0], plain[1])


def _gather(gather: Gather) -> list[Any]:
    pieces = [[piece.packed, _ref(piece.blob), piece.path] for piece in gather.pieces]
    return [gather.place, gather.mode, pieces, gather.cut]


def _read_gather(plain: list[Any]) -> Gather:
    place, mode, pieces, cut = plain
    return Gather(
        tuple(place),
        mode,
        [Piece(packed, _read_ref(blob), tuple(path)) for packed, blob, path in pieces],
        None if cut is None else (cut[0], cut[1]),
    )
