"""What a protocol stands on: a machine that a host runs, on Ray, in one process, or under a seed.

A machine decides and folds, and does nothing else. It is given a *stimulus*, with the time, and answers with a
``Transition``: what shall be recorded, and what follows from it. Its host keeps four promises:

1. **Recorded before sent.** All ``facts`` of a transition are durable, in one append to the instance's own stream at the
   expected position, before any of its ``sends``, ``timers`` or its ``reply`` goes out. If that append fails, nothing of
   the transition has happened. A question (``consults``) may be put before: what has no recorded answer is asked again.
2. **One at a time.** ``evolve`` has folded the facts and notes of a transition before the next stimulus is decided.
3. **Notes may be lost.** ``notes`` are folded like facts and are not stored: they are what a machine can ask for again.
   After a crash the state is the fold of the facts alone. A machine says by this choice, and nowhere else, what its
   safety stands on.
4. **Come back, then go on.** After a crash the facts are folded and the machine is given ``Began`` with an incarnation
   that is one higher than any before. What it owes (timers, questions, messages) it then says anew.

A host promises nothing of messages: they may be lost, doubled, delayed and reordered. A timer fires never early, perhaps
late, and once for each time it was set; setting a timer of the same name again moves it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Generic, NamedTuple, Protocol, TypeVar

from kos_runtime.core.envelope import Envelope
from kos_runtime.core.event import event
from kos_runtime.core.terms import term

S = TypeVar("S")


# --- what comes in ------------------------------------------------------------------------------


class Began(NamedTuple):
    """The instance starts, or has come back from its records. The host counts ``incarnation``, from 1."""

    incarnation: int


class Received(NamedTuple):
    """A message came."""

    envelope: Envelope


class Fired(NamedTuple):
    """A timer that was set is due."""

    timer: str


class Commanded(NamedTuple):
    """Somebody outside of the protocol wants something: an engine, an agent that answers, a person."""

    command: Any


Stimulus = Began | Received | Fired | Commanded


@term("answered")
class Answered(NamedTuple):
    """A question that a machine asked has been answered by ``value``, or nobody answered, and ``error`` says why.

    It comes as a command, unless the machine says which one it wants instead (``Machine.answered``).
    """

    who: str
    key: str
    question: Any
    value: Any = None
    error: str = ""


# --- what goes out ------------------------------------------------------------------------------


class Send(NamedTuple):
    """A message that leaves; the host puts it into an envelope."""

    to: str
    body: Any


class SetTimer(NamedTuple):
    """Wake the machine up at an instant, in milliseconds of the log's clock; 0 takes the timer back."""

    name: str
    at: int


class Consult(NamedTuple):
    """Ask somebody who is no part of the protocol: an agent's action, a person.

    The answer comes as a command. A machine that came back consults again only where its facts hold no answer, and the
    host sends a question under the same ``key`` to nobody twice while the first is open.
    """

    who: str
    key: str
    question: Any


@dataclass(slots=True)
class Transition:
    """What one stimulus made a machine decide. See the promises at the head of this module for the order."""

    facts: Sequence[Any] = ()
    notes: Sequence[Any] = ()
    sends: Sequence[Send] = ()
    timers: Sequence[SetTimer] = ()
    consults: Sequence[Consult] = ()
    #: The keys of questions that need not be answered any more; a host may call them off.
    withdraws: Sequence[str] = ()
    #: The answer to a command, behind its facts like all else: a value, or ``Refused``.
    reply: Any = None
    #: Why a message changed nothing; it is recorded with the message.
    ignored: str = ""


@term("refused")
@dataclass(frozen=True, slots=True)
class Refused:
    """A command does not fit the state, or what it brings is wrong. Nothing was recorded."""

    code: str
    message: str


@event("coordination_recovered")
class Recovered:
    """An instance came back from its records. Its earlier lives can say nothing more that counts as new."""

    incarnation: int


class Machine(Protocol[S]):
    """A protocol. ``decide`` changes nothing; ``evolve`` changes the state in place, deterministically, and never refuses."""

    name: str
    version: int

    def initial(self, me: str, setup: Any) -> S:
        """Return the state of an instance that has recorded nothing yet."""

    def decide(self, state: S, stimulus: Stimulus, now: int) -> Transition:
        """Return what a stimulus makes of the state."""

    def evolve(self, state: S, fact: Any) -> None:
        """Fold one fact or note."""


# A machine may have more, of which a host makes use where it is there:
#
# ``asks(consult) -> (action, inputs)``: which action of whoever is asked answers a question, and what it is given;
#     else ``on_question`` is given the ``question``.
# ``answered(answered) -> command``: which command an answer is; else it is the ``Answered`` itself.
# ``consults(setup) -> names``: the agents that it cannot do without.
# ``to_plain(state) -> plain`` and ``from_plain(me, setup, plain) -> state``: its state as plain data, so that a host
#     need not keep all facts to make a snapshot of it.


# --- what a protocol must never do --------------------------------------------------------------


class Step(NamedTuple):
    """One transition as it took place: what a trace is a list of."""

    at: int
    #: Who decided it, and in which of its lives.
    node: str
    incarnation: int
    cause: Stimulus
    transition: Transition


#: A run of a protocol, in the order in which its transitions took place, and what it was set up with.
class Trace(NamedTuple):
    setup: Any
    steps: Sequence[Step]
    #: The nodes that were up and could reach a majority at the end, long enough to be expected to be done.
    healed: Sequence[str] = ()


#: An invariant returns what contradicts it; nothing when it holds.
Invariant = Callable[[Trace], list[str]]


class Registered(NamedTuple):
    """What an entry point of ``kos_runtime.machines`` names: a protocol, and the invariants by which any host checks it."""

    machine: Machine[Any]
    invariants: Mapping[str, Invariant]


def violations(trace: Trace, invariants: Mapping[str, Invariant]) -> list[str]:
    """Return what a trace contradicts, each with the name of the invariant."""
    return [f"{name}: {found}" for name, check in invariants.items() for found in check(trace)]


# --- who runs it for a driver script ------------------------------------------------------------


class Coordinator(Protocol):
    """What the three coordination classes ask of an engine: instances of machines, under the name of their stream."""

    async def open(self, stream: str, machine: Machine[Any], setup: Any, nodes: Sequence[str]) -> None:
        """Open an instance for each node, below ``stream``; one that is open already goes on as it is."""

    async def command(self, stream: str, node: str, command: Any) -> Any:
        """Give a node a command, and return its reply once that is durable."""

    async def until(self, stream: str, found: Callable[[Any], bool]) -> Any:
        """Return the first recorded fact of the stream's nodes that is what is looked for, or wait for it."""


@event("coordination_concluded")
class Concluded:
    """An instance has come to its end: ``outcome`` is plain data. A machine records it as the last of its facts."""

    outcome: Any


#: The machines that whoever put this process together has made known, by name.
_KNOWN: Final[dict[str, Callable[[], Registered]]] = {}
#: What finds a machine that is not among them.
_FINDERS: Final[list[Callable[[str], "Machine[Any] | None"]]] = []


def make_known(name: str, load: Callable[[], Registered]) -> None:
    """Let a machine be found by its name; it is loaded when it is asked for."""
    _KNOWN[name] = load


def look_up_by(find: Callable[[str], Machine[Any] | None]) -> None:
    """Let machines that were not made known be looked for by this function."""
    _FINDERS[:] = [find]


def machine_named(name: str) -> Machine[Any]:
    """Return a machine that was made known, or that is found otherwise.

    Raises:
        UnknownMachine: There is none of that name.
    """
    return registered(name).machine


def registered(name: str) -> Registered:
    """Return a machine that was made known, or is found otherwise, with its invariants.

    Raises:
        UnknownMachine: There is none of that name.
    """
    if name in _KNOWN:
        return _KNOWN[name]()
    for find in _FINDERS:
        found = find(name)
        if found is not None:
            return Registered(found, {})
    raise UnknownMachine(f"no machine {name!r} is installed here, which this step needs")


def is_known(machine: Machine[Any]) -> bool:
    """Say whether a machine is the one that was made known by its name."""
    return machine.name in _KNOWN and type(_KNOWN[machine.name]().machine) is type(machine)


def invariants_of(name: str) -> Mapping[str, Invariant]:
    """Return the invariants by which a machine that was made known is checked; none of one that was not."""
    return _KNOWN[name]().invariants if name in _KNOWN else {}


class UnknownMachine(LookupError):
    """No machine of that name is known in this process."""

    def __str__(self) -> str:
        return str(self.args[0])


class Run(Generic[S]):
    """A machine and its state, folded together: what every host holds of an instance."""

    __slots__ = ("machine", "state")

    def __init__(self, machine: Machine[S], me: str, setup: Any, facts: Sequence[Any] = ()) -> None:
        self.machine = machine
        self.state = machine.initial(me, setup)
        for fact in facts:
            machine.evolve(self.state, fact)

    def take(self, stimulus: Stimulus, now: int) -> Transition:
        """Decide and fold. The host stores the facts before it lets anything of the transition out."""
        made = self.machine.decide(self.state, stimulus, now)
        for fact in made.facts:
            self.machine.evolve(self.state, fact)
        for note in made.notes:
            self.machine.evolve(self.state, note)
        return made
