"""A run's state, folded again from its log, as the engine folds it and without any of its effects."""

from collections.abc import Iterator
from hashlib import sha256
from typing import Any, Final

from kos_runtime.client.gone import went
from kos_runtime.client.reading import Reading
from kos_runtime.composition.machines import make_installed_known
from kos_runtime.core.errors import InvalidDefinition, KosError, NotFound
from kos_runtime.core.event import rebuild
from kos_runtime.core.identity import run_stream
from kos_runtime.core.machine import UnknownMachine
from kos_runtime.core.plan.program import Program
from kos_runtime.core.record import Record, SnapshotRow
from kos_runtime.core.workflow import events as ev
from kos_runtime.core.workflow.evolve import evolve
from kos_runtime.core.workflow.snapshot import FINGERPRINT, from_plain, to_plain
from kos_runtime.core.workflow.state import Run

_MISSING: Final = object()


def need_payloads(reading: Reading, run: str) -> None:
    """Refuse a run of which only headers are left.

    Raises:
        InvalidDefinition: Its payloads were purged or archived.
    """
    row = reading.log.run(run)
    if row is not None and not reading.log.salt(run_stream(run)):
        raise InvalidDefinition(went(row))


def folded(reading: Reading, run: str, until: int | None = None) -> Run:
    """Return a run's state after a position, after all its events unless given.

    Raises:
        NotFound: It has no such position.
        InvalidDefinition: Its payloads were purged or archived, or its events cannot be folded; the message says at which.
    """
    need_payloads(reading, run)
    make_installed_known()
    state = Run(run, reading.log.store_id, reading.codec)
    for record in reading.records(run):
        if until is not None and record.position > until:
            break
        apply(reading, state, record)
    if until is not None and state.position != until:
        raise NotFound(f"run {run} has no event {until}: its seqs are 1 to {state.position}; see: kos events {run}")
    return state


def apply(reading: Reading, state: Run, record: Record) -> None:
    """Fold one record into a state; the plan and the link come from the store when they are mentioned."""
    try:
        for event in events_of(reading, record):
            take(reading, state, event)
    except (KosError, ValueError, KeyError, UnknownMachine) as error:
        raise InvalidDefinition(
            f"run {state.id} cannot be folded at seq {record.position}: {error}; see: kos verify {state.id}"
        ) from error
    state.position = record.position
    state.todo.clear()


def take(reading: Reading, state: Run, event: Any) -> None:
    """Fold one event into a state, which is given the plan and the link that it mentions."""
    if isinstance(event, ev.RunCreated):
        make_installed_known()
        state.program = state.plans[event.plan] = Program(reading.plan(event.plan), event.plan)
    elif isinstance(event, ev.RunLinked):
        state.link = state.links[event.link] = reading.link(event.link)
    elif isinstance(event, ev.PlanRevised):
        state.plans[event.plan] = Program(reading.plan(event.plan), event.plan)
        state.links[event.link] = reading.link(event.link)
    evolve(state, event)


def events_of(reading: Reading, record: Record) -> list[Any]:
    """Return a record's events.

    Raises:
        ValueError, UnknownEvent: They cannot be read.
    """
    return rebuild(record.names, reading.codec.unpack(record.payload))


def digest(reading: Reading, state: Run) -> str:
    """Return SHA-256 of a state, as hex: equal for equal states."""
    return sha256(reading.codec.pack(to_plain(state))).hexdigest()


def compared(reading: Reading, run: str) -> str:
    """Compare a run's stored snapshot with the fold of its events; return the first difference, empty when there is none.

    The snapshot has to be what the events up to it make, and what follows has to make of it what all events make.
    """
    row = snapshot_of(reading, run)
    if row is None:
        folded(reading, run)
        return ""
    make_installed_known()
    state = Run(run, reading.log.store_id, reading.codec)
    restored: Run | None = None
    for record in reading.records(run):
        apply(reading, state, record)
        if restored is not None:
            apply(reading, restored, record)
        if record.position == row.position:
            if record.hash != row.hash:
                return f"the snapshot at seq {row.position} stands on another record than the log has there"
            try:
                plain = reading.codec.unpack(row.state)
                restored = _restored(reading, state, plain)
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                return f"the snapshot at seq {row.position} cannot be read: {type(error).__name__}: {error}"
            found = first_difference(plain, to_plain(state))
            if found:
                return f"the snapshot at seq {row.position} is not what the log says: {found}"
    if restored is None:
        return f"the snapshot stands at seq {row.position}, where the log has no record"
    found = first_difference(to_plain(restored), to_plain(state))
    return f"what follows the snapshot at seq {row.position} makes something else of it: {found}" if found else ""


def snapshot_of(reading: Reading, run: str) -> SnapshotRow | None:
    """Return the stored snapshot of a run, if it has one that this version reads."""
    row = reading.log.snapshot(run_stream(run))
    return row if row is not None and row.fingerprint == FINGERPRINT else None


def _restored(reading: Reading, like: Run, plain: dict[str, Any]) -> Run:
    restored = Run(like.id, like.store_id, reading.codec)
    restored.program, restored.link = like.program, like.link
    restored.plans, restored.links = dict(like.plans), dict(like.links)
    from_plain(restored, plain)
    return restored


def first_difference(stored: Any, expected: Any) -> str:
    """Say where two values of plain data differ first: ``steps[2].status: 'failed', the log says 'completed'``."""
    for where, one, other in _differences(stored, expected, ""):
        return f"{where}: {_short(one)}, the log says {_short(other)}"
    return ""


def _differences(one: Any, other: Any, where: str) -> Iterator[tuple[str, Any, Any]]:
    if isinstance(one, dict) and isinstance(other, dict):
        for key in [*one, *(key for key in other if key not in one)]:
            place = f"{where}.{key}" if where else str(key)
            yield from _differences(one.get(key, _MISSING), other.get(key, _MISSING), place)
    elif isinstance(one, list | tuple) and isinstance(other, list | tuple):
        for index in range(max(len(one), len(other))):
            label = _label(one, other, index)
            yield from _differences(
                one[index] if index < len(one) else _MISSING,
                other[index] if index < len(other) else _MISSING,
                f"{where}[{label}]",
            )
    elif type(one) is not type(other) or one != other:
        yield where, one, other


def _label(one: Any, other: Any, index: int) -> str:
    """Name an element by its path where it has one: a step, or a body."""
    for values in (other, one):
        if index < len(values) and isinstance(values[index], dict) and "path" in values[index]:
            return str(values[index]["path"])
    return str(index)


def _short(value: Any) -> str:
    if value is _MISSING:
        return "nothing"
    text = value.hex() if isinstance(value, bytes) else repr(value)
    return text if len(text) <= 60 else text[:59] + "…"
