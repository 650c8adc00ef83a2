"""Bugs planted into what follows a death: taking over, reading back, going on."""

from typing import Final

from tests.proof.planting import Mutant

_PARTITION: Final = "kos_runtime.engine.partition"
MUTANTS: Final = (
    Mutant(
        "log-time-goes-back", "recovery", _PARTITION,
        "self.time = self.pools.now = self.recorder.time = max(self.time, now)", "self.time = self.pools.now = self.recorder.time = now - 40",
        "an owner's time is behind that of the one before it",
    ),
    Mutant(
        "not-recovered", "recovery", "kos_runtime.engine.host",
        "                partition.recover(row.run)\n", "                pass\n",
        "a new owner leaves runs at work where they were",
    ),
    Mutant(
        "follow-not-restored", "recovery", "kos_runtime.core.workflow.snapshot",
        'scope.follow = {id: (after[0], after[1]) for id, after in plain["follow"].items()}', "scope.follow = {}",
        "what comes next on a decision's path is not in a snapshot",
    ),
    Mutant(
        "first-of-a-page", "recovery", "kos_runtime.engine.host",
        "                loaded.last_hash, loaded.last_offset = records[-1].hash, records[-1].offset\n        except",
        "                loaded.last_hash, loaded.last_offset = records[0].hash, records[0].offset\n        except",
        "a run that is read back goes on from another record than its last",
    ),
    Mutant(
        "one-record-skipped", "recovery", "kos_runtime.engine.host",
        "            after += len(stored.records)\n", "            after += len(stored.records) + 1\n",
        "of a run with a long history one record is not read",
    ),
    Mutant(
        "repeated-when-settled", "recovery", "kos_runtime.adapters.agent_runner.ledger",
        "                elif key not in self._settled:\n", "                else:\n",
        "a dispatch that comes again after its outcome was stored is done again",
    ),
    Mutant(
        "chain-of-the-snapshot", "recovery", "kos_runtime.engine.recorder",
        "SnapshotRow(run_stream(run.id), meta.position, meta.offset, FINGERPRINT, meta.hash, state)",
        "SnapshotRow(run_stream(run.id), meta.position, self.offset, FINGERPRINT, meta.hash, state)",
        "a snapshot says that it stands at the end of the log",
    ),
)  # fmt: skip
