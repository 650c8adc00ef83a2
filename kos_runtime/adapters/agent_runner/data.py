"""What goes into an action and what comes out, in bytes and blobs."""

from typing import Any, Final

from kos_runtime.adapters.agent_runner.plain import weigh
from kos_runtime.adapters.secret_values import secret_value
from kos_runtime.core.errors import StoreDamaged
from kos_runtime.core.failure import ErrorType
from kos_runtime.core.invocation import Gather, Invocation, Piece
from kos_runtime.core.plan.types import word_for
from kos_runtime.core.record import INLINE_LIMIT, PAYLOAD_LIMIT, BlobRef
from kos_runtime.ports.agent import ActionFailed
from kos_runtime.ports.blob_store import BlobStore
from kos_runtime.ports.codec import Codec

#: So many names of one result may lie in blobs of their own: each costs a file that is synced.
MAX_MOVED: Final = 64
#: What a name costs beside its text and its value, in bytes, at most.
_FRAME: Final = 8

Moved = list[tuple[str, BlobRef, str, int]]


def read_inputs(invocation: Invocation, codec: Codec, blobs: BlobStore) -> dict[str, Any]:
    """Return the inputs as plain data, with everything gathered that lies in blobs.

    The bytes were packed by a partition and came through its own channel, or lie under their hash; they are trusted.

    Raises:
        ActionFailed: A blob is gone or damaged, or what is gathered is not there: permanent.
    """
    try:
        at_hand = invocation.inputs_blob
        packed = invocation.inputs if at_hand is None else _blob(at_hand, blobs)
        values: dict[str, Any] = codec.unpack_trusted(packed)
        # What is no object is refused by the next line already.
        values.keys()
        for gather in invocation.gathers:
            at: Any = values
            for key in gather.place[:-1]:
                at = at[key]
            last = gather.place[-1]
            at[last] = _text(at[last], gather) if gather.mode == "text" else _gather(gather, codec, blobs)
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        reason = f"the inputs of {invocation.path} cannot be put together: {type(error).__name__}: {error}"
        raise ActionFailed(ErrorType.PERMANENT, reason) from error
    return values


def _gather(gather: Gather, codec: Codec, blobs: BlobStore) -> Any:
    values = [_piece(piece, codec, blobs) for piece in gather.pieces]
    value: Any
    match gather.mode:
        case "one":
            value = values[0]
        case "concat":
            value = []
            for part in values:
                if type(part) is not list:
                    raise TypeError(f"a piece of {gather.place} is no array but {word_for(part)}")
                value += part
        case _:
            value = values
    return value if gather.cut is None else value[gather.cut[0] : gather.cut[1]]


def _text(texts: list[Any], gather: Gather) -> str:
    """Return a text whose secrets are known here."""
    names = iter(gather.pieces)
    return "".join(secret_value(next(names).secret) if text is None else text for text in texts)


def _piece(piece: Piece, codec: Codec, blobs: BlobStore) -> Any:
    if piece.secret:
        return secret_value(piece.secret)
    packed = piece.packed
    if packed is None:
        if piece.blob is None:
            raise TypeError("a piece is neither bytes nor a blob")
        packed = _blob(piece.blob, blobs)
    value = codec.unpack_trusted(packed)
    for key in piece.path:
        value = value[key]
    return value


def _blob(ref: BlobRef, blobs: BlobStore) -> bytes:
    """Return a blob's bytes. What else can go wrong while reading (no handles, no memory) says itself what it is."""
    try:
        return blobs.get(ref.digest)
    except KeyError as error:
        raise ActionFailed(ErrorType.PERMANENT, f"a value that the step reads is gone: blob {ref.digest}") from error
    except StoreDamaged as error:
        reason = f"a value that the step reads is damaged: blob {ref.digest}: {error}"
        raise ActionFailed(ErrorType.PERMANENT, reason) from error


def expose(result: Any, invocation: Invocation) -> dict[str, Any]:
    """Return the names that a result exposes.

    Raises:
        ActionFailed: An output names a key that the result has not; another attempt may do better.
    """
    if invocation.part:
        if type(result) is not dict:
            raise ActionFailed(ErrorType.VALIDATION, f"a part must return an object, not {word_for(result)}")
        return result
    if invocation.outputs is None:
        return {**result, "result": result} if type(result) is dict else {"result": result}
    return {name: _output(result, name, key) for name, key in invocation.outputs}


def _output(result: Any, name: str, key: str) -> Any:
    if key == "$result":
        return result
    value = result
    for part in key.split("."):
        if type(value) is not dict or part not in value:
            has = ", ".join(sorted(value)[:20]) if type(value) is dict else f"{word_for(value)}, not an object"
            message = f"the result has no {key!r}, which output {name!r} needs; it has {has or 'nothing'}"
            raise ActionFailed(ErrorType.VALIDATION, message)
        value = value[part]
    return value


def pack_exposed(
    names: dict[str, Any], step: str, codec: Codec, blobs: BlobStore, weight: int = 0
) -> tuple[bytes, Moved]:
    """Return the exposed names packed, with what is too large for a record put into the blob store.

    The largest go first, until the rest fits into ``INLINE_LIMIT``; so whatever is above that alone is among them.
    ``weight`` is a lower bound of the result's size: what is certainly too large is not packed to find that out.

    Raises:
        ActionFailed: A value is larger than any may be, or too many names would need a blob; not recoverable.
        ValueError: A text cannot be packed.
    """
    if weight <= INLINE_LIMIT:
        whole = codec.pack(names)
        if len(whole) <= INLINE_LIMIT:
            return whole, []
    packed: dict[str, bytes] = {}
    for name, value in names.items():
        least = weigh(value) if weight > PAYLOAD_LIMIT else 0
        if least > PAYLOAD_LIMIT:
            raise _oversize(name, step, f"at least {least}")
        packed[name] = codec.pack(value)
        if len(packed[name]) > PAYLOAD_LIMIT:
            raise _oversize(name, step, str(len(packed[name])))
    return _moved(names, packed, step, codec, blobs)


def _moved(
    names: dict[str, Any], packed: dict[str, bytes], step: str, codec: Codec, blobs: BlobStore
) -> tuple[bytes, Moved]:
    size = sum(len(data) + len(name) + _FRAME for name, data in packed.items())
    leaving: list[str] = []
    for name in sorted(packed, key=lambda name: len(packed[name]), reverse=True):
        if size <= INLINE_LIMIT:
            break
        leaving.append(name)
        size -= len(packed[name]) + len(name) + _FRAME
    if len(leaving) > MAX_MOVED:
        message = (
            f"oversize: the {len(names)} names that step {step} exposes are {sum(map(len, packed.values()))} bytes; "
            "name in its outputs what is needed, such as {all: $result}"
        )
        raise ActionFailed(ErrorType.VALIDATION, message, recoverable=False)
    moved: Moved = []
    for name in leaving:
        value = names[name]
        length = len(value) if isinstance(value, list | dict | str | bytes) else 0
        moved.append((name, blobs.put(packed[name]), word_for(value), length))
    gone = set(leaving)
    return codec.pack({name: value for name, value in names.items() if name not in gone}), moved


def _oversize(name: str, step: str, size: str) -> ActionFailed:
    message = f"oversize: {name!r} of step {step} has {size} bytes, at most {PAYLOAD_LIMIT} are kept"
    return ActionFailed(ErrorType.VALIDATION, message, recoverable=False)
