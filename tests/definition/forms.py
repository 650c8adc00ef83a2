"""Random workflows that are well formed and mean something, for property tests."""

from typing import Any

from hypothesis import strategies as st

WORDS = (
    "topic",
    "depth",
    "x",
    "héllo",
    "a b",
    "yes",
    "12",
    "1e3",
    "null",
    "# no",
    "- no",
    "'q'",
    '"q"',
    "a: b",
    "$$5",
    "",
)
LITERALS: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from(WORDS)
    | st.text(max_size=12).map(lambda text: text.replace("$", "")),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)
CONDITIONS = st.sampled_from(
    [
        "true",
        "$inputs.topic == 'x'",
        'contains($inputs.topic, "#") and 1 < 2',
        "len($inputs.xs) > 3",
        "not defined($inputs.q)",
    ]
)
SPANS = st.sampled_from(["5s", "10m", "1h30m", "250ms", "2d"])
REFERENCES = st.sampled_from(
    ["$inputs.topic", "$inputs.xs[0]", "${{ len($inputs.xs) }}", "about ${{ $inputs.topic }}", "$workflow.run_id"]
)
VALUES = st.dictionaries(st.sampled_from(["topic", "data", "n"]), REFERENCES | LITERALS, max_size=3)
BACKOFF = st.fixed_dictionaries(
    {},
    optional={
        "strategy": st.sampled_from(["exponential", "linear", "fixed"]),
        "initial": SPANS,
        "factor": st.integers(1, 5),
        "max": SPANS,
        "jitter": st.booleans(),
    },
)
RETRY = st.fixed_dictionaries({}, optional={"max_retries": st.integers(0, 100), "backoff": BACKOFF})
SYNC = st.sampled_from(["all", "any"]) | st.just({"count": 1}) | st.just({"quorum": 0.5})
RESOURCES = st.dictionaries(
    st.sampled_from(["num_cpus", "num_gpus", "memory", "tpu"]), st.sampled_from([1, 0.5, "512MiB"]), max_size=2
)
BESIDE = {
    "when": CONDITIONS,
    "timeout": SPANS,
    "retry": RETRY,
    "delivery": st.sampled_from(["at_least_once", "at_most_once"]),
    "idempotent": st.booleans(),
    "idempotency_key": REFERENCES,
    "compensate": st.just({"agent": "k", "action": "undo", "inputs": {"id": "$self.result.id"}}),
    "priority": st.integers(-9, 9),
    "resources": RESOURCES,
    "authority_required": st.just(["publish"]) | st.just("publish"),
    "cache": st.booleans() | st.just({"key": "$inputs.topic", "ttl": "7d"}),
    "on_demand": st.booleans(),
    "parallel": st.booleans(),
    "description": st.sampled_from(WORDS) | st.just("first line\nsecond line\n"),
}
ACTION = {"agent": st.sampled_from(["kPlanner", "k"]), "action": st.sampled_from(["act", "look_up"])}
ONE_FORM = st.one_of(
    st.fixed_dictionaries(ACTION, optional={"inputs": VALUES, "outputs": st.just({"out": "$result"}) | st.just({"a": "b.c", "d": "e"})}),
    st.fixed_dictionaries({"set": VALUES}),
    st.fixed_dictionaries({"emit": st.fixed_dictionaries({"event": st.just("done")}, optional={"data": REFERENCES})}),
    st.fixed_dictionaries({"fail": st.fixed_dictionaries({}, optional={"kind": st.just("permanent"), "message": REFERENCES})}),
    st.fixed_dictionaries({"wait": st.just({"for": "5m"}) | st.just({"until": "$inputs.topic"})}),
    st.just({"wait_for": {"signal": "ack", "match": "$signal.ok", "timeout": "2h", "on_timeout": "continue"}}),
    st.just({"approval": {"prompt": "Go on?", "show": {"t": "$inputs.topic"}, "approvers": ["role:editor"], "quorum": 2,
                          "form": {"comment": {"type": "string", "required": False}}, "timeout": "8h", "on_timeout": "fail"}}),
    st.just({"workflow": {"id": "other", "version": ">=1.0 <2.0", "inputs": {"t": "$inputs.topic"}, "parent_close": "cancel", "mode": "await"}}),
    st.just({"template": {"use": "chain", "with": {"prompt": "$inputs.topic"}}}),
    st.just({"coordination": {"pattern": "peer_to_peer", "peers": "panel", "weights": {"panel-1": 2}, "consensus": {"rule": "weighted",
             "threshold": "2/3", "rounds": 3}, "conflicts": {"tags": "or_set", "title": {"action": "merge"}}}, "action": "vote"}),
    st.just({"coordination": {"pattern": "master_slave", "workers": "k", "lease": "30s", "speculate": True, "aggregate": "in_order"}, "action": "rank"}),
    st.just({"coordination": {"pattern": "hierarchical", "levels": ["a", "b"], "delegate": "up", "authority": {"grant": "g", "expires": "1h"}}, "action": "d"}),
)  # fmt: skip


@st.composite
def bodies(draw: st.DrawFn, prefix: str, depth: int) -> list[dict[str, Any]]:
    """Draw the steps of a body; ids are unique and begin with the prefix."""
    steps: list[dict[str, Any]] = []
    for number in range(draw(st.integers(1, 3))):
        name = f"{prefix}{number}"
        form = draw(ONE_FORM if depth == 0 else ONE_FORM | nesting(f"{name}_", depth - 1))
        beside = draw(st.fixed_dictionaries({}, optional=BESIDE))
        if beside.get("cache") and (beside.get("delivery") == "at_most_once" or "compensate" in beside):
            del beside["cache"]  # these are refused together
        waits = draw(st.lists(st.sampled_from([s["id"] for s in steps]), max_size=2, unique=True)) if steps else []
        steps.append({"id": name, **beside, **({"depends_on": waits} if waits else {}), **form})
    return steps


@st.composite
def nesting(draw: st.DrawFn, prefix: str, depth: int) -> dict[str, Any]:
    """Draw a form with a body in it, or the action of a for_each."""
    body = draw(bodies(prefix, depth))
    match draw(st.sampled_from(["loop", "for_each", "each", "parallel_group"])):
        case "loop":
            key = draw(st.sampled_from(["body", "loop_body"]))
            more = st.fixed_dictionaries(
                {"max_iterations": st.integers(0, 9)},
                optional={
                    "loop_condition": st.just("$loop.index < 3"),
                    "break_conditions": st.just([{"condition": "$loop.index == 2", "reason": "two"}, "true"]),
                    "on_exhausted": st.sampled_from(["continue", "fail", "escalate"]),
                },
            )
            return {"loop": {key: body, **draw(more)}}
        case "for_each":
            failing = draw(st.sampled_from(["fail_fast", "collect", {"quorum": 0.8}]))
            return {"for_each": {"in": "$inputs.xs", "as": "task", "on_item_failure": failing, "steps": body}}
        case "each":
            return {
                "for_each": {"in": "$inputs.xs", "max_concurrency": 4},
                **draw(st.fixed_dictionaries(ACTION)),
                "inputs": {"v": "$item", "n": "$index"},
            }
        case _:
            settings: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
                {}, optional={"sync": SYNC, "max_concurrency": st.integers(1, 4), "resource_requirements": RESOURCES}
            )
            return {"parallel_group": {"steps": body, **draw(settings)}}


AGENTS = st.just(
    {
        "panel": {"agent": "k", "replicas": {"min": 1, "max": 3}, "rate_limit": "60/m", "authority": 2},
        "q": {"agent": "k", "replicas": 3},
    }
)


@st.composite
def workflows(draw: st.DrawFn) -> dict[str, Any]:
    """Draw a workflow, interface spellings included."""
    steps = draw(bodies("s", 2))
    ids = [step["id"] for step in steps]
    content: dict[str, Any] = {"id": "w", "steps": steps}
    content |= draw(
        st.fixed_dictionaries(
            # Whoever votes is said in it.
            {"agents": AGENTS},
            optional={
                "version": st.sampled_from(["1.0", 1.0, "2.1.0"]),
                "description": st.sampled_from(WORDS),
                "outputs": st.just([{"name": "summary", "type": "document", "value": "$inputs.topic"}]),
                "variables": st.dictionaries(st.sampled_from(["threshold", "n"]), LITERALS, max_size=2),
                "execution_order": st.sampled_from(["sequential", "parallel", "conditional", "loop"]),
                "timeout": SPANS,
                "schedule": st.just({"cron": "0 6 * * 1", "timezone": "Europe/Berlin", "overlap": "skip", "catch_up": "last"}),
                "compensation": st.just({"order": "reverse", "on": ["failed", "cancelled"]}),
                "monitoring": st.just({"progress_tracking": True, "audit_trail": False}),
                "error_handling": st.just([
                    {"step": ids[0], "on_failure": "escalate", "escalation_agent": "c"},
                    {"step": ids, "errors": "timeout", "on_failure": ["retry", "different_agent", "skip"], "max_retries": 5, "backoff": {"factor": 2, "max": "2m"}},
                    {"step": "*", "errors": ["transient"], "on_failure": "retry", "fallback": "by_hand"},
                ]),
            },
        )
    )  # fmt: skip
    spelled = draw(
        st.sets(st.sampled_from(["group", "point", "decision", "loop", "dependencies", "conditions", "whole"]))
    )
    free = [step["id"] for step in steps if "depends_on" not in step]
    if "group" in spelled and len(free) == len(ids):
        content["parallel_groups"] = [{"id": "wrap", "steps": ids[:2], "max_concurrency": 2}]
    if "whole" in spelled:
        content.setdefault("parallel_groups", []).append(
            {"id": "whole", "steps": [{"id": "m", "agent": "k", "action": "a"}]}
        )
    if "point" in spelled:
        content["synchronization_points"] = [{"id": "met", "wait_for": ids[0], "sync": "all"}]
    if "decision" in spelled:
        content["decision_points"] = [
            {"id": "fork", "condition": "$inputs.xs == null", "true_path": [], "default_path": []}
        ]
    if "loop" in spelled:
        content |= {
            "loop_body": [{"id": "poll", "agent": "k", "action": "a"}],
            "loop_condition": "$loop.index < 2",
            "max_iterations": 3,
        }
        if "dependencies" in spelled:
            content["dependencies"] = {"loop": ids[:1]}
        if "conditions" in spelled:
            content["conditions"] = {"loop": "$inputs.topic != null", **({"met": "true"} if "point" in spelled else {})}
    return content
