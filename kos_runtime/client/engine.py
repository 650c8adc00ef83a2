"""What a driver script holds: the mission's engine, by name.

::

    with kos_runtime.connect() as kos:
        run = kos.start("research.yaml", topic="fault tolerance of actors")
        print(run.result()["summary"])

The engine itself lives in the store's owner, a process of its own; leaving the ``with`` block, or dying in it, changes
nothing for the runs. ``host="process"`` keeps everything in this process, without Ray: for tests and quick tries.
"""

import contextlib
import getpass
import os
import socket
import time
from collections import ChainMap
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self

from kos_runtime.client import changing
from kos_runtime.client.families import tasks_of
from kos_runtime.client.over import need_open, need_run
from kos_runtime.client.owner import is_owned, once, reach_owner, start_owner
from kos_runtime.client.reading import EventLine, Reading
from kos_runtime.client.said import messages_of
from kos_runtime.composition.commands import BadRequest, command_of, message_of, new_run_id, run_id_of_key
from kos_runtime.composition.location import find_store, load_settings
from kos_runtime.core.errors import ConnectionLost, InvalidDefinition, KosError, NotFound, StoreError, Unreachable
from kos_runtime.core.machine import Machine
from kos_runtime.core.plan.model import Plan
from kos_runtime.core.plan.plain import to_plain
from kos_runtime.core.plan.types import complete_inputs
from kos_runtime.core.projection.steps import RunView
from kos_runtime.core.record import PAYLOAD_LIMIT
from kos_runtime.core.workflow.events import ChildRequested
from kos_runtime.definition import (
    DefinitionError,
    EngineSettings,
    Problem,
    TemplatesDocument,
    WorkflowDocument,
    compile_workflow,
    load,
)  # fmt: skip
from kos_runtime.definition.changing import Change, source_of, used_templates
from kos_runtime.definition.yaml_writer import write_yaml
from kos_runtime.ports.control import Message

if TYPE_CHECKING:
    from kos_runtime.client import coordinating
    from kos_runtime.client.schedules import ScheduleView
    from kos_runtime.composition.catalogue import Catalogue
    from kos_runtime.composition.discovery import Registry
    from kos_runtime.composition.families import Family

#: Characters of a run's own name, and of its key.
MAX_NAME = 256
#: So many requests travel in one message, and about so many bytes.
MAX_TOGETHER = 500
MAX_TOGETHER_BYTES = 8 << 20
#: What runs has so long to stop when its run is cancelled, in seconds, unless said otherwise.
GRACE_S = 10.0
MAX_GRACE_S = 86_400
#: Characters of a reason.
MAX_REASON = 2_000
_TERMINAL = frozenset({"completed", "failed", "cancelled", "quarantined"})


class RunFailed(KosError):
    """A run ended without its outputs. ``error`` is the failure as it was recorded."""

    def __init__(self, run: str, status: str, error: dict[str, Any] | None) -> None:
        super().__init__(run, status, error)
        self.run, self.status, self.error = run, status, error

    def __str__(self) -> str:
        error = self.error or {}
        return f"run {self.run} {self.status}: {error.get('type', 'unknown')}: {error.get('message', '')}"


class RunWaits(KosError):
    """A run waits for a person; ``tasks`` are the steps that do, with what is asked: its own and those of its children."""

    def __init__(self, run: str, tasks: list[dict[str, Any]]) -> None:
        super().__init__(run, tasks)
        self.run, self.tasks = run, tasks

    def __str__(self) -> str:
        whom = "a person" if any("signal" not in task for task in self.tasks) or not self.tasks else "a signal"
        places = (
            task["step"] if task.get("run") == self.run else f"{task['step']} of {task.get('run')}"
            for task in self.tasks
        )
        return f"run {self.run} waits for {whom} at {', '.join(places)}"


class RunHandle:
    """One run of an engine."""

    def __init__(self, engine: "WorkflowEngine", run: str, *, existing: bool = False) -> None:
        self.engine, self.id, self.existing = engine, run, existing

    def status(self) -> str:
        return self.engine.get_workflow_status(self.id)

    def result(self, timeout: float | None = None) -> dict[str, Any]:
        return self.engine.result(self.id, timeout)

    def events(self) -> Iterator[EventLine]:
        return self.engine.events(self.id)

    def messages(self) -> list[dict[str, Any]]:
        return self.engine.messages(self.id)

    def view(self) -> RunView:
        return self.engine.view(self.id)


class WorkflowEngine:
    """See the module. One object, one thread; several may hold the same store."""

    def __init__(
        self,
        store: str | Path | None = None,
        *,
        settings: EngineSettings | None = None,
        host: Literal["ray", "process"] = "ray",
        address: str = "",
        say: Callable[[str], None] = lambda _: None,
        author: str = "",
        catalogue: str | Path | None = None,
    ) -> None:
        """``catalogue``: the folder of sub-workflows and templates; that of a definition's own file unless named."""
        self._catalogue = str(catalogue or os.environ.get("KOS_CATALOGUE", "")) or None
        self.folder = find_store(str(store) if store is not None else None)
        self.settings = settings if settings is not None else load_settings(None)
        self.author = author or f"user:{getpass.getuser()}@{socket.gethostname()}"
        self._host = host
        self._address = address
        self._say = say
        self._reading: Reading | None = None
        self._channel: Any = None
        self._process: Any = None
        self._following: Any = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the store. Runs go on in the owner; those of ``host="process"`` are interrupted."""
        if self._channel is not None:
            self._channel.close()
            self._channel = None
        if self._process is not None:
            host, store = self._process
            host.close()
            if self._following is not None:
                self._following.close()
                self._following = None
            store.close()
            self._process = None
        if self._reading is not None:
            self._reading.close()
            self._reading = None

    # --- the mission's calls

    def create_workflow(
        self,
        definition: str | Path | WorkflowDocument,
        inputs: Mapping[str, Any] | None = None,
        *,
        name: str = "",
        key: str = "",
        start: bool = False,
        templates: Mapping[str, Any] | None = None,
        search_attributes: Mapping[str, Any] | None = None,
    ) -> RunHandle:
        """Create a run; durable when this returns. The same ``key`` returns the same run.

        Args:
            definition: A file, ``FILE#TEMPLATE``, or a loaded workflow.
            inputs: The workflow's inputs.
            name: A name of one's own for the run.
            key: Makes creating idempotent.
            start: Also let it begin.
            templates: Templates of other files, by name.
            search_attributes: Words by which the run is found: texts, numbers or booleans by name, at most 32.

        Raises:
            InvalidDefinition: The definition, its linking or the inputs; everything that is wrong is in it.
            Unreachable: The store or its owner.
        """
        (handle,) = self.create_workflows(
            definition, [inputs or {}], names=[name], keys=[key], start=start, templates=templates,
            search_attributes=search_attributes,
        )  # fmt: skip
        return handle

    def create_workflows(
        self,
        definition: str | Path | WorkflowDocument,
        inputs: Sequence[Mapping[str, Any]],
        *,
        names: Sequence[str] = (),
        keys: Sequence[str] = (),
        start: bool = False,
        templates: Mapping[str, Any] | None = None,
        search_attributes: Mapping[str, Any] | None = None,
    ) -> list[RunHandle]:
        """Create a run of a definition for each of many inputs: it is read and linked once, and they travel together.

        ``names`` and ``keys``, where given, are one for each. Nothing is created when any of the inputs is wrong.

        Raises:
            InvalidDefinition: As ``create_workflow``. Where the engine itself refuses one, those before it exist; with
                ``keys`` it is safe to ask for all of them again.
            Unreachable: The store or its owner.
        """
        for given in (names, keys):
            if given and len(given) != len(inputs):
                raise InvalidDefinition(f"{len(inputs)} runs need as many names and keys, not {len(given)}")
        names, keys = names or [""] * len(inputs), keys or [""] * len(inputs)
        for name, key in zip(names, keys, strict=True):
            _check_names(name, key)
        document = definition if isinstance(definition, WorkflowDocument) else read_definition(str(definition))
        plan = self._compiled(document, templates)
        values = [_completed(plan, each) for each in inputs]
        found_by = _attributes(search_attributes or {})
        self._own()
        store_id = self.reading.log.store_id
        common: Message = {"op": "create", **self._linked(document, plan), "author": self.author, "start": start}
        if found_by:
            common["attributes"] = found_by
        messages = [
            {
                **common,
                "run": run_id_of_key(store_id, "default", key) if key else new_run_id(),
                "inputs": value,
                "name": name,
                "key": key,
                "command_id": os.urandom(8).hex(),
            }
            for value, name, key in zip(values, names, keys, strict=True)
        ]
        return [
            RunHandle(self, answer["run"], existing=bool(key and answer.get("existing")))
            for key, answer in zip(keys, self._request_many(messages), strict=True)
        ]

    def _linked(self, document: WorkflowDocument, plan: Plan) -> Message:
        """Link a plan and keep both; return their addresses, and what is recorded beside them."""
        from kos_runtime.composition.discovery import registry_of

        return self._kept(plan, registry_of(document), self.family(self.catalogue(document)))

    def _kept(self, plan: Plan, registry: "Registry", family: "Family | None") -> Message:
        from kos_runtime.composition import wiring
        from kos_runtime.composition.linking import link

        blobs = wiring.blob_store(str(self.folder))
        linked = link(plan, registry, self.settings, wiring.cache_dir(str(self.folder)), family=family)
        return {
            "plan": blobs.put(wiring.CODEC.pack(to_plain(plan))).digest,
            "link": blobs.put(wiring.CODEC.pack(to_plain(linked.link))).digest,
            "settings": linked.settings,
            "drivers": linked.drivers,
        }

    def _compiled(self, document: WorkflowDocument, templates: Mapping[str, Any] | None) -> Plan:
        """Return a definition's plan, which carries what it was compiled from."""
        catalogue = self.catalogue(document)
        given = given_templates(templates or {})
        known: Mapping[str, Any] = ChainMap(given, catalogue) if given else catalogue  # type: ignore[arg-type]
        plan, _ = compile_workflow(document, settings=self.settings, templates=known)
        return replace(plan, source=source_of(document, self.settings, used_templates(plan, known)))

    def catalogue(self, document: WorkflowDocument | None = None) -> "Catalogue":
        """Return where the sub-workflows and templates of a definition are looked for; without one, those of a change.

        Raises:
            NotFound: The folder that was named is not there.
        """
        from kos_runtime.composition.catalogue import catalogue_of

        return catalogue_of(document, self._catalogue)

    def family(self, catalogue: "Catalogue") -> "Family":
        """Return what links the sub-workflows of a catalogue, and keeps their plans."""
        from kos_runtime.composition import wiring
        from kos_runtime.composition.families import Family

        blobs = wiring.blob_store(str(self.folder))
        cache_dir = wiring.cache_dir(str(self.folder))
        return Family(catalogue, self.settings, cache_dir, put=lambda value: blobs.put(wiring.CODEC.pack(value)).digest)

    def execute_workflow(self, run: str | RunHandle) -> None:
        """Let a created run begin."""
        self._own()
        self._request({"op": "start", "run": _id(run), "command_id": os.urandom(8).hex()})

    def start(
        self, definition: str | Path | WorkflowDocument, *, inputs: Mapping[str, Any] | None = None, name: str = "",
        key: str = "", search_attributes: Mapping[str, Any] | None = None, **more: Any,
    ) -> RunHandle:  # fmt: skip
        """Create and execute in one. Keywords that are no arguments of this call are inputs."""
        return self.create_workflow(
            definition, {**(inputs or {}), **more}, name=name, key=key, start=True, search_attributes=search_attributes
        )

    def call(
        self,
        service: str,
        capability: str,
        inputs: Mapping[str, Any] | None = None,
        *,
        name: str = "",
        key: str = "",
        timeout: float | None = None,
        **more: Any,
    ) -> Any:
        """Call one capability of a service, or one action of an agent, as a run of one step; return its result.

        Keywords that are no arguments of this call are inputs.

        Raises:
            InvalidDefinition: There is no such service or capability, or the inputs do not fit.
            RunFailed: It failed, after the retries that the engine gives a step.
            TimeoutError: It did not end within ``timeout`` seconds; the run goes on.
        """
        from kos_runtime.client.calling import RESULT, call_document

        values = {**(inputs or {}), **more}
        handle = self.create_workflow(
            call_document(service, capability, values), values, name=name, key=key, start=True
        )
        return handle.result(timeout)[RESULT]

    def resume(self, run: str | RunHandle) -> None:
        """See to it that somebody owns the store, so that its runs go on."""
        need_run(self.reading, _id(run))
        self._own()
        self._request({"op": "load", "run": _id(run)})

    def answer(self, run: str | RunHandle, step: str, data: Mapping[str, Any]) -> dict[str, Any]:
        """Answer a manual task in place of its step's result. It works also while nobody owns the store.

        Raises:
            InvalidDefinition: The answer does not fit what is asked.
            NotFound: There is no such run, or the step waits for nothing.
        """
        _check_plain(dict(data), "the answer")
        need_open(self.reading, _id(run), "it waits for no answer")
        return self._steer({"op": "answer", "run": _id(run), "step": step, "data": dict(data)})

    def signal(self, run: str | RunHandle, name: str, data: Any = None) -> dict[str, Any]:
        """Send a run a signal; a step that waits for it, now or later, takes it. It works also while nobody owns the store.

        Raises:
            NotFound: There is no such run.
            InvalidDefinition: It is over, or the data cannot be kept.
            Unreachable: It keeps too many signals already.
        """
        _check_names(name, "")
        _check_plain({"data": data}, "the data of a signal")
        need_open(self.reading, _id(run), "it takes no signals")
        return self._steer({"op": "signal", "run": _id(run), "signal": name, "data": data})

    def approve(
        self, run: str | RunHandle, step: str = "", *, comment: str = "", as_: str = "", token: str = "",
        form: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:  # fmt: skip
        """Approve what a run asks for; ``step`` is needed where several do. It works also while nobody owns the store.

        Args:
            run: The run.
            step: The step that waits.
            comment: Kept in the log.
            as_: Who decides; the operating system's user unless given.
            token: That person's, where tokens are configured; KOS_TOKEN of the environment unless given.
            form: The form's fields.

        Raises:
            NotFound: There is no such run, or the step waits for no approval.
            InvalidDefinition: It is too late, the person may not, or has decided already; or the form does not fit.
        """
        return self._decide(run, step, True, comment, as_, token, form)

    def reject(
        self, run: str | RunHandle, step: str = "", *, comment: str = "", as_: str = "", token: str = "",
        form: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:  # fmt: skip
        """Reject what a run asks for; one person is enough. As ``approve``."""
        return self._decide(run, step, False, comment, as_, token, form)

    def _decide(
        self, run: str | RunHandle, step: str, approved: bool, comment: str, as_: str, token: str,
        form: Mapping[str, Any] | None,
    ) -> dict[str, Any]:  # fmt: skip
        data = dict(form or {})
        _check_plain(data, "the form")
        need_open(self.reading, _id(run), "it waits for no approval")
        message: Message = {"op": "decide", "run": _id(run), "step": step, "approved": approved, "data": data}
        return self._steer({**message, "comment": _reason(comment), "as": as_, "token": _token(token)})

    def grant(
        self, run: str | RunHandle, name: str, to: str, *, actions: Sequence[str] = (), scope: str = "", cost: int | None = None,
        count: int | None = None, fan_out: int | None = None, expires: float = 0.0, depth: int = 0, parent: str = "",
        as_: str = "", token: str = "",
    ) -> dict[str, Any]:  # fmt: skip
        """Give an agent of a run authority, as the person who stands at its top. It works also while nobody owns the store.

        Args:
            run: The run.
            name: What the grant is called.
            to: The agent, by its name in the definition.
            actions: What it is for, as ``authority_required`` names it; its own name unless given.
            scope: Where, a path: this and everything below it. Empty: everywhere.
            cost: How much, all in all.
            count: How often.
            fan_out: How often it is handed on by its holder.
            expires: For how many seconds; 0: until what it is cut from ends, or the run.
            depth: How far down it may be handed on.
            parent: The grant that it is cut from, in the name of that one's holder.
            as_, token: Who decides, as ``approve`` has it.

        Raises:
            NotFound: There is no such run, agent or grant.
            InvalidDefinition: It is not that person's to give, wider than what it is cut from, or no grant.
        """
        need_open(self.reading, _id(run), "nothing can be granted in it")
        limits = {
            name: limit for name, limit in (("cost", cost), ("count", count), ("fan_out", fan_out)) if limit is not None
        }
        given = {"id": name, "parent": parent, "subject": to, "actions": list(actions or (name,)), "scope": scope.strip("/"),
                 "depth": depth, **limits}  # fmt: skip
        message: Message = {"op": "grant", "run": _id(run), "grant": given, "expires_ms": round(expires * 1_000)}
        return self._steer({**message, "as": as_, "token": _token(token)})

    def revoke(self, run: str | RunHandle, grant: str, *, as_: str = "", token: str = "") -> dict[str, Any]:
        """Take a grant back, and with it all that was cut from it. What has started under it goes on.

        Raises:
            NotFound: There is no such run, or no such grant in it.
            InvalidDefinition: It is not that person's to take back.
        """
        need_open(self.reading, _id(run), "nothing can be revoked in it")
        return self._steer({"op": "revoke", "run": _id(run), "grant": grant, "as": as_, "token": _token(token)})

    def authority(self, run: str | RunHandle) -> dict[str, Any]:
        """Return who stands above whom in a run, every grant with what was used of it, and every request.

        Raises:
            NotFound: There is no such run.
            InvalidDefinition: Its workflow asks for no authority.
        """
        from kos_runtime.client.authority import authority_of

        return authority_of(self.reading, _id(run))

    def check_authority(self, run: str | RunHandle, agent: str, grant: str, *, scope: str = "", cost: int = 0) -> bool:
        """Say whether an agent may do something now. What it then does is checked again, when it is recorded."""
        from kos_runtime.client.authority import may

        return may(self.reading, _id(run), [agent, grant, scope.strip("/"), cost])

    def escalate_authority(
        self, run: str | RunHandle, agent: str, grant: str, *, scope: str = "", cost: int = 0, reason: str = "",
        expires: float = 3_600.0, timeout: float = 0.0,
    ) -> dict[str, Any]:  # fmt: skip
        """Have an agent ask those above it for authority, level by level up to a person.

        Returns:
            ``request`` and, once it is answered, ``granted``, ``grant``, ``by`` and ``comment``; until then ``granted`` is None.
            ``timeout`` is for how many seconds that is waited for.
        """
        from kos_runtime.client.authority import answered

        need_open(self.reading, _id(run), "nothing can be asked for in it")
        said = self._steer({
            "op": "ask_authority", "run": _id(run), "agent": agent, "grant": grant, "scope": scope.strip("/"), "cost": cost,
            "reason": _reason(reason), "expires_ms": round(expires * 1_000),
        })  # fmt: skip
        deadline = time.monotonic() + timeout
        while True:
            found = answered(self.reading, _id(run), said["reply"])
            if found["granted"] is not None or time.monotonic() >= deadline:
                return found
            time.sleep(0.05)

    def pause_workflow(self, run: str | RunHandle, reason: str = "") -> dict[str, Any]:
        """Start nothing more of a run; what runs may end. It works also while nobody owns the store.

        Raises:
            NotFound: There is no such run.
            InvalidDefinition: It has not begun, is over or is being cancelled.
        """
        need_open(self.reading, _id(run), "only one that has begun can be paused")
        return self._steer({"op": "pause", "run": _id(run), "reason": _reason(reason)})

    def resume_workflow(self, run: str | RunHandle, reason: str = "") -> dict[str, Any]:
        """Let a paused run go on, and see to it that somebody owns the store.

        Raises:
            NotFound: There is no such run.
            InvalidDefinition: It is over or is being cancelled.
        """
        need_open(self.reading, _id(run), "there is nothing to go on with")
        self._own()
        return self._steer({"op": "resume", "run": _id(run), "reason": _reason(reason)})

    def cancel_workflow(self, run: str | RunHandle, reason: str = "", *, grace: float = GRACE_S) -> dict[str, Any]:
        """Call a run off: what runs is asked to stop and has ``grace`` seconds, then its process is ended.

        While nobody owns the store nothing can be asked, and the run is over at once, unless it has something to undo.

        Raises:
            NotFound: There is no such run.
            InvalidDefinition: It is over already, or the grace is not 0 to 86,400 s.
        """
        if not 0 <= grace <= MAX_GRACE_S:
            raise InvalidDefinition(f"a grace of {grace:g} s; it is 0 to {MAX_GRACE_S:,} s")
        need_run(self.reading, _id(run))
        owned = self._is_reachable()
        message: Message = {"op": "cancel", "run": _id(run), "reason": _reason(reason)}
        return self._steer({**message, "grace_ms": int(grace * 1_000) if owned else 0})

    def retry_step(
        self, run: str | RunHandle, step: str = "", retry_count: int = 1, *, reason: str = "", way: str = "retry",
        fallback: str = "",
    ) -> dict[str, Any]:  # fmt: skip
        """Reopen a failed run at the step that failed it, with so many further attempts, 1 to 100.

        What was completed is kept; what was called off because the run failed goes on. ``step`` may name the step that
        failed or one around it, and is not needed. ``way`` and ``fallback``: see ``RecoveryStrategy``.

        Raises:
            NotFound: There is no such run, or it did not fail there.
            InvalidDefinition: It has not failed.
        """
        need_open(self.reading, _id(run), "only a failed one is retried")
        self._own()
        message: Message = {"op": "retry", "run": _id(run), "step": step, "retries": retry_count}
        message |= {"way": way, "fallback": fallback}
        return self._steer({**message, "reason": _reason(reason)})

    def fork(
        self,
        run: str | RunHandle,
        at: int,
        *,
        set: Mapping[str, Any] | None = None,  # noqa: A002 - as the command line calls it
        name: str = "",
        reason: str = "",
    ) -> RunHandle:
        """Make a run of what another one had recorded up to an event, and let it go on under its own keys.

        What was completed by then is reused. ``set`` maps ``steps.STEP.NAME`` to what the new run goes on with in place
        of what that step gave.

        Raises:
            NotFound: There is no such run, event, or result to be set.
            InvalidDefinition: The run had ended at that event, or a step has worked with a value that is to be set.
        """
        _check_names(name, "")
        changes = [_change(target, value) for target, value in (set or {}).items()]
        _check_plain(dict(set or {}), "what is set")
        need_run(self.reading, _id(run))
        self._own()
        message: Message = {"op": "fork", "run": new_run_id(), "parent": _id(run), "at": at, "changes": changes}
        answer = self._steer({**message, "name": name, "reason": _reason(reason)})
        return RunHandle(self, answer["run"], existing=bool(answer.get("existing")))

    def restore(self, run: str | RunHandle, to: int, *, reason: str = "") -> dict[str, Any]:
        """Take a run back to where it stood at one of its events, in place, and let it go on from there.

        Only while nothing that it did since is felt outside, or all of it can be undone: every step that acted since must be
        ``idempotent``, or have completed and say ``compensate``. What can be undone is undone first, newest first; the answer
        is then ``RunTakenBack``, and the run goes back when all is undone.

        Raises:
            NotFound: There is no such run or event.
            InvalidDefinition: It had ended at that event, or something that was done since cannot be taken back.
        """
        need_run(self.reading, _id(run))
        self._own()
        return self._steer({"op": "restore", "run": _id(run), "to": to, "reason": _reason(reason)})

    def add_step(
        self, run: str | RunHandle, step: str | Mapping[str, Any], *, after: str = "", before: str = "", into: str = "",
        reason: str = "", expected_revision: int | None = None,
    ) -> dict[str, Any]:  # fmt: skip
        """Put a step into a running workflow, at its end unless a place is named. It works also while nobody owns the store.

        Args:
            run: The run.
            step: The step as it is written in a definition: YAML text, or plain data.
            after: The step that it comes right after, by its path (``refine/critic`` for one in a body).
            before: The step that it comes right before.
            into: The step in whose body it comes last.
            reason: Why; it is kept in the log.
            expected_revision: Refuse when the run is at another revision, instead of changing that one.

        Raises:
            NotFound: There is no such run.
            InvalidDefinition: The changed definition means nothing, or something that ran would change.
            RevisionConflict: The run is at another revision than expected.
        """
        change = changing.addition(step, after, before, into)
        return changing.send(
            self, _id(run), change, reason=_reason(reason), expected=expected_revision, next_attempt=False
        )

    def remove_step(
        self, run: str | RunHandle, step: str, *, reason: str = "", expected_revision: int | None = None
    ) -> dict[str, Any]:
        """Take a step that has not started out of a running workflow.

        Raises:
            As ``add_step``.
        """
        change = Change("remove_step", step)
        return changing.send(
            self, _id(run), change, reason=_reason(reason), expected=expected_revision, next_attempt=False
        )

    def modify_step(
        self, run: str | RunHandle, step: str, changes: str | Mapping[str, Any], *,
        apply: Literal["", "next_attempt"] = "", reason: str = "", expected_revision: int | None = None,
    ) -> dict[str, Any]:  # fmt: skip
        """Change a step of a running workflow.

        ``changes`` are keys of the step with their new values, as YAML text or plain data; within a key's own object
        only what is named changes, and null takes a key out. With ``apply="next_attempt"`` a step that has begun changes
        too, from its next attempt on, and one in a loop for the turns to come: its agent, action, inputs, timeout,
        retries and priority.

        Raises:
            As ``add_step``.
        """
        if apply not in {"", "next_attempt"}:
            raise InvalidDefinition(f"apply is next_attempt or nothing, not {apply!r}")
        change = changing.modification(step, changes)
        return changing.send(
            self, _id(run), change, reason=_reason(reason), expected=expected_revision, next_attempt=bool(apply)
        )

    def execute_step(
        self, run: str | RunHandle, step: str, inputs: Mapping[str, Any] | None = None, *, reason: str = ""
    ) -> dict[str, Any]:
        """Start a step that is ready, or that runs on demand, with these inputs in the place of its own.

        Its ``when`` is not asked. In a paused run it starts when the run goes on. The run waits for it.

        Raises:
            NotFound: There is no such run or step.
            InvalidDefinition: The step has begun or waits for others, or the inputs do not fit its action.
        """
        given = None if inputs is None else dict(inputs)
        if given is not None:
            _check_plain(given, "the inputs")
        need_open(self.reading, _id(run), "only a step of one that has begun and is not over is started")
        self._own()
        return self._steer({"op": "execute", "run": _id(run), "step": step, "inputs": given, "reason": _reason(reason)})

    # --- schedules

    def schedule_workflow(
        self,
        definition: str | Path | WorkflowDocument,
        inputs: Mapping[str, Any] | None = None,
        *,
        name: str = "",
        cron: str = "",
        timezone: str = "",
        overlap: str = "",
        catch_up: str = "",
        templates: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Let a workflow run by itself, as its ``schedule`` says and the arguments say over it; durable when this returns.

        It is linked now, and every run of it follows what it says now. It works also while nobody owns the store; runs are
        made while somebody does.

        Args:
            definition: A file, ``FILE#TEMPLATE``, or a loaded workflow.
            inputs: Inputs of each run, over those of the schedule.
            name: The schedule's name, the workflow's id unless given. Setting one of the same name replaces it.
            cron: Five fields or a word such as ``@daily``.
            timezone: Such as ``Europe/Berlin``; UTC unless it is said.
            overlap: ``skip``, ``queue`` or ``cancel_running``: what becomes of a run that is due before the last has ended.
            catch_up: ``none``, ``last`` or ``all``: which of those that were missed are made up for.
            templates: Templates of other files, by name.

        Raises:
            InvalidDefinition: The definition, its linking, the inputs or the schedule.
            Unreachable: The store or its owner.
        """
        from kos_runtime.client.schedules import settled

        document = definition if isinstance(definition, WorkflowDocument) else read_definition(str(definition))
        plan = self._compiled(document, templates)
        id = name or plan.workflow
        said = settled(document, id, {"cron": cron, "timezone": timezone, "overlap": overlap, "catch_up": catch_up})
        values = _completed(plan, {**said["inputs"], **(inputs or {})})
        message: Message = {"op": "schedule", "run": id, "workflow": plan.workflow, "version": plan.version}
        message |= {key: said[key] for key in ("cron", "timezone", "overlap", "catch_up")}
        return self._steer({**message, **self._linked(document, plan), "inputs": values})

    def unschedule(self, name: str, reason: str = "") -> dict[str, Any]:
        """Make no more runs of a schedule; those that are there go on.

        Raises:
            NotFound: There is no such schedule.
        """
        return self._steer({"op": "unschedule", "run": name, "reason": _reason(reason)})

    def schedules(self) -> "list[ScheduleView]":
        """Return the schedules of the store."""
        from kos_runtime.client.schedules import schedule_views

        return schedule_views(self.reading)

    def set_search_attributes(self, run: str | RunHandle, attributes: Mapping[str, Any]) -> dict[str, Any]:
        """Set words by which a run is found, beside those that it has; None takes one away. It works also while nobody
        owns the store.

        Raises:
            NotFound: There is no such run.
            InvalidDefinition: It is over, or they cannot be kept.
        """
        given = _attributes(attributes)
        need_open(self.reading, _id(run), "only one that is not over is given search attributes")
        return self._steer({"op": "attributes", "run": _id(run), "attributes": given})

    def get_search_attributes(self, run: str | RunHandle) -> dict[str, str]:
        """Return the words by which a run is found, as text, by name.

        Raises:
            NotFound: There is no such run.
        """
        self.get_workflow_status(run)
        return self.reading.log.attributes(_id(run))

    def set_checkpoints(self, run: str | RunHandle, interval_ms: int) -> dict[str, Any]:
        """Have a run's state kept so often, in milliseconds; 0 for not by any interval. See ``CheckpointManager``."""
        return self._steer({"op": "checkpoints", "run": _id(run), "interval_ms": interval_ms})

    def requeue(self, run: str | RunHandle, step: str = "", *, reason: str = "") -> dict[str, Any]:
        """Have a run that was set aside (quarantined) go on where it was; or a step that was poison be tried once more.

        Whatever was open then is sent again. A run that is set aside again for the same reason stays so.

        Raises:
            NotFound: There is no such run, or it did not fail at the step.
            InvalidDefinition: It was not set aside and did not fail of a poison step, or cannot be folded.
        """
        need_open(self.reading, _id(run), "only one that was set aside, or failed of a poison step, is requeued")
        self._own()
        return self._steer({"op": "requeue", "run": _id(run), "step": step, "reason": _reason(reason)})

    def _is_reachable(self) -> bool:
        if self._host == "process" or self._has_owner():
            return True
        self._channel = reach_owner(self.folder)
        return self._channel is not None

    def _has_owner(self) -> bool:
        """Say whether there is a way to an owner that still owns the store: one without work ends by itself."""
        if self._channel is not None and not is_owned(self.folder):
            self._channel.close()
            self._channel = None
        return self._channel is not None

    def _steer(self, message: Message) -> Message:
        """Carry out what a person decides of a run: by the store's owner, or by ourselves when there is none."""
        message = {**message, "by": self.author, "command_id": os.urandom(8).hex()}
        if self._is_reachable():
            self._own()
            if self._process is not None:
                return self._request(message)
            with contextlib.suppress(ConnectionLost):
                return self._ask(message)
        if self._is_reachable():
            return self._ask(message)
        return _checked(once(self.folder, self.settings, message))

    def get_workflow_status(self, run: str | RunHandle) -> str:
        """Return the status; ``interrupted`` for a run at work whose owner is gone."""
        row = self.reading.log.run(_id(run))
        if row is None:
            raise NotFound(f"no run {_id(run)!r} in {self.folder}")
        return self.reading.status(row)

    def get_execution_history(self, run: str | RunHandle) -> list[dict[str, Any]]:
        """Return every event of a run as plain data, oldest first."""
        return [
            {"seq": line.seq, "time": line.time, "type": line.type, "cause": line.cause, "data": line.data}
            for line in self.events(run)
        ]

    def events(self, run: str | RunHandle, *, after: int = 0) -> Iterator[EventLine]:
        return self.reading.lines(_id(run), after=after)

    def messages(self, run: str | RunHandle) -> list[dict[str, Any]]:
        """Return what a run's agents said to each other, in the order in which it was sent."""
        return messages_of(self.reading, _id(run))

    def view(self, run: str | RunHandle) -> RunView:
        return self.reading.view(_id(run))

    def children(self, run: str | RunHandle) -> list[RunHandle]:
        """Return the runs that a run asked for, in that order; each attempt of a step has one of its own."""
        asked = (line.event for line in self.events(run))
        return [RunHandle(self, event.child) for event in asked if isinstance(event, ChildRequested)]

    def result(self, run: str | RunHandle, timeout: float | None = None) -> dict[str, Any]:
        """Wait for a run's end and return its outputs.

        Raises:
            RunFailed: It ended otherwise.
            RunWaits: It waits for a person.
            Unreachable: It is at work and its owner is gone.
            TimeoutError: It did not end within ``timeout`` seconds.
        """
        id = _id(run)
        deadline = None if timeout is None else time.monotonic() + timeout
        pause, gone = 0.005, 0
        while True:
            row = self.reading.log.run(id)
            if row is None:
                raise NotFound(f"no run {id!r} in {self.folder}")
            status = self.reading.standing(row)
            if status in _TERMINAL:
                view = self.view(id)
                if status == "completed":
                    return self.reading.outputs(view)
                raise RunFailed(id, status, view.error)
            if status == "waiting":
                raise RunWaits(id, tasks_of(self.reading, id))
            gone = gone + 1 if status == "interrupted" else 0
            if gone > 20:
                raise Unreachable(
                    f"run {id} is interrupted: nobody owns {self.folder}; `kos resume {id}` goes on with it"
                )
            if deadline is not None and time.monotonic() > deadline:
                raise TimeoutError(f"run {id} is {status} after {timeout:g} s")
            time.sleep(pause)
            pause = min(pause * 1.5, 0.1)

    # --- the owner

    @property
    def reading(self) -> Reading:
        if self._reading is None:
            self._reading = Reading(self.folder)
        return self._reading

    def agents(self) -> list[dict[str, Any]]:
        """Return the live agents of the store's owner; none when nobody owns it."""
        if self._process is not None:
            return []
        client = reach_owner(self.folder)
        if client is None:
            return []
        try:
            found: list[dict[str, Any]] = _checked(client.request({"op": "agents"}))["agents"]
        finally:
            client.close()
        return found

    # --- coordination: what the classes of ``coordination`` ask of an engine

    async def open(
        self, stream: str, machine: Machine[Any], setup: Any, nodes: Sequence[str], *,
        agents: Mapping[str, str] | None = None,
    ) -> None:  # fmt: skip
        """Open an instance of a machine with its nodes; one that is open already goes on as it is.

        Raises:
            InvalidDefinition: It cannot be set up, an agent is not here, or it is there and was set up otherwise.
        """
        from kos_runtime.client import coordinating

        coordinating.open_stream(self, stream, machine, setup, nodes, agents or {})

    async def command(self, stream: str, node: str, command: Any) -> Any:
        """Give a node a command, and return its reply once that is durable.

        Raises:
            InvalidDefinition: What is said has no name under which it could be kept, or the machine raised.
        """
        from kos_runtime.client import coordinating

        return coordinating.tell(self, stream, node, command)

    async def until(self, stream: str, found: Callable[[Any], bool]) -> Any:
        """Return the first recorded fact of a stream's nodes that is what is looked for, or wait for it.

        Raises:
            NotFound: There is no such stream.
            RunFailed: It ended otherwise.
            TimeoutError: It has come to its end without it.
        """
        from kos_runtime.client import coordinating

        async def look(function: Callable[..., Any], *arguments: Any) -> Any:
            return function(*arguments)

        return await coordinating.wait_for(self, stream, found, look)

    def coordinator(self, agents: Mapping[str, str]) -> "coordinating.CoordinatorOver":
        """Return this engine for a coordination class, with agents for the names that it asks: ``{"w1": "kExecutor.gather"}``."""
        from kos_runtime.client import coordinating

        return coordinating.CoordinatorOver(self, agents)

    def create_compiled(self, plan: Plan, inputs: Mapping[str, Any], *, key: str, name: str = "") -> str:
        """Create and start a run of a plan that no definition stands behind, once for each key; return its id."""
        from kos_runtime.composition.discovery import Registry

        _check_names(name, key)
        self._own()
        run = run_id_of_key(self.reading.log.store_id, "default", key)
        message: Message = {"op": "create", **self._kept(plan, Registry(), None), "author": self.author, "start": True}
        message |= {"run": run, "inputs": _completed(plan, inputs), "name": name, "key": key}
        return str(self._request({**message, "command_id": os.urandom(8).hex()})["run"])

    def ask_owner(self, message: Message) -> Message:
        """Have the store's owner carry out a message; there is one afterwards.

        Raises:
            ConnectionLost: It was lost before it answered: say the same again.
        """
        self._own()
        return self._request(message)

    def _own(self) -> None:
        """Have a way to the store's owner: the one that is there, else one of our own making."""
        if self._process is not None or self._has_owner():
            return
        if self._host == "process":
            from kos_runtime.composition.monitoring import Following, Monitor
            from kos_runtime.composition.wiring import open_in_process

            self._process = open_in_process(str(self.folder), self.settings)
            if Monitor.is_asked_for(self.settings):
                self._following = Following(self.folder, self.settings, lambda *_, **__: None)
            return
        self._channel = reach_owner(self.folder)
        if self._channel is None:
            config = self.settings.handed_over()
            if self._address:
                config["ray_address"] = self._address
            self._channel = start_owner(self.folder, config=config, say=self._say)

    def _request(self, message: Message) -> Message:
        if self._process is not None:
            if message["op"] == "load":
                return {"ok": True}
            try:
                command = command_of(message, self.settings)
            except BadRequest as error:
                raise InvalidDefinition(str(error)) from error
            answer = self._process[0].request(command, command_id=str(message.get("command_id", "")))
            return _checked(message_of(answer))
        try:
            return self._ask(message)
        except ConnectionLost:
            # Runs and commands have ids of their own: what was done and not answered is not done again.
            self._own()
            return self._ask(_said_again(message))

    def _ask(self, message: Message) -> Message:
        try:
            return _checked(self._channel.request(message, 60.0))
        except ConnectionLost:
            self._channel = None
            raise

    def _request_many(self, messages: Sequence[Message]) -> Iterator[Message]:
        """Return the answers to many requests, which travel in a few messages."""
        if self._process is not None or len(messages) == 1:
            yield from map(self._request, messages)
            return
        from kos_runtime.composition.wiring import CODEC

        together: list[Message] = []
        size = 0
        for message in messages:
            packed = len(CODEC.pack(message))
            if together and (len(together) >= MAX_TOGETHER or size + packed > MAX_TOGETHER_BYTES):
                yield from self._ask_together(together)
                together, size = [], 0
            together.append(message)
            size += packed
        if together:
            yield from self._ask_together(together)

    def _ask_together(self, messages: list[Message]) -> Iterator[Message]:
        answer = self._request({"op": "many", "requests": messages})
        return map(_checked, answer["answers"])


def _said_again(message: Message) -> Message:
    """Return a message that may have been carried out already: whether its runs are there is then looked up."""
    if message["op"] == "many":
        return {**message, "requests": [_said_again(request) for request in message["requests"]]}
    return {**message, "again": True} if message["op"] == "create" else message


def _completed(plan: Plan, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Return a run's inputs with what they have by default.

    Raises:
        InvalidDefinition: They do not fit, or cannot be kept.
    """
    values, problems = complete_inputs(plan, inputs)
    if problems:
        raise InvalidDefinition(f"workflow {plan.workflow!r} cannot start:\n" + "\n".join(f"  - {p}" for p in problems))
    _check_plain(values, f"workflow {plan.workflow!r} cannot start: its inputs")
    return values


def _id(run: str | RunHandle) -> str:
    return run.id if isinstance(run, RunHandle) else run


def _token(token: str) -> str:
    """Return the token of who decides; the environment may hold any bytes, and what is no text is no token either."""
    return (token or os.environ.get("KOS_TOKEN", "")).encode(errors="surrogatepass").decode(errors="replace")


def _check_names(name: str, key: str) -> None:
    """Refuse a run's name or key that is too long, or that a terminal would not show as it is."""
    for what, text in (("name", name), ("key", key)):
        if len(text) > MAX_NAME or not text.isprintable():
            raise InvalidDefinition(f"a run's {what} has at most {MAX_NAME} characters, all of them printable")


def _attributes(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return search attributes that can be kept.

    Raises:
        InvalidDefinition: They cannot.
    """
    from kos_runtime.core.workflow.attributes import problem

    attributes = dict(given)
    wrong = problem(attributes, {})
    if wrong:
        raise InvalidDefinition(wrong)
    return attributes


def _change(target: str, value: Any) -> list[Any]:
    """Read ``steps.STEP.NAME``; the step may be a path, the name is what stands behind the last dot."""
    path, dot, name = target.removeprefix("$").removeprefix("steps.").rpartition(".")
    if not dot or not path or not name or not target.removeprefix("$").startswith("steps."):
        raise InvalidDefinition(f"{target!r} cannot be set: write steps.STEP.NAME, such as steps.draft.text")
    return [path, name, value]


def _reason(text: str) -> str:
    if len(text) > MAX_REASON or not text.replace("\n", " ").isprintable():
        raise InvalidDefinition(f"a reason has at most {MAX_REASON} characters, all of them printable")
    return text


def _check_plain(value: dict[str, Any], what: str) -> None:
    """Refuse, where it is given, what the log cannot keep: it would else go wrong far from whoever gave it."""
    from kos_runtime.composition.wiring import CODEC

    try:
        packed = CODEC.pack(value)
        size = len(packed)
        if size <= PAYLOAD_LIMIT:
            # Keys that are no texts are seen only by whoever unpacks them.
            CODEC.unpack(packed)
    except ValueError as error:
        raise InvalidDefinition(f"{what} cannot be kept: {error}") from error
    if size > PAYLOAD_LIMIT:
        raise InvalidDefinition(f"{what} cannot be kept: {size} bytes, at most {PAYLOAD_LIMIT} are")


def _checked(answer: Message) -> Message:
    if answer.get("ok"):
        return answer
    code, message = answer.get("code", ""), str(answer.get("message", "refused"))
    if code == "not_found":
        raise NotFound(message)
    if code == "revision":
        raise changing.RevisionConflict(message)
    if code in {"invalid", "conflict", "bad_request", "quarantined"}:
        raise InvalidDefinition(message)
    if code.startswith("storage"):
        raise StoreError(message)
    raise Unreachable(message)


def read_definition(text: str) -> WorkflowDocument:
    """Read ``FILE`` or ``FILE#TEMPLATE``; ``-`` reads standard input.

    Raises:
        NotFound: There is no such file.
        DefinitionError: It is no workflow.
    """
    name, _, template = text.partition("#")
    document = load(read_file(name), name)
    if isinstance(document, TemplatesDocument):
        if not template:
            names = ", ".join(document.content)
            raise InvalidDefinition(f"{name} holds templates; name one of them: {name}#NAME (there are {names})")
        return document.workflow(template)
    if not isinstance(document, WorkflowDocument):
        raise InvalidDefinition(f"{name} is an engine configuration, not a workflow; use it by --config {name}")
    if template:
        raise InvalidDefinition(f"{name} holds a workflow, not templates; leave out #{template}")
    return document


def read_file(name: str) -> bytes:
    import sys

    if name == "-":
        return sys.stdin.buffer.read(4 * 1024 * 1024)
    path = Path(name)
    try:
        return path.read_bytes()
    except OSError as error:
        near = ""
        if path.parent.is_dir():
            from kos_runtime.core.nearest import nearest

            found = nearest(path.name, [entry.name for entry in path.parent.iterdir()])
            near = f"; did you mean {path.parent / found}?" if found else ""
        raise NotFound(f"{name} cannot be read: {error.strerror}{near}") from error


def given_templates(templates: Mapping[str, Any]) -> dict[str, WorkflowDocument]:
    """Return templates that are given as plain data checked like those of a file.

    Raises:
        DefinitionError: One is none.
    """
    plain = {name: content for name, content in templates.items() if not isinstance(content, WorkflowDocument)}
    found = {name: content for name, content in templates.items() if name not in plain}
    if plain:
        document = load(write_yaml({"templates": plain}), "templates")
        assert isinstance(document, TemplatesDocument)
        found |= {name: document.workflow(name) for name in plain}
    return found


def compiled(
    document: WorkflowDocument, settings: EngineSettings, templates: Mapping[str, Any] | None = None
) -> tuple[Plan, list[Problem]]:
    return compile_workflow(document, settings=settings, templates=templates)


__all__ = ["DefinitionError", "RunFailed", "RunHandle", "RunWaits", "WorkflowEngine", "read_definition"]
