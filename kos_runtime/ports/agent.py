"""The marks by which a class becomes an agent, and what its actions are given.

::

    class Greeter(Agent):
        @action
        def greet(self, name: str) -> dict[str, str]:
            return {"text": f"hello, {name}"}

Parameters and results are checked against their annotations at the agent's door. An action may be a plain or an
``async`` method; one that declares a parameter of type ``Context`` is given the context of its attempt. An agent
object lives as long as its process and may be called from several threads at once.
"""

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Final, Literal, Protocol, TypeVar, overload

from kos_runtime.core.failure import RECOVERY_ACTIONS, ErrorType

_F = TypeVar("_F", bound=Callable[..., Any])

#: The attribute under which ``action`` leaves its mark on a method.
MARK: Final = "__kos_action__"


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionMark:
    """What an action says of itself.

    ``over`` is a dotted path into the inputs that leads to an array: a step that says ``parallel: true`` is spread
    over slices of it. ``gather`` says how the parts' results become one: ``fields`` joins arrays and lists the rest,
    ``list`` makes every field an array of the parts' values. ``idempotent``: a second attempt may run beside the
    first. ``isolated``: while it runs its process does nothing else, and is ended when it does not stop at its timeout.
    """

    name: str = ""
    over: str | None = None
    gather: Literal["fields", "list"] | None = None
    idempotent: bool = False
    isolated: bool = False


@overload
def action(method: _F, /) -> _F: ...
@overload
def action(
    *,
    name: str = "",
    over: str | None = None,
    gather: Literal["fields", "list"] | None = None,
    idempotent: bool = False,
    isolated: bool = False,
) -> Callable[[_F], _F]: ...
def action(
    method: _F | None = None,
    /,
    *,
    name: str = "",
    over: str | None = None,
    gather: Literal["fields", "list"] | None = None,
    idempotent: bool = False,
    isolated: bool = False,
) -> _F | Callable[[_F], _F]:
    """Mark a method as an action that a workflow's step may name.

    Args:
        method: The method, when used without parentheses.
        name: The action's name; the method's own unless given.
        over: A dotted path into the inputs that leads to an array, for steps that are spread.
        gather: How the results of a spread step's parts become one.
        idempotent: Whether a second attempt may run beside the first.
        isolated: Whether it has a process for itself while it runs, which is ended when it does not stop in time.
    """

    def mark(target: _F) -> _F:
        setattr(
            target,
            MARK,
            ActionMark(
                name=name or target.__name__, over=over, gather=gather, idempotent=idempotent, isolated=isolated
            ),
        )
        return target

    return mark if method is None else mark(method)


class ActionFailed(Exception):
    """Raised by an action that knows what kind of failure it met.

    ``recoverable`` and ``suggested_action`` None mean what the kind says; the latter is retry, fallback, escalate, manual,
    skip or fail. ``details`` must be plain data; they are recorded.

    Raises:
        ValueError: There is no such kind, or no such action.
    """

    def __init__(
        self,
        kind: ErrorType | str,
        message: str,
        *,
        recoverable: bool | None = None,
        suggested_action: str | None = None,
        details: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(kind, message)
        if suggested_action is not None and suggested_action not in RECOVERY_ACTIONS:
            raise ValueError(f"no recovery action {suggested_action!r:.60}; there are {', '.join(RECOVERY_ACTIONS)}")
        self.kind = ErrorType(kind)
        self.message = message
        self.recoverable = recoverable
        self.suggested_action = suggested_action
        self.details = dict(details or {})

    def __str__(self) -> str:
        return self.message


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """A message's address and its causes. Agents are named as the definition names them."""

    #: Run, step, attempt and number in that; or run, step and the key that its sender gave it.
    id: str
    #: Its number in the run.
    number: int
    sender: str
    recipient: str
    #: The step whose attempt speaks, and which attempt of it that is.
    step: str
    attempt: int
    #: The conversation.
    correlation_id: str
    #: The message that its sender was handling, empty when it was none.
    causation_id: str
    #: The attempt that speaks was given up meanwhile: another one may say something else.
    superseded: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """Something that was said before in a conversation, and what was answered; None without an answer."""

    envelope: Envelope
    body: dict[str, Any]
    reply: Any = None


class MessageRefused(ActionFailed):
    """A message was not taken. ``code`` is nobody, no_handler, oversize, limit_exceeded, mailbox_full, too_deep, ending."""

    def __init__(self, code: str, kind: ErrorType | str, message: str) -> None:
        super().__init__(kind, f"{code}: {message}", details={"code": code})
        self.code = code

    def __reduce__(self) -> tuple[Any, ...]:
        return MessageRefused, (self.code, self.kind, self.message.removeprefix(f"{self.code}: "))


class Answer(Protocol):
    """What becomes of a message: to be awaited, or, in an action that is no coroutine, asked for by ``result``."""

    def result(self, timeout: float | None = None) -> Any:
        """Return a sent message's id once it is recorded, or the answer to one that asks.

        Raises:
            MessageRefused: It was not taken.
            ActionFailed: The recipient's action failed; the kind is dependency.
            TimeoutError: It took longer than so many seconds.
        """
        ...

    def __await__(self) -> Generator[Any, None, Any]: ...


class Context(Protocol):
    """What an attempt knows of itself, and how it speaks while it runs."""

    run: str
    #: The step's path, such as ``refine#2/gather[17]``.
    step: str
    #: From 1.
    attempt: int
    #: The same for every attempt of this step: hand it to services that honour such keys.
    idempotency_key: str
    #: Grows with every dispatch of this step; the number that outdates older attempts.
    fence: int
    #: A folder for what can be built again at any time, shared by the agents of a store on this machine.
    cache_dir: str

    def progress(self, message: str, fraction: float | None = None) -> None:
        """Say how far the attempt is; ``fraction`` from 0 to 1. Also a sign of life. Never blocks."""
        ...

    def heartbeat(self) -> None:
        """Give a sign of life."""
        ...

    @property
    def cancelled(self) -> bool:
        """Whether the attempt was asked to stop; a long action looks at it now and then."""
        ...

    def log(self, message: str, **fields: Any) -> None:
        """Write one structured line that carries run, step and attempt."""
        ...

    @property
    def message(self) -> Envelope | None:
        """The message that is handled; None in a step."""
        ...

    @property
    def conversation(self) -> list[Turn]:
        """What was said before in the conversation of the message that is handled, oldest first; the newest 256 KiB."""
        ...

    def send(
        self, to: str, body: Mapping[str, Any], *, action: str = "on_message", key: str = "", conversation: str = ""
    ) -> Answer:
        """Send a message to an agent of the run, whose ``action`` handles it with ``body`` as its inputs.

        It is recorded before it is delivered, and before the attempt's own result is; a refusal that nobody looks at
        fails the attempt. With a ``key`` it is sent once over all attempts of the step.
        """
        ...

    def ask(
        self, to: str, body: Mapping[str, Any], *, action: str = "on_message", key: str = "", conversation: str = ""
    ) -> Answer:
        """Send a message and wait for what its handler returns."""
        ...


class Agent:
    """Somebody who does the work of steps. Its actions are the methods marked by ``action``.

    ``kind`` is the name that a workflow uses and a person reads on the dashboard; the class's name unless given.
    ``aliases`` are further names that it answers to. ``shares_settings_of`` names a kind whose settings it takes over
    where it has none of its own. ``version`` is raised when its actions begin to give something else for the same inputs:
    results that were kept before are then not taken any more.
    """

    kind: ClassVar[str] = ""
    version: ClassVar[str] = ""
    aliases: ClassVar[tuple[str, ...]] = ()
    shares_settings_of: ClassVar[str] = ""

    def __init__(self, settings: Mapping[str, Any] | None = None) -> None:
        self.settings: dict[str, Any] = dict(settings or {})

    @classmethod
    def link_settings(cls, settings: Mapping[str, Any], cache_dir: str) -> dict[str, Any]:
        """Return the settings as they are recorded when a run is linked, with what identifies outside data.

        Called once a process, before any run starts, where files and packages may be looked at. What it returns
        must be plain data; the agent's processes are made with it.

        Raises:
            ValueError: The settings cannot work; the message says which, and what to do.
        """
        del cache_dir
        return dict(settings)

    @classmethod
    def actions(cls) -> dict[str, tuple[str, ActionMark]]:
        """Return the actions by name: the method's attribute and its mark."""
        found: dict[str, tuple[str, ActionMark]] = {}
        for attribute in dir(cls):
            mark = getattr(getattr(cls, attribute, None), MARK, None)
            if isinstance(mark, ActionMark):
                found[mark.name] = (attribute, mark)
        return found
