"""Peers that come to one mind, share work and settle conflicts, with no one above them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from coordination.conflict import Resolution, Version, resolve, settle
from coordination.consensus import ConsensusPeer, Vote
from coordination.load import Balanced, Balancer, Submit, fairness
from coordination.merging import text
from coordination.voting import question
from kos_runtime.core.machine import Concluded, Coordinator, Refused


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """What peers are to decide, and how."""

    subject: str
    options: Sequence[str] = ("yes", "no")
    rule: str = "majority"
    #: The share of the weight cast that wins, and that of the electorate that must vote: ``2/3``, ``0.5``.
    threshold: str | None = None
    participation: str | None = None
    rounds: int = 1
    deadline_ms: int = 120_000
    #: Whether the option declared first wins a tie.
    breaks_ties: bool = False


class ConsensusResult(NamedTuple):
    """What came of a proposal. ``outcome`` is the option, or ``tie``, ``no_majority`` or ``no_quorum``."""

    outcome: str
    accepted: bool
    #: Of each elector that voted: ``{elector, choices, reason}``.
    votes: list[dict[str, Any]]
    rounds: int
    certificate: dict[str, Any]


class LoadDistribution(NamedTuple):
    """Who has what, and how even that is, from 1/n to 1."""

    assignments: dict[str, tuple[str, ...]]
    fairness: float


class PeerToPeerCoordination:
    """Coordination without anyone in the middle. The engine holds the streams; all IO is its own.

    Args:
        engine: What runs the machines.
        peers: The names of the peers.
        name: What the streams of this coordination begin with. The same name and number goes on with what there is.
        weights: Of peers that count more than once, under ``weighted``, ``approval`` and ``schulze``.
        ranks: Of peers whose word counts where ``priority`` settles a conflict.
        seed: Of all draws.
    """

    def __init__(
        self,
        engine: Coordinator,
        peers: Sequence[str],
        *,
        name: str = "peers",
        weights: Mapping[str, int] | None = None,
        ranks: Mapping[str, int] | None = None,
        seed: int = 0,
    ) -> None:
        unknown = sorted({*(weights or {}), *(ranks or {})} - set(peers))
        if unknown:
            raise ValueError(f"{unknown[0]!r} is no peer; peers: {', '.join(peers)}")
        self.peers = tuple(peers)
        self._engine, self._name, self._seed = engine, name, seed
        self._weights, self._ranks = dict(weights or {}), dict(ranks or {})
        self._count = 0

    async def reach_consensus(self, proposal: Proposal) -> ConsensusResult:
        """Let the peers vote on a proposal and agree on what came of it.

        Raises:
            ValueError: The proposal or the electorate is not in order; the message says what to do.
        """
        if len(set(self.peers)) != len(self.peers):
            twice = next(peer for peer in self.peers if self.peers.count(peer) > 1)
            raise ValueError(f"{twice!r} stands twice in the electorate")
        asked = question(
            proposal.subject,
            proposal.options,
            {peer: self._weights.get(peer, 1) for peer in self.peers},
            rule=proposal.rule,
            threshold=proposal.threshold,
            participation=proposal.participation,
            breaks_ties=proposal.breaks_ties,
        )
        if not 1 <= proposal.rounds <= 100:
            raise ValueError(f"a proposal has 1 to 100 rounds, not {proposal.rounds}")
        stream = self._stream("consensus")
        vote = Vote(asked, stream, proposal.deadline_ms, proposal.rounds, self._seed)
        await self._engine.open(stream, ConsensusPeer(), vote, self.peers)
        concluded = await self._engine.until(stream, _is_concluded)
        return ConsensusResult(**concluded.outcome)

    async def balance_load(self, tasks: Sequence[str]) -> LoadDistribution:
        """Give each task to one peer, by two random choices.

        Raises:
            ValueError: There are too many tasks, or no peer.
        """
        stream = self._stream("load")
        await self._engine.open(stream, Balancer(), Balanced(self.peers, self._seed), ["load"])
        placed = await self._engine.command(stream, "load", Submit(tuple(tasks)))
        if isinstance(placed, Refused):
            raise ValueError(placed.message)  # noqa: TRY004  # not a wrong type: too many
        found: dict[str, list[str]] = {peer: [] for peer in self.peers}
        for task, peer in placed.items():
            found[peer].append(task)
        even = fairness({peer: len(given) for peer, given in found.items()})
        return LoadDistribution({peer: tuple(given) for peer, given in found.items()}, even)

    async def resolve_conflict(
        self,
        versions: Sequence[Version],
        strategies: Mapping[str, str],
        default: str = "escalate",
        rule: str = "majority",
    ) -> Resolution:
        """Settle a conflict: by what was known, then field by field as ``strategies`` say. The peers vote where it is theirs.

        What is left in ``open`` of the resolution is for whoever it is escalated to; a vote without an option that won too.

        Raises:
            ValueError: A strategy does not exist, or a value does not fit its type.
        """
        ranked = [
            version if version.rank or version.author not in self._ranks
            else Version(version.author, version.seen, version.fields, self._ranks[version.author])
            for version in versions
        ]  # fmt: skip
        resolution = resolve(ranked, strategies, default)
        for name, (strategy, values) in resolution.open.items():
            if strategy != "vote":
                continue
            said = {text(value): value for value, _ in values}
            result = await self.reach_consensus(
                Proposal(subject=f"which value has {name}?", options=tuple(said), rule=rule)
            )
            if result.accepted:
                resolution = settle(resolution, name, said[result.outcome], "vote")
        return resolution

    def _stream(self, what: str) -> str:
        self._count += 1
        return f"coordination/{self._name}/{what}-{self._count}"


def _is_concluded(fact: Any) -> bool:
    return type(fact) is Concluded
