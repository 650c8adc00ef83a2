"""Exceptions: what the world, or we ourselves, did wrong.

::

    KosError
    ├── InvariantViolation          we failed: stop what is at hand, keep the history
    ├── UserError                   what a person gave does not fit; carries the exit code
    │   ├── InvalidDefinition       3   a workflow, settings or inputs; or the run is not in a state for it
    │   ├── NotFound                4   no such run, step or agent, or an ambiguous prefix
    │   └── Unreachable             7   the store or the cluster
    └── StoreError                  the log's store
        ├── definite (it did not happen)
        │   ├── Fenced              somebody else owns the partition now
        │   ├── AppendConflict      the next offset is another one
        │   ├── StoreFull           no space; try again later
        │   ├── StoreReadOnly       the file may not be written
        │   ├── StoreBusy           locked by a reader or writer for too long
        │   ├── StoreTooNew         written by a newer version
        │   └── StoreDamaged        what is stored does not check out
        └── AppendUnknown           indefinite: it may or may not have happened

A refused command is no exception but a value (``Rejected``), and so is a failed step (``WorkflowError``).
"""


class KosError(Exception):
    """Everything this package raises on purpose."""


class InvariantViolation(KosError):
    """Something that cannot be, is. The run at hand is set aside; its history is kept."""


class UserError(KosError):
    """A person's mistake: said in one message, without a traceback."""

    exit_code = 2


class InvalidDefinition(UserError):
    """A definition, a configuration or inputs that cannot be used."""

    exit_code = 3


class NotFound(UserError):
    """Nothing, or more than one thing, goes by that name."""

    exit_code = 4


class Unreachable(UserError):
    """The store or the cluster cannot be reached or is not ours."""

    exit_code = 7


class ConnectionLost(Unreachable):
    """Whoever was asked ended before it answered; whether it did what it was asked is not known."""


class StoreError(KosError):
    """The log's store could not do what was asked."""

    definite = True


class Fenced(StoreError):
    """A newer epoch owns the partition; nothing of this was stored. Stop, and never claim again."""

    def __init__(self, partition: int, epoch: int, current: int) -> None:
        super().__init__(partition, epoch, current)
        self.partition, self.epoch, self.current = partition, epoch, current

    def __str__(self) -> str:
        return f"fenced: epoch {self.epoch} < {self.current} on partition {self.partition}"


class AppendConflict(StoreError):
    """Another writer came first; nothing of this append was stored. Reload, decide again."""

    def __init__(self, partition: int, expected_offset: int, actual_offset: int) -> None:
        super().__init__(partition, expected_offset, actual_offset)
        self.partition, self.expected_offset, self.actual_offset = partition, expected_offset, actual_offset

    def __str__(self) -> str:
        return (
            f"conflict on partition {self.partition}: next offset is {self.actual_offset}, not {self.expected_offset}"
        )


class StoreFull(StoreError):
    """No space left; nothing of this was stored. The same append may succeed later."""

    def __init__(self, where: str) -> None:
        super().__init__(where)
        self.where = where

    def __str__(self) -> str:
        return f"storage_full: no space left for {self.where}; free some, the run goes on by itself"


class StoreReadOnly(StoreError):
    """The store may not be written; nothing of this was stored."""

    def __init__(self, where: str) -> None:
        super().__init__(where)
        self.where = where

    def __str__(self) -> str:
        return f"storage_read_only: {self.where} cannot be written; check its permissions and mount"


class StoreBusy(StoreError):
    """Somebody held the store for longer than the busy timeout; nothing of this was stored."""

    def __init__(self, where: str) -> None:
        super().__init__(where)
        self.where = where

    def __str__(self) -> str:
        return f"storage_busy: {self.where} is locked by another process"


class StoreTooNew(StoreError):
    """The store was written by a newer version and is left alone."""

    def __init__(self, where: str, found: int, known: int) -> None:
        super().__init__(where, found, known)
        self.where, self.found, self.known = where, found, known

    def __str__(self) -> str:
        return (
            f"{self.where} has format {self.found}, this version knows up to {self.known}; "
            "install the version that wrote it, or a newer one"
        )


class StoreDamaged(StoreError):
    """What is stored contradicts itself; the history is not replayed beyond that point."""

    def __init__(self, where: str, reason: str) -> None:
        super().__init__(where, reason)
        self.where, self.reason = where, reason

    def __str__(self) -> str:
        return f"{self.where} is damaged: {self.reason}; `kos verify --all` names the first bad record"


class AppendUnknown(StoreError):
    """Nobody knows whether the append happened. Decided only behind a new epoch, by reading the tail."""

    definite = False

    def __init__(self, partition: int, reason: str) -> None:
        super().__init__(partition, reason)
        self.partition, self.reason = partition, reason

    def __str__(self) -> str:
        return f"storage_failed: the outcome of an append to partition {self.partition} is unknown: {self.reason}"
