"""The engine's bounds: how many, how much, how long, and what happens there."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Counts, bytes and milliseconds.

    At ``max_active_runs`` a further run waits as *pending*; at ``max_pending_runs`` a create is refused as *busy*.
    At ``max_parked`` inputs for runs that are being loaded, signals and commands are refused as *busy*.
    """

    max_active_runs: int = 100
    max_pending_runs: int = 10_000
    max_parked: int = 10_000
    #: A batch of input ends at so many.
    max_batch: int = 1_024
    #: One record holds at most so many events; more make several records of one commit.
    max_record_events: int = 256
    #: And about so many bytes.
    max_record_bytes: int = 262_144
    #: What a process may hold beyond its own hands is worth so much work, by what its actions have taken so far.
    ahead_ms: float = 200.0
    #: Of actions that take longer than a millisecond it is less, in proportion, down to this: what a process holds already is
    #: ahead of whoever comes next.
    ahead_least_ms: float = 20.0
    max_ahead: int = 2_048
    #: Unpacked contents of blobs that evaluations asked for: so many bytes, packed, are kept, and are loaded at once.
    max_cached_bytes: int = 64 << 20
    #: Retries further away than this are stored as timers and need no memory.
    long_timer_ms: int = 60_000
    #: The wall clock is looked at so often while something follows it.
    wall_look_ms: int = 1_000
    #: An agent that stays silent so much longer than its timeout is given up.
    grace_ms: int = 10_000
    #: A snapshot is taken when the tail is longer than this and than half of what precedes it.
    snapshot_records: int = 1_000
    #: An evicted run gets a snapshot when its tail is longer than this.
    snapshot_at_rest: int = 64
    #: A run that does something gets one so often besides, in milliseconds; 0 for never.
    checkpoint_ms: int = 300_000
    #: The liveness invariant is checked so often.
    sweep_ms: int = 10_000
