"""Checkpoints of runs: made, listed, deleted, restored from; by hand, and by an interval.

A checkpoint is named ``RUN@SEQ``: the run as it was after that event. What is kept for it is a cache. Where it is lost or damaged
the log is folded to that event instead, with a warning and nothing else.
"""

import time
import warnings
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from kos_runtime.client import folding
from kos_runtime.client.engine import RunHandle, RunWaits, WorkflowEngine
from kos_runtime.client.state import WorkflowState, checkpoints, keep, state_of
from kos_runtime.core.errors import InvalidDefinition, NotFound, Unreachable
from kos_runtime.core.identity import run_stream
from kos_runtime.core.workflow import events as ev

_ENDS: Final = (
    ev.StepCompleted, ev.ResultReused, ev.StepSkipped, ev.ManualTaskAnswered, ev.ItemsJoined, ev.ConsensusReached, ev.GroupSettled, ev.LoopEnded, ev.DecisionEnded,
    ev.VariablesSet, ev.EventEmitted, ev.JoinReached,
)  # fmt: skip

_LOOK_S: Final = 0.02
#: A run may seem to have no owner for so many looks in a row, while another takes over.
_MOST_GONE: Final = 100


class CheckpointLost(UserWarning):
    """A checkpoint is gone or damaged; the log was folded instead, which takes longer."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """``automatic``: the engine's own, which its next one replaces. ``damaged`` says why its file cannot be read."""

    id: str
    run: str
    seq: int
    step: str
    by: str
    created_at: datetime
    automatic: bool = False
    damaged: str = ""


class CheckpointManager:
    """Checkpoints of an engine's runs."""

    def __init__(self, engine: WorkflowEngine) -> None:
        self._engine = engine

    def create_checkpoint(self, run: str | RunHandle, step: str = "") -> Checkpoint:
        """Keep a run as it is now, or as it was right after a step was done.

        Raises:
            NotFound: There is no such run, or the step is not done.
        """
        id = self._find(run)
        seq = self._done(id, step) if step else None
        kept = keep(self._engine, folding.folded(self._engine.reading, id, seq), step=step)
        return _of(kept)

    def restore_from_checkpoint(self, checkpoint: str, *, fork: bool = False, reason: str = "") -> WorkflowState:
        """Go on from a checkpoint, and return the state from which that is.

        In place while nothing that was done since is felt outside, or all of it can be undone: then that is done first, and
        this waits for it. With ``fork`` as a run of its own, whose id the state has.

        Raises:
            RunWaits: Something could not be undone and waits for a person; the run goes back when that is answered.
            NotFound: There is no such run or event.
            InvalidDefinition: In place it cannot be: the step that stands against it is named.
        """
        run, seq = self._split(checkpoint)
        self._look(run, seq)
        engine = self._engine
        if fork:
            handle = engine.fork(run, seq, reason=reason or f"checkpoint {checkpoint}")
            return self._right_after(handle.id, ev.RunForked)
        said = engine.restore(run, seq, reason=reason or f"checkpoint {checkpoint}")
        if said["event"] == "RunTakenBack":
            self._until_restored(run, int(said["position"]))
        return self._right_after(run, ev.RunRestored)

    def list_checkpoints(self, run: str | RunHandle) -> list[Checkpoint]:
        """Return a run's checkpoints, the oldest event first.

        Raises:
            NotFound: There is no such run.
        """
        id = self._find(run)
        store = checkpoints(self._engine)
        found: list[Checkpoint] = []
        for seq in store.positions(id):
            try:
                found.append(_of(store.get(id, seq)))
            except KeyError:
                continue
            except ValueError as error:
                found.append(
                    Checkpoint(f"{id}@{seq}", id, seq, "", "", datetime.fromtimestamp(0, UTC), damaged=str(error))
                )
        own = folding.snapshot_of(self._engine.reading, id)
        if own is not None and own.position not in {checkpoint.seq for checkpoint in found}:
            (record,) = self._engine.reading.log.stream(run_stream(id), after=own.position - 1, limit=1)
            at = datetime.fromtimestamp(record.time / 1_000, UTC)
            found.append(Checkpoint(f"{id}@{own.position}", id, own.position, "", "", at, automatic=True))
        return sorted(found, key=lambda checkpoint: checkpoint.seq)

    def delete_checkpoint(self, checkpoint: str) -> None:
        """Delete a checkpoint that was made by hand. The event stays, and can still be gone back to.

        Raises:
            NotFound: It is not there.
            InvalidDefinition: It is the engine's own, which its next one replaces.
        """
        run, seq = self._split(checkpoint)
        if checkpoints(self._engine).delete(run, seq):
            return
        own = folding.snapshot_of(self._engine.reading, run)
        if own is not None and own.position == seq:
            raise InvalidDefinition(f"checkpoint {checkpoint} is the engine's own; its next one replaces it")
        raise NotFound(
            f"no checkpoint {checkpoint!r}; there are {', '.join(c.id for c in self.list_checkpoints(run)) or 'none'}"
        )

    def enable_auto_checkpoint(self, run: str | RunHandle, interval: timedelta) -> dict[str, Any]:
        """Have the engine keep a run's state so often, while it does something; 1 s to 30 days.

        Raises:
            InvalidDefinition: The interval, or the run has ended.
        """
        ms = int(interval.total_seconds() * 1_000)
        if ms < 1:
            raise InvalidDefinition(f"an interval of {interval} is none; it is 1 s to 30 days")
        return self._engine.set_checkpoints(self._find(run), ms)

    def disable_auto_checkpoint(self, run: str | RunHandle) -> dict[str, Any]:
        """Have the engine keep a run's state only where it must: not by any interval.

        Raises:
            InvalidDefinition: The run has ended.
        """
        return self._engine.set_checkpoints(self._find(run), 0)

    # --- behind

    def _find(self, run: str | RunHandle) -> str:
        return self._engine.reading.find(run.id if isinstance(run, RunHandle) else run).run

    def _split(self, checkpoint: str) -> tuple[str, int]:
        run, at, seq = checkpoint.rpartition("@")
        if not (at and run and seq.isascii() and seq.isdigit()):
            raise InvalidDefinition(f"{checkpoint!r} is no checkpoint; write RUN@SEQ, such as {run or 'nightly'}@40")
        return self._find(run), int(seq)

    def _done(self, run: str, step: str) -> int:
        """Return the event at which a step was done last."""
        found = 0
        for line in self._engine.reading.lines(run):
            if isinstance(line.event, _ENDS) and line.event.path == step:
                found = line.seq
        if not found:
            raise NotFound(f"step {step!r} of run {run} is not done, or there is none; see: kos get {run}")
        return found

    def _look(self, run: str, seq: int) -> None:
        """Warn where what was kept of a checkpoint is not there, or not what the log says."""
        reading = self._engine.reading
        own = reading.log.snapshot(run_stream(run))
        try:
            kept = checkpoints(self._engine).get(run, seq)
        except KeyError:
            if own is None or own.position != seq:
                _warn(f"checkpoint {run}@{seq} is not there: the log is folded to its event instead")
            return
        except ValueError as error:
            _warn(f"checkpoint {run}@{seq} is damaged ({error}): the log is folded to its event instead")
            return
        records = reading.log.stream(run_stream(run), after=seq - 1, limit=1) if seq > 0 else []
        if not records or records[0].hash != kept.hash:
            _warn(f"checkpoint {run}@{seq} stands on another record than the log has there: the log is folded instead")

    def _until_restored(self, run: str, after: int) -> None:
        """Wait until what a run did is undone and it stands where it is to."""
        engine, gone = self._engine, 0
        while not any(isinstance(line.event, ev.RunRestored) for line in engine.events(run, after=after)):
            status = engine.get_workflow_status(run)
            if status == "waiting":
                steps = engine.view(run).waits_for_people
                raise RunWaits(run, [{"step": step.path, **(step.manual or {})} for step in steps])
            gone = gone + 1 if status in {"interrupted", "quarantined"} else 0
            if gone > _MOST_GONE:
                raise Unreachable(f"run {run} is {status} while it is taken back: see kos get {run}")
            time.sleep(_LOOK_S)

    def _right_after(self, run: str, kind: type) -> WorkflowState:
        """Return a run's state at its last event of a kind."""
        reading = self._engine.reading
        seq = max((line.seq for line in reading.lines(run) if isinstance(line.event, kind)), default=0)
        return state_of(reading, folding.folded(reading, run, seq or None))


def _warn(text: str) -> None:
    warnings.warn(text, CheckpointLost, stacklevel=4)


def _of(kept: Any) -> Checkpoint:
    at = datetime.fromtimestamp(kept.created_at / 1_000, UTC)
    return Checkpoint(f"{kept.run}@{kept.seq}", kept.run, kept.seq, kept.step, kept.by, at)
