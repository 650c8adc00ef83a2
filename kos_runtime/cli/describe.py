"""One event as one line of text, and a step's result in a few words."""

from collections.abc import Mapping
from typing import Any, Final

from kos_runtime.core.terms import fact_shown

_NAME: Final = 20
#: Characters of a summary, and of one value in it.
_SUMMARY, _VALUE = 60, 40
#: Keys whose text says what an item is, in the order in which they are looked for.
_LABELS: Final = ("title", "name", "label", "question", "topic", "id")


def describe(line: Any) -> str:
    """Write one event as one line."""
    data = line.data
    path = data.get("path", "")
    words = f"{line.type:<{_NAME}} {_words(line.type, path, data)}"
    return " ".join(words.split("\n")).rstrip()


def _message(envelope: Any) -> str:
    """Return what kind of message an envelope holds."""
    return str(envelope[4]).removeprefix("message.").rpartition(".")[0]


def _of_authority(fact: Mapping[str, Any]) -> str:
    """Write a fact of authority in a few words."""
    match fact:
        case {
            "fact": "authority_granted",
            "id": id,
            "parent": parent,
            "issuer": issuer,
            "subject": subject,
            "actions": actions,
        }:
            return f"{subject} is granted {id} for {', '.join(actions)} by {issuer}" + (
                f", of {parent}" if parent else ""
            )
        case {"fact": "authority_used", "agent": agent, "action": action, "chain": chain}:
            return f"{agent} may {action}: {' under '.join(chain)}"
        case {"fact": "authority_revoked", "grant": grant, "by": by}:
            return f"{grant} is revoked by {by}"
        case {"fact": "task_delegated", "task": task, "by": by, "to": to}:
            return f"{task} goes from {by} to {to}"
        case {"fact": "authority_escalated", "request": request, "use": use, "to": to}:
            return f"{request} for {use[1]} stands with {to}"
        case {"fact": "escalation_passed", "request": request, "by": by, "why": why}:
            return f"{request} is passed on by {by}: {why}"
        case {"fact": "escalation_ended", "request": request, "by": by, "verdict": verdict}:
            return f"{request} ends, {verdict} by {by}"
        case _:
            return str(fact["fact"])


def _words(type_: str, path: str, data: Mapping[str, Any]) -> str:
    match type_:
        case "StepScheduled":
            return f"{path}@{data['attempt']} → {data['agent']}"
        case "StepCompleted":
            return f"{path}  {data['duration_ms']:.0f}ms  {summary(data.get('exposed'), data.get('blobs'))}"
        case "ResultSought":
            return f"{path}  key {data['key'][:12]}"
        case "ResultReused":
            source = f"{data['step']} of {data['run']} at seq {data['seq']}"
            return f"{path}  from {source}  {summary(data.get('exposed'), data.get('blobs'))}"
        case "StepHeldBack":
            return f"{path}  {data['limit']}"
        case "StepFailed":
            return f"{path}@{data['attempt']}  {failure(data['error'])}  ({data['rule']}: {data['then']})"
        case "RetryScheduled":
            return f"{path}  in {data['delay_ms']}ms"
        case "StepRedispatched":
            return f"⚡ {path}  {data['cause']}; it is sent again"
        case "RunFailed" | "StepGaveUp":
            return f"{path or data.get('step', '')}  {failure(data['error'])}".lstrip()
        case "RunReopened":
            return f"{path}  by {data['by']}" + (f": {data['reason']}" if data["reason"] else "")
        case "RunPaused" | "RunResumed" | "RunRequeued" | "RunCancelled" | "CancelRequested":
            return f"by {data['by']}" + (f": {data['reason']}" if data["reason"] else "")
        case "StepReassigned":
            by = f"  by {data['by']}" if data["by"] else ""
            return f"{path} → {data['agent'] or 'another process'}  ({data['rule']}){by}"
        case "InputsReplaced":
            return f"{path}  ({data['rule']})"
        case "FallbackStepStarted":
            return f"{path}: {data['step']} stands in  ({data['rule']})"
        case "FallbackStepEnded":
            return f"{path}: {data['step']} stood in"
        case "CompensationStarted":
            return f"before it is {data['outcome']}: {', '.join(data['steps'][:12])}"
        case "RunTakenBack":
            why = f": {data['reason']}" if data["reason"] else ""
            return f"before it goes back to seq {data['to']}: {', '.join(data['steps'][:12])}  by {data['by']}{why}"
        case "RunForked":
            again = f"; again: {', '.join(data['again'][:6])}" if data["again"] else ""
            return f"from {data['parent']} at seq {data['at']} by {data['by']}{again}" + (
                f": {data['reason']}" if data["reason"] else ""
            )
        case "ResultReplaced":
            return f"{path}.{data['name']}  by {data['by']}"
        case "RestoreBegun" | "RunRestored":
            return f"to seq {data['to']} by {data['by']}" + (f": {data['reason']}" if data["reason"] else "")
        case "PlanRevised":
            fields = f" ({', '.join(data['fields'])})" if data["fields"] and data["change"] == "modify_step" else ""
            why = f": {data['reason']}" if data["reason"] else ""
            return f"revision {data['revision']}: {data['change']} {data['step']}{fields}  by {data['by']}{why}"
        case "StepRequested":
            given = "  with inputs of its own" if data["given"] else ""
            return f"{path}{given}  by {data['by']}" + (f": {data['reason']}" if data["reason"] else "")
        case "RunQuarantined":
            return str(data["error"])
        case "RunCreated":
            return f"{data['workflow']} {data['version']}".rstrip() + f" by {data['author']}"
        case "RunLinked":
            return ", ".join(f"{name}={driver}" for name, driver in data["drivers"].items())
        case "DecisionTaken":
            return f"{path}  {data['branch']} → {', '.join(data['steps']) or 'nothing'}"
        case "Escalated":
            return f"{path}  {data['agent']} is asked"
        case "EscalationAnswered":
            return f"{path}  {data['answer']} by {data['by']}, rule {data['rule']}: {data['reason']}"
        case "ManualTaskRequested":
            return f"{path}  {data['prompt']}"
        case "ManualTaskAnswered":
            return f"{path}  by {data['by']}"
        case "TurnStarted":
            return f"{path}  turn {data['turn'] + 1}"
        case "LoopEnded":
            return f"{path}  {data['turns']} turns, {data['reason']}"
        case "ItemsFrozen":
            return f"{path}  {data['count']} items"
        case "PartsSplit":
            return f"{path}  {max(len(data['bounds']) - 1, 0)} parts of {data['over']}"
        case "ItemsJoined":
            return f"{path}  {data['succeeded']} succeeded" + (f", {data['failed']} failed" if data["failed"] else "")
        case "ConsensusProposed":
            asked = data["question"]
            return f"{path}  {' or '.join(asked['options'])}? {len(asked['electors'])} peers, {asked['rule']}"
        case "ConsensusReached":
            votes = ", ".join(f"{elector}: {' > '.join(choices) or 'abstains'}" for elector, choices in data["votes"])
            accepted = "" if data["accepted"] else "  (not accepted)"
            lost = f"  not counted: {'; '.join(data['not_counted'])}" if data["not_counted"] else ""
            return f"{path}  {data['outcome']}{accepted}  of {votes or 'no votes'}{lost}"
        case "ConsensusEscalated":
            return f"{path}  {data['outcome']}"
        case "PeerActed":
            kind, what = data["cause"]
            told = ", ".join(f"{_message(envelope)} to {envelope[1]}" for envelope in data["sends"])
            cause = f"{_message(what)} of {what[0]}" if kind == "received" else str(kind)
            return f"{path}  {cause}" + (f" → {told}" if told else "")
        case "BallotCast":
            why = f": {data['reason']}" if data["reason"] else ""
            return f"{path}  {' > '.join(data['choices']) or 'abstains'}{why}"
        case "Decided" if "option" in data:
            return f"{path}  round {data['round']}: {data['option'] or data['outcome']}"
        case "AuthorityOpened":
            below = ", ".join(f"{agent} under {above}" for agent, above in data["setup"]["superiors"].items())
            return below or "nobody is in the hierarchy"
        case "AuthorityRecorded":
            told = "; ".join(map(_of_authority, data["facts"]))
            return f"{path}  {told}".lstrip() + (f"  by {data['by']}" if data["by"] else "")
        case "AuthorityAsked":
            return f"{data['of']}  {data['who']} is asked under {path}".lstrip()
        case "AuthorityAnswered":
            return f"{data['of']}  {path}: {data['verdict']}" + (f", {data['comment']}" if data["comment"] else "")
        case "TaskTaken":
            under = f" under {data['grant']}" if data["grant"] else ""
            taken = f"taken by {data['agent']} at level {data['level']}{under}"
            return f"{path}  {taken if data['agent'] else 'refused: ' + data['refused']}"
        case "MachineOpened":
            return f"{path}  {data['machine']} with {', '.join(data['nodes'][:12])}"
        case "MachineDecided":
            return f"{path}  {data['node']}: {'; '.join(_fact(label, values) for label, values in data['facts'])}"
        case "MachineTimed":
            return f"{path}  {'waits for time' if data['timed'] else 'waits for no time'}"
        case "SpareStarted":
            return f"{path}  is given to a second worker too"
        case "SpareWon":
            return f"{path}  the second worker was first"
        case "MachineRecovered":
            return f"{path}  begins for the {data['life']}. time"
        case "QuestionAsked":
            whom = f"{data['agent']}.{data['action']}" if data["agent"] else data["who"]
            return f"{path}  {data['node']} asks {whom}: {data['key']}"
        case "QuestionAnswered":
            return f"{data['ask']}  {data['status']}"
        case "RunSpawned":
            return f"by {data['path']} of run {data['parent']}"
        case "TemplateOpened":
            return f"{path}  {data['template']}"
        case "ChildRequested":
            return f"{path}  run {data['child']} of {data['workflow']} {data['version']}".rstrip()
        case "ChildEnded":
            why = f"  {failure(data['error'])}" if data["error"] else ""
            return f"{path}  run {data['child']} {data['status']}{why}"
        case "ResultJoined":
            return f"{path}  {summary(data.get('exposed'), data.get('blobs'))}"
        case "SearchAttributesSet":
            given = ", ".join(f"{name}={'' if value is None else value}" for name, value in data["attributes"].items())
            return f"{given}  by {data['by']}"
        case "MessageSent":
            asks = "asks" if data["ask"] else "sends"
            again = f"@{data['attempt']}" if data["attempt"] > 1 else ""
            return f"{data['number']} {path}{again} {asks} {data['to']}.{data['action']}  {summary(data['body'])}"
        case "MessageHandled":
            return f"{data['number']} {data['status']} by {path}"
        case "MessageWithdrawn" | "MessageSuperseded":
            return f"{data['number']} {data['reason']}"
        case "StepSkipped" | "StepCancelled" | "ResultDiscarded":
            return f"{path}  {data['reason']}"
        case _:
            return str(data.get("problem", path))


def _fact(label: str, values: list[Any]) -> str:
    """Write what a machine recorded: its name, and its fields where they are known here."""
    from kos_runtime.composition.machines import load_installed

    load_installed()
    said = ", ".join(f"{name}={value!r:.60}" for name, value in fact_shown(label, values).items())
    return f"{label.rpartition('.')[0]}({said})"[:300]


def failure(error: Mapping[str, Any]) -> str:
    """Write a recorded error: its kind and what it says."""
    return f"{error.get('type', 'unknown')}: {error.get('message', '')}"


def summary(exposed: Any, blobs: Any = ()) -> str:
    """Say in a few words what a step gave: ``plan: 3 items``."""
    parts = []
    if isinstance(exposed, dict):
        parts += [f"{name}: {_short(value)}" for name, value in exposed.items()]
    for name, _, size, kind, length, *_ in blobs or ():
        parts.append(f"{name}: {f'{length} items' if kind == 'array' else f'{size} bytes'}")
    text = ", ".join(parts)
    return text if len(text) <= _SUMMARY else text[: _SUMMARY - 1].rstrip("…") + "…"


def _short(value: Any) -> str:
    match value:
        case list():
            return f"{len(value)} {'item' if len(value) == 1 else 'items'}"
        case {"text": str(text), "mime": _} | str(text):
            line = " ".join(text.split())
            return line if len(line) <= _VALUE else line[: _VALUE - 1] + "…"
        case dict():
            return f"{len(value)} {'key' if len(value) == 1 else 'keys'}"
        case float():
            return f"{value:.4g}"
        case None:
            return "null"
        case bool():
            return str(value).lower()
        case _:
            return str(value)


def label(item: Any) -> str:
    """Say which item of an array this is, when a word of its own tells it; else nothing."""
    if isinstance(item, dict):
        item = next((item[key] for key in _LABELS if isinstance(item.get(key), str)), "")
    return " ".join(item.split())[:_VALUE] if isinstance(item, str) else ""
