"""Two runs, or one run at two times, side by side: inputs, steps, and the first event in which they part."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any, Final

from kos_runtime.client.folding import need_payloads
from kos_runtime.client.reading import EventLine, Reading
from kos_runtime.core.errors import NotFound, UserError
from kos_runtime.core.projection.steps import RunView
from kos_runtime.core.workflow import events as ev

#: What differs between two runs that do the same: names, hands, moments, chance.
_INCIDENTAL: Final = frozenset(
    ("fence", "agent", "duration_ms", "inputs_digest", "seed", "name", "key", "author", "at", "delay_ms", "due", "until", "by", "life")
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Side:
    """A run as far as it is looked at."""

    run: str
    until: int | None
    view: RunView
    outputs: dict[str, Any]

    @property
    def label(self) -> str:
        return self.run if self.until is None else f"{self.run}@{self.until}"


@dataclass(frozen=True, slots=True)
class StepPair:
    """One step on both sides; statuses are empty where it has not come up. Durations in milliseconds."""

    step: str
    status: tuple[str, str]
    duration: tuple[int | None, int | None]
    output: tuple[Any, Any]

    @property
    def same(self) -> bool:
        return self.status[0] == self.status[1] and self.output[0] == self.output[1]


@dataclass(frozen=True, slots=True)
class Parting:
    """The first event in which two histories differ; None where one of them has ended."""

    left: EventLine | None
    right: EventLine | None


def side(reading: Reading, text: str) -> Side:
    """Return what a person means by ``RUN`` or ``RUN@SEQ``.

    Raises:
        NotFound: There is no such run, or it has no such event.
        InvalidDefinition: Its payloads were purged or archived.
        UserError: What stands behind the @ is no number.
    """
    name, run_until = text, None
    if "@" in text[1:]:
        at = text.rindex("@")
        name, number = text[:at], text[at + 1 :]
        if not (number.isascii() and number.isdigit()):
            raise UserError(f"{text!r}: write RUN@SEQ, such as {name}@40")
        run_until = int(number)
    run = reading.find(name).run
    need_payloads(reading, run)
    view = reading.view(run, until=run_until)
    if run_until is not None and view.seq != run_until:
        last = reading.view(run).seq
        raise NotFound(f"run {run} has no event {run_until}: its seqs are 1 to {last}; see: kos events {run}")
    return Side(run, run_until, view, _outputs(reading, run, run_until))


def inputs(reading: Reading, left: Side, right: Side) -> Iterator[tuple[str, Any, Any]]:
    """Yield each input with its value on both sides; None where it has none."""
    one, other = reading.inputs(left.view), reading.inputs(right.view)
    for name in [*one, *(name for name in other if name not in one)]:
        yield name, one.get(name), other.get(name)


def steps(left: Side, right: Side) -> Iterator[StepPair]:
    """Yield every step that came up on either side, in the order in which it did."""
    one, other = left.view.steps, right.view.steps
    for path in [*one, *(path for path in other if path not in one)]:
        views = (one.get(path), other.get(path))
        spent = [view.ended_at - view.started_at if view is not None and view.ended_at else None for view in views]
        yield StepPair(
            path,
            ("" if views[0] is None else views[0].status, "" if views[1] is None else views[1].status),
            (spent[0], spent[1]),
            (left.outputs.get(path), right.outputs.get(path)),
        )


def parting(reading: Reading, left: Side, right: Side) -> Parting | None:
    """Return where the histories of two sides part, None when they say the same."""
    for one, other in zip_longest(_lines(reading, left), _lines(reading, right)):
        if one is None or other is None or _essence(one) != _essence(other):
            return Parting(one, other)
    return None


def _lines(reading: Reading, of: Side) -> Iterator[EventLine]:
    for line in reading.lines(of.run):
        if of.until is not None and line.seq > of.until:
            return
        yield line


def _essence(line: EventLine) -> tuple[str, dict[str, Any]]:
    return line.type, {key: value for key, value in line.data.items() if key not in _INCIDENTAL}


def _outputs(reading: Reading, run: str, until: int | None) -> dict[str, Any]:
    """Return what each step gave, as it is recorded; of a large value its address."""
    found: dict[str, Any] = {}
    for line in reading.lines(run):
        if until is not None and line.seq > until:
            break
        if isinstance(line.event, ev.StepCompleted | ev.ResultReused | ev.ManualTaskAnswered | ev.ResultReplaced):
            given = dict(line.data["exposed"] or {})
            given |= {name: f"blob {digest[:12]}" for name, digest, *_ in line.event.blobs}
            found[line.event.path] = given
    return found
