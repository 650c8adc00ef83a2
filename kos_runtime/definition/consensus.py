"""A step on which peers vote: what is compiled of it."""

from typing import TYPE_CHECKING, Any, Final

from kos_runtime.core.instant import parse_duration
from kos_runtime.core.plan import model
from kos_runtime.definition.problems import Path
from kos_runtime.definition.references import Scope, Use

if TYPE_CHECKING:
    from kos_runtime.definition.compile import Compiler

#: What inputs call the peer that is asked.
PEER: Final = "peer"
MAX_PEERS: Final = 1_000
#: The rules under which a peer may count more than once.
WEIGHED: Final = ("weighted", "approval", "schulze")
#: With ``agreement: paxos`` each is a process.
MAX_PROCESSES: Final = 100


def is_of_peers(raw: Any) -> bool:
    return isinstance(raw, dict) and raw.get("pattern") == "peer_to_peer"


def seen_by_peers(scope: Scope) -> Scope:
    """Return what the inputs of a peer's action can see: which peer it is, besides."""
    return Scope(
        names=scope.names, roots=scope.roots | {PEER}, prefix=scope.prefix, outer=scope.outer, items=True, turns=scope.turns
    )  # fmt: skip


def is_vote(raw: Any) -> bool:
    """Say whether a coordination is one that runs: a vote of peers."""
    return is_of_peers(raw) and isinstance(raw.get("consensus"), dict)


def compile_consensus(
    compiler: "Compiler", raw: dict[str, Any], path: Path, scope: Scope, where: str
) -> tuple[model.Form, Scope, list[Use]]:
    """Return the form of a vote. Each peer is asked by an item of it, named after its pool: ``panel-1``."""
    content, at, check = raw["coordination"], (*path, "coordination"), compiler.check
    said = content["consensus"]
    inside = seen_by_peers(scope)
    pool = content.get("peers", "")
    if not pool:
        check.fail((*at, "pattern"), "KOS101", f"step {raw.get('id')!r} needs peers: the pool that votes")
    count = replicas_of(compiler, pool)
    if pool and not count:
        hint = f"write agents: {{{pool}: {{agent: ..., replicas: 3}}}}"
        check.fail((*at, "peers"), "KOS101", f"how many of {pool!r} vote is not said", hint)
    by_peers = said.get("agreement", "paxos") == "paxos"
    if count > (most := MAX_PROCESSES if by_peers else MAX_PEERS):
        hint = f"with agreement: log up to {MAX_PEERS} vote" if by_peers and count <= MAX_PEERS else ""
        check.fail((*at, "peers"), "KOS106", f"at most {most} peers vote, not {count}", hint)
        count = 0
    electors = tuple(f"{pool}-{number}" for number in range(1, count + 1))
    weights = content.get("weights") or {}
    if weights and said.get("rule") not in WEIGHED:
        what = f"weights count under {', '.join(WEIGHED)}, and under {said.get('rule')} each peer counts once"
        check.warn((*at, "weights"), "KOS214", what, key=True)
    for name in weights:
        if count and name not in electors:
            check.fail((*at, "weights", name), "KOS201", f"no peer {name!r}", check.hint(name, electors))
        elif weights[name] < 1:
            check.fail((*at, "weights", name), "KOS106", f"the weight of {name!r} is at least 1")
    options = said.get("options") or ["yes", "no"]
    for key, unless in (("rounds", 1), ("deadline", None)):
        if not by_peers and said.get(key, unless) != unless:
            compiler.need(f"consensus with {key} and agreement: log", where, (*at, "consensus", key))
    if "conflicts" in content:
        compiler.need("conflicts between peers", where, (*at, "conflicts"))
    form = model.ForEach(
        items=list(electors),
        name=PEER,
        on_item_failure="collect",
        agent=compiler.agent(pool),
        action=raw.get("action", ""),
        consensus=model.Consensus(
            electors=electors,
            weights=dict(weights),
            rule=said.get("rule", "majority"),
            options=tuple(options),
            threshold=str(said.get("threshold", "")),
            participation=str(said.get("participation", "")),
            on_deadlock=said.get("on_deadlock", ""),
            agreement="paxos" if by_peers else "log",
            rounds=said.get("rounds", 1),
            deadline_ms=parse_duration(said["deadline"]) if "deadline" in said else 120_000,
        ),
    )
    return form, inside, []


def replicas_of(compiler: "Compiler", pool: str) -> int:
    """Return how many processes a pool has at most, as ``agents:`` says; 0 where it does not."""
    said = (compiler.content.get("agents") or {}).get(pool)
    replicas = said.get("replicas", 0) if isinstance(said, dict) else 0
    most = replicas.get("max", 0) if isinstance(replicas, dict) else replicas
    return most if isinstance(most, int) else 0
