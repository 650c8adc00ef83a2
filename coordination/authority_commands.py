"""What may be asked of a hierarchy, as objects and as plain data.

As plain data a command is ``{"do": "act", …}``: its class in small letters and its fields, a use as ``[agent, action, target,
cost]``, a grant as the object of its fields with its limits beside them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Final, Literal, NamedTuple

from coordination.grant import Grant, Limits, Use
from kos_runtime.core.terms import term


@term("authority.issue")
@dataclass(frozen=True, slots=True)
class Issue:
    """Give a grant. Roots come from the person alone."""

    grant: Grant


@term("authority.revoke")
@dataclass(frozen=True, slots=True)
class Revoke:
    grant: str
    by: str


@term("authority.check")
@dataclass(frozen=True, slots=True)
class Check:
    """Ask; nothing is recorded. The reply is the grant's id, or ``Refused``."""

    use: Use


@term("authority.act")
@dataclass(frozen=True, slots=True)
class Act:
    """Do something under a grant: checked and recorded in one."""

    use: Use
    grant: str = ""


@term("authority.perform")
@dataclass(frozen=True, slots=True)
class Perform:
    """Do a piece of work that needs all these uses: under a grant each, or not at all. Checked and recorded in one.

    The same piece of work (``of``) may be done several times, after a failure or a death: it counts towards limits once.
    """

    uses: tuple[Use, ...]
    of: str
    #: The grant that was given for it, which comes first.
    grant: str = ""


@term("authority.delegate")
@dataclass(frozen=True, slots=True)
class Delegate:
    """Hand a task to another level, with the authority that it needs."""

    task: str
    by: str
    direction: Literal["up", "down"]
    level: int
    use: Use | None = None
    #: How long the grant that goes down with it is worth something.
    expires_ms: int = 3_600_000
    #: How often what is cut may be used; None: as often as what it is cut from.
    count: int | None = None
    #: To whom; empty: at that level to whoever has least to do, or, upwards, to who stands there.
    to: str = ""


@term("authority.escalate")
@dataclass(frozen=True, slots=True)
class Escalate:
    """Ask those above for authority that one does not have."""

    request: str
    use: Use
    reason: str = ""
    expires_ms: int = 3_600_000
    #: So often may be handed on what is asked for.
    depth: int = 0


@term("authority.withdraw")
@dataclass(frozen=True, slots=True)
class Withdraw:
    """Nobody needs any more what was asked for."""

    request: str
    why: str


@term("authority.answer")
@dataclass(frozen=True, slots=True)
class Answer:
    request: str
    by: str
    verdict: Literal["grant", "deny", "pass"]
    comment: str = ""


@term("authority.delegated")
class DelegationResult(NamedTuple):
    """Who took it, at which level, under which grant; or why nobody did."""

    task: str
    taken_by: str = ""
    level: int = -1
    grant: str = ""
    refused: str = ""


@term("authority.show")
@dataclass(frozen=True, slots=True)
class Show:
    """Ask for everything that was granted, used, handed on and asked for. The reply is plain data."""


_COMMANDS: Final[Mapping[str, type[Any]]] = {
    made.__name__.lower(): made
    for made in (Issue, Revoke, Check, Act, Perform, Delegate, Escalate, Answer, Withdraw, Show)
}
_LIMITS: Final = ("cost", "count", "fan_out")


def command_of(plain: Mapping[str, Any]) -> Any:
    """Return the command that plain data stand for.

    Raises:
        ValueError: There is none of that name, or a field of it is missing, unknown or of a wrong kind.
    """
    made = _COMMANDS.get(str(plain.get("do")))
    if made is None:
        raise ValueError(f"a hierarchy does not know the command {plain.get('do')!r:.80}")
    given = {name: value for name, value in plain.items() if name != "do"}
    try:
        if "use" in given:
            given["use"] = None if given["use"] is None else Use(*given["use"])
        if "uses" in given:
            given["uses"] = tuple(Use(*use) for use in given["uses"])
        if made is Issue:
            given["grant"] = grant_of(given["grant"])
        return made(**given)
    except (TypeError, KeyError) as error:
        raise ValueError(f"that is no {plain['do']}: {error}") from error


def grant_of(plain: Mapping[str, Any]) -> Grant:
    """Return the grant that plain data stand for.

    Raises:
        TypeError, ValueError: It lacks something, or has something that a grant has not.
    """
    given = dict(plain)
    limits = Limits(**{name: given.pop(name) for name in _LIMITS if given.get(name) is not None})
    for name in _LIMITS:
        given.pop(name, None)
    unknown = [name for name in given if name not in {f.name for f in fields(Grant)}]
    if unknown:
        raise ValueError(f"a grant has no {unknown[0]!r}")
    return Grant(**{**given, "actions": tuple(given["actions"]), "limits": limits})
