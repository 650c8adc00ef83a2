"""Bugs planted into the store, that of a file and that of simulations."""

from typing import Final

from tests.proof.planting import Mutant

_SQLITE: Final = "kos_runtime.adapters.event_store.sqlite"
_JOURNAL: Final = "kos_runtime.adapters.event_store.journal"
_VERIFY: Final = "kos_runtime.core.verify"
MUTANTS: Final = (
    Mutant(
        "synced-now-and-then", "store", "kos_runtime.adapters.event_store.connection",
        'connection.pragma("synchronous", tuning.synchronous)', 'connection.pragma("synchronous", "NORMAL")',
        "a commit returns before it is on the disk", "power-loss",
    ),
    Mutant(
        "rows-of-two-transactions", "store", "kos_runtime.adapters.event_store.writing",
        "    if batch.runs:\n", '    if batch.runs and not (execute("COMMIT", ()), execute("BEGIN", ())) == ():\n',
        "records and rows of runs are stored one after the other", "power-loss",
    ),
    Mutant(
        "not-synced", "store", _JOURNAL,
        '        hit("append.commit")\n        self.disk.sync()\n', '        hit("append.commit")\n',
        "a frame is not synced",
    ),
    Mutant(
        "torn-frames-stay", "store", _JOURNAL,
        "            self.disk.truncate(at)\n", "            pass\n",
        "what is torn is not cut off, and the next frame stands behind it",
    ),
    Mutant(
        "commands-not-kept", "store", _JOURNAL,
        '"commands": CommandRow, ', "",
        "which commands were carried out is not on the disk",
    ),
    Mutant(
        "timers-not-kept", "store", _JOURNAL,
        '"timers_set": TimerRow, ', "",
        "timers are not on the disk",
    ),
    Mutant(
        "epoch-not-covered", "store", _VERIFY,
        "    if its_epoch != epoch:\n", "    if its_epoch > epoch:\n",
        "an epoch that was lowered is not found", "tamper",
    ),
    Mutant(
        "root-not-covered", "store", _VERIFY,
        "        if first is not None or batch_root(expected) != root:\n", "        if first is not None or (count > 1 and batch_root(expected) != root):\n",
        "the root of a commit of one record is not looked at", "tamper",
    ),
    Mutant(
        "surplus-not-seen", "store", _VERIFY,
        "    if surplus is not None:\n        return about(surplus", "    if surplus is not None and surplus[0] != after:\n        return about(surplus",
        "a record behind the last commit is not found", "tamper",
    ),
    Mutant(
        "unsynced-once-copied", "store", _SQLITE,
        "            self._readable().wal_checkpoint(mode=mode)\n",
        '            self._readable().execute("PRAGMA synchronous = NORMAL").connection.wal_checkpoint(mode=mode)\n',
        "once the write-ahead log was copied, a commit returns before it is on the disk", "power-loss",
    ),
    Mutant(
        "sectors-believed", "store", _JOURNAL,
        "len(body) != length or crc32(body) != checksum:", "len(body) != length or (length > 480 and crc32(body) != checksum):",
        "a frame that fits into one sector is taken for whole",
    ),
    Mutant(
        "cut-too-far", "store", _JOURNAL,
        "            self.disk.truncate(at)\n", "            self.disk.truncate(at and at - 1)\n",
        "with what is torn the last byte of what is whole is cut off",
    ),
)  # fmt: skip
