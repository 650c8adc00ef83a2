"""What goes into an action and what comes out, in bytes and blobs."""

from typing import Any

from kos_runtime.core.failure import ErrorType
from kos_runtime.core.invocation import Gather, Invocation, Piece
from kos_runtime.core.plan.types import word_for
from kos_runtime.core.record import INLINE_LIMIT, PAYLOAD_LIMIT, BlobRef
from kos_runtime.ports.agent import ActionFailed
from kos_runtime.ports.blob_store import BlobStore
from kos_runtime.ports.codec import Codec


def read_inputs(invocation: Invocation, codec: Codec, blobs: BlobStore) -> dict[str, Any]:
    """Return the inputs as plain data, with everything gathered that lies in blobs.

    Raises:
        ActionFailed: A blob is gone or damaged: permanent.
    """
    packed = invocation.inputs
    if invocation.inputs_blob is not None:
        packed = _blob(invocation.inputs_blob, blobs)
    values: dict[str, Any] = codec.unpack(packed)
    for gather in invocation.gathers:
        at: Any = values
        for key in gather.place[:-1]:
            at = at[key]
        at[gather.place[-1]] = _gather(gather, codec, blobs)
    return values


def _gather(gather: Gather, codec: Codec, blobs: BlobStore) -> Any:
    values = [_piece(piece, codec, blobs) for piece in gather.pieces]
    value: Any
    match gather.mode:
        case "one":
            value = values[0]
        case "concat":
            value = [item for part in values for item in part]
        case _:
            value = values
    return value if gather.cut is None else value[gather.cut[0] : gather.cut[1]]


def _piece(piece: Piece, codec: Codec, blobs: BlobStore) -> Any:
    packed = piece.packed
    if packed is None:
        assert piece.blob is not None
        packed = _blob(piece.blob, blobs)
    value = codec.unpack(packed)
    for key in piece.path:
        value = value[key]
    return value


def _blob(ref: BlobRef, blobs: BlobStore) -> bytes:
    try:
        return blobs.get(ref.digest)
    except Exception as error:
        raise ActionFailed(ErrorType.PERMANENT, f"a value that the step reads is gone: blob {ref.digest}: {error}") from error


def expose(result: Any, invocation: Invocation) -> dict[str, Any]:
    """Return the names that a result exposes.

    Raises:
        ActionFailed: An output names a key that the result has not; another attempt may do better.
    """
    if invocation.part:
        if not isinstance(result, dict):
            raise ActionFailed(ErrorType.VALIDATION, f"a part must return an object, not {word_for(result)}")
        return result
    if invocation.outputs is None:
        return {**result, "result": result} if isinstance(result, dict) else {"result": result}
    return {name: _output(result, name, key) for name, key in invocation.outputs}


def _output(result: Any, name: str, key: str) -> Any:
    if key == "$result":
        return result
    value = result
    for part in key.split("."):
        if not isinstance(value, dict) or part not in value:
            has = ", ".join(sorted(value)[:20]) if isinstance(value, dict) else f"{word_for(value)}, not an object"
            message = f"the result has no {key!r}, which output {name!r} needs; it has {has or 'nothing'}"
            raise ActionFailed(ErrorType.VALIDATION, message)
        value = value[part]
    return value


def pack_exposed(
    names: dict[str, Any], step: str, codec: Codec, blobs: BlobStore
) -> tuple[bytes, list[tuple[str, BlobRef, str, int]]]:
    """Return the exposed names packed, with what is too large for a record put into the blob store.

    Raises:
        ActionFailed: A value is larger than any may be; not recoverable.
    """
    whole = codec.pack(names)
    if len(whole) <= INLINE_LIMIT:
        return whole, []
    packed = {name: codec.pack(value) for name, value in names.items()}
    inline = dict(names)
    moved: list[tuple[str, BlobRef, str, int]] = []
    size = sum(len(data) + len(name) + 8 for name, data in packed.items())
    for name in sorted(packed, key=lambda name: len(packed[name]), reverse=True):
        if size <= INLINE_LIMIT:
            break
        data, value = packed[name], inline.pop(name)
        if len(data) > PAYLOAD_LIMIT:
            message = f"oversize: {name!r} of step {step} has {len(data)} bytes, at most {PAYLOAD_LIMIT} are kept"
            raise ActionFailed(ErrorType.VALIDATION, message, recoverable=False)
        length = len(value) if isinstance(value, list | dict | str | bytes) else 0
        moved.append((name, blobs.put(data), word_for(value), length))
        size -= len(data) + len(name) + 8
    return codec.pack(inline), moved
