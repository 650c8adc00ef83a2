"""Protocols between agents, as pure machines on ``kos_runtime.core.machine``."""

from typing import Any

_PUBLIC = {
    "MasterSlaveCoordination": "master_slave", "TaskDistribution": "master_slave", "AggregatedResult": "master_slave",
    "PeerToPeerCoordination": "peer_to_peer", "Proposal": "peer_to_peer", "ConsensusResult": "peer_to_peer",
    "LoadDistribution": "peer_to_peer",
    "HierarchicalCoordination": "hierarchical", "AuthorityGrant": "hierarchical", "NotAllowed": "hierarchical",
    "DelegationResult": "authority", "RecoveryAction": "assignment",
    "Grant": "grant", "Limits": "grant", "Use": "grant", "Hierarchy": "levels", "hierarchy": "levels",
    "Version": "conflict", "Resolution": "conflict",
}  # fmt: skip

__all__ = sorted(_PUBLIC)  # noqa: PLE0605


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = __import__(f"{__name__}.{_PUBLIC[name]}", fromlist=[name])
    return getattr(module, name)
