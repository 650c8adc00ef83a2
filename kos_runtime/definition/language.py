"""The workflow language: every key of every form."""

from typing import Any, Final

from kos_runtime.definition.problems import Path
from kos_runtime.definition.shapes import (
    Amount,
    Anything,
    Check,
    Condition,
    Either,
    Flag,
    Later,
    ListOf,
    MapOf,
    Number,
    Obj,
    OneOf,
    Shape,
    Span,
    Text,
)  # fmt: skip

KINDS: Final = ("transient", "permanent", "resource", "dependency", "timeout", "validation", "security", "unknown")
TYPES: Final = (
    "string", "integer", "number", "boolean", "enum", "array", "object", "document", "datetime", "duration", "any",
)  # fmt: skip
RUNGS: Final = ("retry", "different_agent", "fallback", "escalate", "compensate", "manual", "skip", "fail")
#: The keys of which a step has exactly one; ``agent`` and ``action`` together are one.
FORMS: Final = (
    "decision", "loop", "for_each", "parallel_group", "coordination", "workflow", "template", "wait", "wait_for",
    "approval", "set", "emit", "fail",
)  # fmt: skip
MAX_STEPS: Final = 5_000
#: Entries of a workflow's own lists: inputs, outputs, handlers, groups, points.
MAX_ENTRIES: Final = 500
MAX_ITERATIONS: Final = 100_000
MAX_RETRIES: Final = 100
#: Levels of a hierarchy, and how often a grant may be handed on.
MAX_LEVELS: Final = 15

_ID: Final = Text(name=True)
_IDS: Final = ListOf(_ID, single=True)
_SOME_IDS: Final = ListOf(_ID, single=True, least=1)
_VALUES: Final = MapOf(Anything())
_STEPS: Final = ListOf(Later("step", lambda: STEP), most=MAX_STEPS, least=1)
_BREAKS: Final = ListOf(
    Either(
        (dict, Obj("a break condition", {"condition": Condition(), "reason": Text()}, required=("condition",))),
        (object, Condition()),
    )
)

BACKOFF: Final = Obj(
    "backoff",
    {
        "strategy": OneOf("exponential", "linear", "fixed"),
        "initial": Span(),
        "factor": Number(1, 1_000, whole=False),
        "max": Span(),
        "jitter": Flag(),
    },
)
RETRY: Final = Obj("retry", {"max_retries": Number(0, MAX_RETRIES), "backoff": BACKOFF})
RESOURCES: Final = MapOf(Amount())


#: Exactly one of the keys.
_ONE: Final = {"minProperties": 1, "maxProperties": 1}


def _one_sync(value: dict[str, Any], path: Path, to: Check) -> None:
    if len(value) != 1:
        to.fail(path, "KOS109", "sync: exactly one of count and quorum")


SYNC: Final = Either(
    (str, OneOf("all", "any")),
    (
        dict,
        Obj("sync", {"count": Number(1, MAX_STEPS), "quorum": Number(0, 1, whole=False)}, also=_one_sync, more=_ONE),
    ),
)
GROUP: Final = Obj(
    "parallel_group",
    {"steps": _STEPS, "max_concurrency": Number(1, 10_000), "resource_requirements": RESOURCES, "sync": SYNC},
    required=("steps",),
)
DECISION: Final = Obj(
    "decision",
    {"condition": Condition(), "true_path": _IDS, "false_path": _IDS, "default_path": _IDS},
    required=("condition",),
)


def _loop_body(value: dict[str, Any], path: Path, to: Check) -> None:
    if ("body" in value) == ("loop_body" in value):
        to.fail(path, "KOS109", "a loop needs exactly one of body and loop_body")


LOOP: Final = Obj(
    "loop",
    {
        "body": _STEPS,
        "loop_body": _STEPS,
        "loop_condition": Condition(),
        "max_iterations": Number(0, MAX_ITERATIONS),
        "break_conditions": _BREAKS,
        "on_exhausted": OneOf("continue", "fail", "escalate"),
    },
    required=("max_iterations",),
    also=_loop_body,
    more={"oneOf": [{"required": ["body"]}, {"required": ["loop_body"]}]},
)
ON_ITEM_FAILURE: Final = Either(
    (str, OneOf("fail_fast", "collect")),
    (dict, Obj("on_item_failure", {"quorum": Number(0, 1, whole=False)}, required=("quorum",))),
)
FOR_EACH: Final = Obj(
    "for_each",
    {
        "in": Anything(),
        "as": _ID,
        "max_concurrency": Number(1, 10_000),
        "on_item_failure": ON_ITEM_FAILURE,
        "steps": _STEPS,
    },
    required=("in",),
)
FIELD: Final = Obj(
    "a form's field", {"type": OneOf(*TYPES), "required": Flag(), "default": Anything(), "values": ListOf(Text()),
                       "description": Text()},
)  # fmt: skip
FORM_SHAPES: Final[dict[str, Shape]] = {
    "decision": DECISION,
    "loop": LOOP,
    "for_each": FOR_EACH,
    "parallel_group": GROUP,
    "coordination": Obj(
        "coordination",
        {
            "pattern": OneOf("master_slave", "peer_to_peer", "hierarchical"),
            "workers": Text(), "lease": Span(), "speculate": Flag(), "aggregate": OneOf("in_order", "as_completed"),
            "tasks": Anything(), "as": _ID, "on_item_failure": ON_ITEM_FAILURE,
            "peers": Text(), "weights": MapOf(Number(0)), "conflicts": MapOf(Anything()),
            "consensus": Obj(
                "consensus",
                {
                    "rule": OneOf("majority", "supermajority", "unanimous", "weighted", "approval", "schulze"),
                    "threshold": Text(raw=True), "participation": Text(raw=True), "rounds": Number(1, 100),
                    "deadline": Span(), "on_deadlock": Text(), "agreement": OneOf("paxos", "log"),
                    "options": ListOf(Text(), least=1),
                },
                required=("rule",),
            ),
            "levels": ListOf(Text(), least=2, most=MAX_LEVELS), "delegate": OneOf("down", "up"),
            "authority": Obj(
                "authority",
                {
                    "grant": _ID, "scope": Anything(), "cost": Anything(), "expires": Span(),
                    "on_refused": OneOf("fail", "continue"),
                },
                required=("grant",),
            ),
        },
        required=("pattern",),
    ),
    "workflow": Obj(
        "workflow",
        {
            "id": _ID, "version": Text(raw=True), "inputs": _VALUES, "parent_close": OneOf("cancel", "abandon"),
            "mode": OneOf("await", "detach"),
        },
        required=("id",),
    ),
    "template": Obj("template", {"use": _ID, "with": _VALUES}, required=("use",)),
    "wait": Obj("wait", {"for": Span(), "until": Anything()}, more=_ONE),
    "wait_for": Obj(
        "wait_for",
        {"signal": _ID, "match": Condition(), "timeout": Span(), "on_timeout": OneOf("fail", "continue", "escalate")},
        required=("signal",),
    ),
    "approval": Obj(
        "approval",
        {
            "prompt": Text(), "show": Anything(), "approvers": ListOf(Text(), single=True), "quorum": Number(1, 1_000),
            "form": MapOf(FIELD), "timeout": Span(), "on_timeout": OneOf("approve", "reject", "escalate", "fail"),
        },
        required=("prompt",),
    ),
    "set": _VALUES,
    "emit": Obj("emit", {"event": _ID, "data": Anything()}, required=("event",)),
    "fail": Obj("fail", {"kind": OneOf(*KINDS), "message": Anything()}),
}  # fmt: skip


def _one_form(step: dict[str, Any], path: Path, to: Check) -> None:
    """A step has exactly one form; ``action`` (and ``agent``) go with some of them."""
    forms = [form for form in FORMS if form in step]
    name = step.get("id", "?")
    known = to.source.at(path)
    # A key that was misspelled is told as such; that it is missing needs no second word.
    known = {*known, *(to.nearest(key, STEP.keys) for key in known if key not in STEP.keys)}
    if len(forms) > 1:
        to.fail(path, "KOS110", f"step {name!r} has {len(forms)} forms: {', '.join(forms)}", "it takes exactly one")
    elif not forms and not ("agent" in known or "action" in known):
        if not any(form in known for form in FORMS):
            to.fail(path, "KOS110", f"step {name!r} has no form", f"give it agent and action, or {', '.join(FORMS)}")
    elif not forms:
        for key, other in (("agent", "action"), ("action", "agent")):
            if key not in known:
                to.fail(path, "KOS101", f"step {name!r} needs {key!r} beside {other!r}")
    elif forms[0] == "for_each":
        each = step["for_each"]
        inside = "steps" in each if isinstance(each, dict) else False
        beside = "agent" in step and "action" in step
        if inside == beside:
            to.fail(path, "KOS110", f"step {name!r}: for_each takes either agent and action beside it, or steps in it")
    elif forms[0] == "coordination" and "action" not in step:
        to.fail(path, "KOS101", f"step {name!r} needs 'action' beside 'coordination'")
    elif forms[0] == "coordination" and "agent" in step:
        hint = "workers, peers or levels say who does it"
        to.fail((*path, "agent"), "KOS110", f"step {name!r}: 'agent' does not go with 'coordination'", hint)
    elif forms[0] != "coordination" and ("agent" in step or "action" in step):
        to.fail(path, "KOS110", f"step {name!r}: agent and action do not go with {forms[0]}")
    wait = step.get("wait")
    if isinstance(wait, dict) and len(wait) != 1:
        to.fail((*path, "wait"), "KOS109", "wait takes exactly one of for and until")


def _form_choices() -> list[dict[str, Any]]:
    """Say in the words of JSON Schema that a step has exactly one form."""
    choices = []
    for form in ("action", *FORMS):
        needed = {"action": ["agent", "action"], "coordination": ["coordination", "action"]}.get(form, [form])
        beside = {"action": (), "coordination": ("agent",), "for_each": ()}.get(form, ("agent", "action"))
        others = [key for key in (*FORMS, *beside) if key not in needed]
        choices.append({"required": needed, "not": {"anyOf": [{"required": [key]} for key in others]}})
    return choices


NEED: Final = Obj("authority_required", {"grant": _ID, "scope": Anything(), "cost": Anything()}, required=("grant",))
COMPENSATE: Final = Obj(
    "compensate", {"agent": Text(), "action": Text(), "inputs": _VALUES}, required=("agent", "action")
)
STEP: Final[Obj] = Obj(
    "step",
    {
        "id": _ID,
        "description": Text(),
        "agent": Text(),
        "action": Text(),
        "when": Condition(),
        "depends_on": _IDS,
        "inputs": _VALUES,
        "outputs": MapOf(Text()),
        "parallel": Flag(),
        "timeout": Span(),
        "heartbeat_timeout": Span(),
        "retry": RETRY,
        "delivery": OneOf("at_least_once", "at_most_once"),
        "idempotent": Flag(),
        "idempotency_key": Anything(),
        "compensate": COMPENSATE,
        "priority": Number(-1_000, 1_000),
        "resources": RESOURCES,
        "authority_required": ListOf(Either((str, _ID), (dict, NEED)), single=True, most=MAX_LEVELS),
        "cache": Either((bool, Flag()), (dict, Obj("cache", {"key": Anything(), "ttl": Span()}))),
        "on_demand": Flag(),
        **FORM_SHAPES,
    },
    required=("id",),
    also=_one_form,
    more={"oneOf": _form_choices()},
    docs={
        "agent": "An agent's kind, alias or pool.",
        "action": "The action of that agent.",
        "when": "A condition; the step is skipped when it is false.",
        "depends_on": "Ids of steps that must be over before.",
        "outputs": "Name seen by others: key of the action's result ($result is the whole).",
        "parallel": "Side by side with its neighbours; spread over the pool where the action says over what.",
        "timeout": "For one attempt.",
        "heartbeat_timeout": "An attempt that gives no sign of life for so long has failed.",
    },
)


def _fallback(value: dict[str, Any], path: Path, to: Check) -> None:
    ladder = value.get("on_failure")
    if isinstance(ladder, list) and "escalate" in ladder and "escalation_agent" not in value:
        to.fail(path, "KOS101", "on_failure: escalate needs an escalation_agent")
    if isinstance(ladder, list) and "fallback" in ladder and "fallback" not in value:
        to.fail(path, "KOS101", "on_failure: fallback needs a fallback")


HANDLER: Final = Obj(
    "error_handling",
    {
        "step": ListOf(Text(), single=True),
        "errors": ListOf(OneOf(*KINDS), single=True),
        "on_failure": ListOf(OneOf(*RUNGS), single=True, least=1),
        "max_retries": Number(0, MAX_RETRIES),
        "backoff": BACKOFF,
        "fallback": _ID,
        "escalation_agent": Text(),
    },
    required=("on_failure",),
    also=_fallback,
)
INPUT: Final = Obj(
    "input",
    {
        "name": _ID, "type": OneOf(*TYPES), "required": Flag(), "default": Anything(),
        "values": ListOf(Text(raw=True), least=1), "schema": Anything(), "description": Text(),
    },
    required=("name",),
)  # fmt: skip
OUTPUT: Final = Obj(
    "output",
    {
        "name": _ID, "type": OneOf(*TYPES), "value": Anything(), "schema": Anything(), "description": Text(),
        "values": ListOf(Text(raw=True)),
    },
    required=("name",),
)  # fmt: skip
REPLICAS: Final = Either(
    (int, Number(1, 10_000)), (dict, Obj("replicas", {"min": Number(0, 10_000), "max": Number(1, 10_000)}))
)
POOL: Final = Obj(
    "agent pool",
    {
        "agent": Text(), "replicas": REPLICAS, "resources": RESOURCES, "rate_limit": Text(), "authority": Number(0, 1_000),
        "max_concurrency": Number(1, 100_000),
    },
    required=("agent",),
)  # fmt: skip
LIMITS: Final = Obj(
    "limits", {name: Number(0, 1_000_000_000) for name in ("cost", "count", "fan_out")}, more={"minProperties": 1}
)
GRANT: Final = Obj(
    "grant",
    {
        "to": Text(), "actions": ListOf(_ID, single=True, least=1), "scope": Text(), "limits": LIMITS, "expires": Span(),
        "depth": Number(0, MAX_LEVELS), "from": _ID,
    },
    required=("to",),
)  # fmt: skip
AUTHORITY: Final = Obj(
    "authority",
    {
        "person": Text(), "answer_within": Span(), "hierarchy": MapOf(Text(), names=False),
        "grants": MapOf(GRANT),
    },
)  # fmt: skip
_GROUP_MEMBERS: Final = ListOf(Either((str, _ID), (dict, Later("step", lambda: STEP)), (object, _ID)), least=1)
WORKFLOW_KEYS: Final[dict[str, Shape]] = {
    "id": _ID,
    "version": Text(raw=True),
    "description": Text(),
    "inputs": ListOf(INPUT, most=MAX_ENTRIES),
    "outputs": ListOf(OUTPUT, most=MAX_ENTRIES),
    "variables": _VALUES,
    "agents": MapOf(POOL),
    "authority": AUTHORITY,
    "execution_order": OneOf("sequential", "parallel", "conditional", "loop"),
    "steps": ListOf(Later("step", lambda: STEP), most=MAX_STEPS),
    "error_handling": ListOf(HANDLER, most=MAX_ENTRIES),
    "compensation": Obj(
        "compensation",
        {"order": OneOf("reverse"), "on": ListOf(OneOf("failed", "cancelled"), single=True)},
    ),
    "monitoring": Obj(
        "monitoring", {"progress_tracking": Flag(), "performance_metrics": Flag(), "audit_trail": Flag()}
    ),
    "schedule": Obj(
        "schedule",
        {
            "cron": Text(), "timezone": Text(), "overlap": OneOf("skip", "queue", "cancel_running"),
            "catch_up": OneOf("none", "last", "all"), "inputs": _VALUES,
        },
        required=("cron",),
    ),
    "timeout": Span(),
    "priority": Number(-1_000, 1_000),
    "rate_limit": Text(),
    "max_concurrency": Number(1, 100_000),
    "dependencies": MapOf(_IDS),
    "conditions": MapOf(Condition()),
    "parallel_groups": ListOf(
        Obj(
            "parallel group",
            {
                "id": _ID, "steps": _GROUP_MEMBERS, "max_concurrency": Number(1, 10_000),
                "resource_requirements": RESOURCES, "sync": SYNC,
            },
            required=("id", "steps"),
        ),
        most=MAX_ENTRIES,
    ),
    "synchronization_points": ListOf(
        Obj("synchronization point", {"id": _ID, "wait_for": _SOME_IDS, "sync": SYNC}, required=("id", "wait_for")),
        most=MAX_ENTRIES,
    ),
    "decision_points": ListOf(
        Obj(
            "decision point",
            {"id": _ID, "condition": Condition(), "true_path": _IDS, "false_path": _IDS, "default_path": _IDS},
            required=("id", "condition"),
        ),
        most=MAX_ENTRIES,
    ),
    "loop_body": _STEPS,
    "loop_condition": Condition(),
    "max_iterations": Number(0, MAX_ITERATIONS),
    "break_conditions": _BREAKS,
}  # fmt: skip


def _has_steps(value: dict[str, Any], path: Path, to: Check) -> None:
    if not value.get("steps") and not value.get("parallel_groups") and not value.get("loop_body"):
        known = to.source.at(path)
        if all(known.get(key, []) == [] for key in ("steps", "parallel_groups", "loop_body")):
            to.fail(path, "KOS101", "a workflow needs steps")
    if "loop_body" in value and "max_iterations" not in value:
        to.fail((*path, "loop_body"), "KOS101", "loop_body needs max_iterations", key=True)
    for key in ("loop_condition", "max_iterations", "break_conditions"):
        if key in value and "loop_body" not in value:
            to.fail((*path, key), "KOS101", f"{key} needs a loop_body beside it", key=True)


WORKFLOW: Final = Obj(
    "workflow",
    WORKFLOW_KEYS,
    required=("id",),
    also=_has_steps,
    more={"anyOf": [{"required": [key]} for key in ("steps", "parallel_groups", "loop_body")]},
)
TEMPLATE: Final = Obj(
    "template",
    {
        "description": Text(), "inputs": ListOf(INPUT, most=MAX_ENTRIES),
        "outputs": ListOf(OUTPUT, most=MAX_ENTRIES), "steps": _STEPS,
        "error_handling": ListOf(HANDLER, most=MAX_ENTRIES), "execution_order": OneOf("sequential", "parallel", "conditional", "loop"),
        "variables": _VALUES, "agents": MapOf(POOL),
    },
    required=("steps",),
)  # fmt: skip
TEMPLATES: Final = MapOf(TEMPLATE)
