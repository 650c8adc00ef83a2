from dataclasses import replace
from importlib.metadata import EntryPoint
from typing import Any

import pytest

from kos_runtime.composition.discovery import GROUP, Registry
from kos_runtime.composition.linking import Linked, describe_action, link, problems
from kos_runtime.core.errors import InvalidDefinition
from kos_runtime.core.plan.link import ActionLink, FieldLink, ParameterLink
from kos_runtime.core.plan.model import Plan
from kos_runtime.definition.settings import EngineSettings
from tests.composition import crew
from tests.composition.crew import HERE, plan_of

REGISTRY = Registry(
    EntryPoint(name, f"{HERE}:{cls}", GROUP)
    for name, cls in (("kSearcher", "Searcher"), ("Writer", "Writer"), ("Boss", "Boss"), ("Mute", "Mute"))
)


def linked(plan: Plan, *, agents: dict[str, dict[str, Any]] | None = None, **more: Any) -> Linked:
    return link(plan, REGISTRY, EngineSettings(agents=agents or {}), "cache", **more)


def refusal(plan: Plan, **more: Any) -> str:
    with pytest.raises(InvalidDefinition) as caught:
        linked(plan, **more)
    return str(caught.value)


SEARCH = "{id: s, agent: kSearcher, action: search, inputs: {plan: [a]}}"


def test_a_link_records_what_an_action_takes_and_gives() -> None:
    found = linked(plan_of(SEARCH)).link.agents["kSearcher"]
    assert (found.kind, found.target) == ("kSearcher", f"{HERE}:Searcher")
    assert found.actions["search"] == ActionLink(
        parameters=(
            ParameterLink(name="plan", required=True, type="array"),
            ParameterLink(name="depth", required=False, type="string"),
            ParameterLink(name="limit", required=False, type="integer"),
        ),
        over="plan",
        fields=(FieldLink(name="data", type="array"), FieldLink(name="score", type="number"), FieldLink(name="note", type="string")),
        idempotent=True,
    )  # fmt: skip
    assert found.actions["anything"].takes_any
    assert found.actions["anything"].fields is None
    assert (found.actions["listed"].gather, found.actions["listed"].isolated) == ("list", True)


def test_every_annotation_comes_down_to_a_word_of_the_language() -> None:
    described = describe_action(crew.Types, "many")
    assert {p.name: p.type for p in described.parameters} == {
        "text": "string", "number": "number", "whole": "integer", "flag": "boolean", "array": "array", "pair": "array",
        "mapping": "object", "model": "object", "typed": "object", "point": "object", "colour": "string",
        "word": "any", "mixed": "any", "union": "any", "noted": "integer", "free": "any", "bare": "any",
        "maybe": "string",
    }  # fmt: skip
    assert [p.name for p in described.parameters if not p.required] == ["maybe"]


def test_the_fields_of_typed_dicts_and_dataclasses_are_known() -> None:
    assert describe_action(crew.Writer, "plan").fields == (
        FieldLink(name="answer", type="string"),
        FieldLink(name="reason", type="string", required=False),
    )
    assert describe_action(crew.Writer, "write").fields == (
        FieldLink(name="x", type="integer"),
        FieldLink(name="tags", type="array"),
    )


def test_all_problems_are_told_at_once() -> None:
    message = refusal(
        plan_of(
            """
            {id: a, agent: kSercher, action: search, inputs: {plan: [x]}}
            {id: b, agent: kSearcher, action: serch, inputs: {plan: [x]}}
            {id: c, agent: kSearcher, action: search, inputs: {plans: [x]}}
            {id: d, agent: Writer, action: write, inputs: {data: [x], title: 5}}
            """
        )
    )
    assert message.splitlines() == [
        "workflow 'w' cannot be linked here, for 5 reasons:",
        "  - step a: no agent 'kSercher' here; did you mean 'kSearcher'? (an agent of your own is written module:Class)",
        "  - step b: kSearcher has no action 'serch'; did you mean 'search'?",
        "  - step c: kSearcher.search has no input 'plans'; did you mean 'plan'?",
        "  - step c: kSearcher.search needs the input 'plan'",
        "  - step d: the input 'title' of Writer.write: expected string, got integer",
    ]


def test_an_agent_that_is_not_here_is_told_once() -> None:
    message = refusal(plan_of("{id: a, agent: gone, action: x}\n{id: b, agent: gone, action: y}"))
    assert message.count("no agent 'gone'") == 1


@pytest.mark.parametrize(
    ("given", "fits"),
    [
        ("plan: [a], limit: 3", True),
        ("plan: [a], limit: 3.5", False),
        ("plan: [a], limit: three", False),
        ("plan: [a], limit: $inputs.topic", True),
        ('plan: [a], limit: "${{ 1 + 2 }}"', True),
        ("plan: text", False),
        ("plan: {a: 1}", False),
        ("plan: $inputs.topic", True),
        ("plan: [a], depth: null", True),
    ],
)
def test_a_literal_of_another_type_is_found_before_anything_runs(given: str, fits: bool) -> None:
    plan = plan_of(f"{{id: s, agent: kSearcher, action: search, inputs: {{{given}}}}}")
    if fits:
        linked(plan)
    else:
        assert "expected " in refusal(plan)


def test_what_is_certain_to_be_missing_from_a_step_without_inputs_is_told() -> None:
    message = refusal(
        plan_of(
            """
            {id: one, agent: Writer, action: plan}
            {id: two, agent: Writer, action: write}
            """
        )
    )
    assert (
        "step two: Writer.write needs the input 'data', which nothing before it gives; it is handed answer" in message
    )
    assert "step one" not in message


@pytest.mark.parametrize(
    "before",
    [
        "{id: one, agent: Writer, action: plan, outputs: {data: answer}}",
        "{id: one, agent: kSearcher, action: anything, inputs: {}}",
        "{id: one, agent: Writer, action: plan, when: $inputs.topic == 'x'}",
        "{id: one, agent: kSearcher, action: search, inputs: {plan: [x]}}",
    ],
)
def test_what_may_be_there_is_not_complained_about(before: str) -> None:
    linked(plan_of(f"{before}\n{{id: two, agent: Writer, action: write}}"))


def test_free_inputs_may_give_anything() -> None:
    plan = plan_of("{id: two, agent: Writer, action: write}")
    assert "needs the input 'data'" in refusal(plan)
    linked(replace(plan, free_inputs=True))


def test_a_spread_action_must_say_how_its_results_are_joined() -> None:
    for name, words in (("untyped", "it must say gather"), ("listed", ""), ("search", ""), ("anything", "")):
        inputs = "{}" if name == "anything" else "{plan: [x]}"
        plan = plan_of(f"{{id: s, agent: kSearcher, action: {name}, parallel: true, inputs: {inputs}}}")
        if words:
            assert words in refusal(plan)
        else:
            linked(plan)
    linked(plan_of("{id: s, agent: kSearcher, action: untyped, inputs: {plan: [x]}}"))


@pytest.mark.parametrize(
    ("cls", "words"),
    [("WrongOver", "spread over 'plans', but takes no 'plans'"), ("WrongOverType", "'plan' is declared as string")],
)
def test_a_path_to_spread_over_must_lead_to_an_array(cls: str, words: str) -> None:
    # A class of one's own is named in a pool, since a colon is no part of a name.
    plan = plan_of(
        "{id: s, agent: mine, action: search, inputs: {plan: [x]}}", f"  agents: {{mine: {{agent: '{HERE}:{cls}'}}}}\n"
    )
    assert words in refusal(plan)


ESCALATE = "  error_handling: [{{step: s, on_failure: escalate, escalation_agent: {}}}]\n"


def test_an_agent_that_is_only_asked_is_linked_too() -> None:
    found = linked(plan_of(SEARCH, ESCALATE.format("Boss"))).link
    assert "on_escalation" in found.agents["Boss"].actions


def test_an_agent_that_cannot_be_asked_is_refused() -> None:
    assert "Mute has no action on_escalation" in refusal(plan_of(SEARCH, ESCALATE.format("Mute")))
    assert "no agent 'Bos' here; did you mean 'Boss'?" in refusal(plan_of(SEARCH, ESCALATE.format("Bos")))


def test_settings_are_shared_and_ones_own_come_first() -> None:
    crew.Searcher.asked.clear()
    plan = plan_of(f"{SEARCH}\n{{id: t, agent: Writer, action: write, inputs: {{data: [x]}}}}")
    found = linked(plan, agents={"kSearcher": {"corpus": "docs"}})
    assert found.settings == {
        "kSearcher": {"corpus": "docs", "digest": "d1"},
        "Writer": {"corpus": "docs", "digest": "d1"},
    }
    own = linked(plan, agents={"kSearcher": {"corpus": "docs", "n": 1}, "Writer": {"corpus": "mine"}})
    assert own.settings["Writer"] == {"corpus": "mine", "n": 1, "digest": "d1"}
    assert own.link.agents["Writer"].settings == own.settings["Writer"]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"corpus": "gone"}, "the settings of kSearcher do not fit: the corpus gone is not here; name another"),
        ({"corpus": "broken"}, "the settings of kSearcher cannot be linked: OSError: no such device"),
        ({"corpus": "odd"}, "agents.kSearcher.corpus is object, which is no plain data"),
        ({"api_key": "x"}, "agents.kSearcher.api_key would be recorded in the log"),
    ],
)
def test_settings_that_do_not_fit_are_told(settings: dict[str, Any], words: str) -> None:
    assert words in refusal(plan_of(SEARCH), agents={"kSearcher": settings})


def test_what_the_engine_does_not_run_is_refused_by_name_unless_it_does() -> None:
    plan = plan_of("{id: p, coordination: {pattern: hierarchical}, action: x}")
    assert "coordination (at p) does not run in this version" in refusal(plan)
    linked(plan, runs=frozenset({"coordination"}))


def test_a_driver_that_is_not_here_is_refused_with_the_one_to_use() -> None:
    with pytest.raises(InvalidDefinition, match=r"state_backend: postgresql is not installed here; .* to sqlite"):
        link(plan_of(SEARCH), REGISTRY, EngineSettings(state_backend="postgresql"), "cache")


def pools(text: str, steps: str = SEARCH, **agents: dict[str, Any]) -> dict[str, str]:
    return {name: agent.pool for name, agent in linked(plan_of(steps, text), agents=agents).link.agents.items()}


def test_a_pool_belongs_to_a_class_its_settings_and_its_demand() -> None:
    plain = pools("")["kSearcher"]
    assert plain.startswith("kSearcher#")
    assert pools("")["kSearcher"] == plain
    assert pools("", kSearcher={"corpus": "other"})["kSearcher"] != plain
    named = pools("  agents: {few: {agent: kSearcher}}\n", SEARCH.replace("kSearcher", "few"))
    assert named == {"few": plain}
    heavy = pools("  agents: {few: {agent: kSearcher, resources: {num_gpus: 1}}}\n", SEARCH.replace("kSearcher", "few"))
    assert heavy["few"].startswith("kSearcher[num_gpus=1]#")
    assert pools("", "{id: b, agent: Mute, action: other}") == {"Mute": "Mute"}


def test_replicas_bound_a_pool() -> None:
    found = linked(
        plan_of(SEARCH.replace("kSearcher", "few"), "  agents: {few: {agent: kSearcher, replicas: {min: 1, max: 8}}}\n")
    )
    assert (found.link.agents["few"].least, found.link.agents["few"].most) == (1, 8)


def test_one_name_has_processes_for_its_most_demanding_step() -> None:
    found = linked(
        plan_of(
            """
            {id: a, agent: Mute, action: other, resources: {num_cpus: 2, disk: 1}}
            {id: b, agent: Mute, action: other, resources: {num_cpus: 1}}
            """
        )
    )
    assert found.link.agents["Mute"].resources == {"num_cpus": 2, "disk": 1}
    assert found.link.agents["Mute"].pool == "Mute[disk=1,num_cpus=2]"


def test_a_check_tells_errors_from_what_is_only_not_here_and_links_no_settings() -> None:
    crew.Searcher.asked.clear()
    plan = plan_of(
        f"{SEARCH}\n{{id: b, agent: gone, action: x}}\n{{id: c, agent: Mute, action: othr}}\n{{id: p, coordination: {{pattern: hierarchical}}, action: x}}"
    )
    errors, absent = problems(plan, REGISTRY, EngineSettings())
    assert errors == ["step c: Mute has no action 'othr'; did you mean 'other'?"]
    assert [text.split(";")[0] for text in absent] == [
        "coordination (at p) does not run in this version",
        "step b: no agent 'gone' here",
    ]
    assert crew.Searcher.asked == []


def test_steps_inside_other_steps_are_linked_with_their_paths() -> None:
    message = refusal(
        plan_of(
            """
            {id: l, loop: {body: [{id: x, agent: Mute, action: gone}], loop_condition: "true", max_iterations: 2}}
            {id: g, parallel_group: {steps: [{id: y, agent: Mute, action: gone}]}}
            {id: f, for_each: {in: [1], as: n}, agent: Mute, action: gone}
            """
        )
    )
    for where in ("l/x", "g/y", "f"):
        assert f"step {where}: Mute has no action 'gone'; it has other" in message


@pytest.mark.parametrize(
    ("consensus", "found"),
    [
        ("rule: supermajority", "supermajority needs a threshold, for example 2/3"),
        ("rule: majority, threshold: 1/3", "a threshold is at least 1/2, and 1/3 is below"),
        ("rule: majority, on_deadlock: maybe", "on_deadlock is fail, escalate or an option, and not 'maybe'"),
        ("rule: majority, options: [a, a]", "options have different names, and none is empty"),
    ],
)
def test_a_vote_that_is_not_in_order_is_refused_when_it_is_linked(consensus: str, found: str) -> None:
    from coordination.registered import BALLOTS
    from kos_runtime.composition.machines import make_installed_known
    from kos_runtime.core.machine import make_known
    from kos_runtime.definition import WorkflowDocument, compile_workflow, load

    make_installed_known()
    make_known("ballots", lambda: BALLOTS)
    coordination = f"{{pattern: peer_to_peer, peers: panel, consensus: {{{consensus}, agreement: log}}}}"
    text = f"workflow:\n  id: w\n  agents: {{panel: {{agent: Mute, replicas: 2}}}}\n  steps:\n    - {{id: v, coordination: {coordination}, action: x}}\n"
    document = load(text, "w.yaml")
    assert isinstance(document, WorkflowDocument)
    assert f"step v: {found}" in refusal(compile_workflow(document)[0])
