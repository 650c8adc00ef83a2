"""Who a person is: what the configuration says of roles, and how somebody proves it."""

from dataclasses import dataclass
from hashlib import sha256
from hmac import compare_digest

from kos_runtime.core.nearest import nearest
from kos_runtime.core.workflow.people import EVERY_ROLE
from kos_runtime.definition.settings import EngineSettings


class Unproven(ValueError):
    """Somebody is not who they say, or nobody that is known."""


@dataclass(frozen=True, slots=True)
class Person:
    """``name`` is ``user:NAME``; ``right`` says where the roles come from, for the log."""

    name: str
    roles: list[str]
    right: str


def identify(settings: EngineSettings, claimed: str, token: str, author: str) -> Person:
    """Return who decides. ``claimed`` is a name that was given (empty: the author's own), ``author`` ``user:NAME@HOST``.

    Raises:
        Unproven: The name is not known, or its token is missing or wrong.
    """
    own = author.removeprefix("user:").partition("@")[0]
    name = claimed.removeprefix("user:") or own
    known = settings.people
    if known and claimed and name not in known:
        near = nearest(name, tuple(known))
        raise Unproven(f"nobody is called {name!r} under people:" + (f"; did you mean {near!r}?" if near else ""))
    proof = f"said by {author}"
    if settings.tokens:
        expected = settings.tokens.get(name)
        if expected is None:
            raise Unproven(f"{name!r} has no token, and tokens are configured; say who decides by --as NAME")
        if not token:
            raise Unproven(f"the token of {name!r} is missing; give it in KOS_TOKEN")
        if not compare_digest(
            sha256(token.encode(errors="surrogatepass")).hexdigest().encode(), expected.strip().casefold().encode()
        ):
            raise Unproven(f"that is not the token of {name!r}")
        proof = "by token"
    if known:
        roles = list(known.get(name, ()))
        return Person(f"user:{name}", roles, f"roles: {', '.join(roles) or 'none'}; {proof}")
    if name == own:
        return Person(f"user:{name}", [EVERY_ROLE], f"every role: no people are configured; {proof}")
    return Person(f"user:{name}", [], f"no roles: no people are configured; {proof}")
