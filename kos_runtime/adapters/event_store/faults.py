"""What SQLite says went wrong, in the words of the port."""

import apsw

from kos_runtime.core.errors import (
    InvariantViolation,
    KosError,
    StoreBusy,
    StoreDamaged,
    StoreFull,
    StoreReadOnly,
    Unreachable,
)


def definite(error: BaseException, where: str) -> BaseException | None:
    """Translate an error from inside a transaction that was then rolled back.

    Returns:
        What to raise, which is the error itself if SQLite had no part in it; None when nobody can say what the error
        leaves behind (an I/O error above all: after a failed fsync the next one succeeds and proves nothing).
    """
    match error:
        case apsw.FullError() | apsw.TooBigError():
            return StoreFull(where)
        case apsw.ReadOnlyError() | apsw.PermissionsError():
            return StoreReadOnly(where)
        case apsw.BusyError() | apsw.LockedError():
            return StoreBusy(where)
        case apsw.CorruptError() | apsw.NotADBError() | apsw.FormatError() | apsw.SQLError():
            return StoreDamaged(where, str(error))
        case apsw.ConstraintError() | TypeError() | OverflowError():
            return InvariantViolation(f"{where} refused a batch that contradicts itself or the log: {error}")
        case apsw.Error():
            return None
        case _:
            return error


def reading(error: apsw.Error, where: str) -> KosError:
    """Translate an error from a read."""
    match error:
        case apsw.BusyError() | apsw.LockedError() | apsw.ProtocolError():
            return StoreBusy(where)
        case apsw.CorruptError() | apsw.NotADBError() | apsw.FormatError() | apsw.SQLError():
            return StoreDamaged(where, str(error))
        case _:
            return Unreachable(f"{where} cannot be read: {error}")
