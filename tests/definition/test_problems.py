"""How problems are shown: in a terminal, to GitHub, to tools that read SARIF."""

import json

import pytest

from kos_runtime.core.errors import InvalidDefinition
from kos_runtime.definition import DefinitionError, Problem, load, render, render_github, render_sarif
from kos_runtime.definition.document import check
from tests.definition.files import HEAD, problems_of, said, steps

MISSPELLED = """\
workflow:
  id: research

  steps:
    - id: planning
      agnet: kPlanner
      action: decompose
"""


def _refusal(text: str) -> DefinitionError:
    with pytest.raises(DefinitionError) as caught:
        load(text, "research.yaml")
    return caught.value


def test_a_problem_shows_its_place_the_line_and_the_spot() -> None:
    assert str(_refusal(MISSPELLED)) == (
        "research.yaml:6:7: error[KOS102]: unknown key 'agnet' in step 'planning'; did you mean 'agent'?\n"
        "    6 |       agnet: kPlanner\n"
        "      |       ^^^^^"
    )


def test_a_refusal_is_an_invalid_definition_with_exit_code_3() -> None:
    error = _refusal(MISSPELLED)
    assert isinstance(error, InvalidDefinition)
    assert error.exit_code == 3
    assert [problem.path for problem in error.problems] == ["workflow.steps[0].agnet"]


def test_all_errors_of_a_file_are_told_at_once_of_shape_and_of_meaning() -> None:
    text = HEAD + (
        "    - {id: a, agent: k, actoin: x, inputs: {p: $steps.zz.out}}\n"
        "    - {id: b, agent: k, action: y, when: $inputs.x >}\n"
        "    - {id: a, agent: k, action: q, timeout: soon}\n"
        "    - {id: c, agent: k, action: q, outputs: {o: $result.}, retry: {max_retries: -1}}\n"
        "  error_handling:\n"
        "    - {step: a, on_failure: retyr}\n"
        "  id: again\n"
    )
    assert [line.partition(";")[0] for line in said(text)] == [
        "4:25 KOS102 unknown key 'actoin' in step 'a'",
        "4:48 KOS201 no step 'zz' can be seen from here",
        "5:53 KOS202 the expression ends too early",
        "6:12 KOS111 two steps of this body are named 'a'",
        "6:45 KOS107 timeout: not a duration: 'soon'",
        "7:81 KOS106 max_retries: must be 0..100, got -1",
        (
            "9:29 KOS108 on_failure: expected one of retry, different_agent, fallback, escalate, compensate, manual, "
            "skip, fail, got 'retyr'"
        ),
        "10:3 KOS011 the key 'id' stands twice, first in line 2",
    ]


def test_a_name_that_leads_nowhere_is_not_told_when_the_id_that_it_meant_is_broken() -> None:
    text = steps("""
        {id: 1st, agent: k, action: x}
        {id: b, agent: k, action: x, inputs: {p: $steps.first.result}}
    """)
    assert [line.split()[1] for line in said(text)] == ["KOS104"]


def test_an_error_on_github_is_an_annotation() -> None:
    problem = Problem(file="w.yaml", line=3, column=5, code="KOS102", message="100% wrong\nreally", hint="do: this")
    assert render_github(problem) == ("::error file=w.yaml,line=3,col=5,title=KOS102::100%25 wrong%0Areally; do: this")


def test_a_file_name_cannot_break_out_of_an_annotation() -> None:
    problem = Problem(file="a,b:c%\n::x", line=1, column=1, code="KOS102", message="m", severity="warning")
    assert render_github(problem) == "::warning file=a%2Cb%3Ac%25%0A%3A%3Ax,line=1,col=1,title=KOS102::m"


def test_problems_as_sarif_name_rule_file_and_region() -> None:
    sarif = render_sarif(problems_of(MISSPELLED))
    run = sarif["runs"][0]
    assert sarif["version"] == "2.1.0"
    assert run["tool"]["driver"]["rules"] == [{"id": "KOS102"}]
    place = run["results"][0]["locations"][0]["physicalLocation"]
    assert place == {"artifactLocation": {"uri": "w.yaml"}, "region": {"startLine": 6, "startColumn": 7}}
    assert json.loads(json.dumps(sarif)) == sarif


def test_a_problem_as_a_dict_has_stable_keys() -> None:
    problem = problems_of(MISSPELLED)[0]
    assert list(problem.as_dict()) == [
        "file", "line", "column", "code", "message", "severity", "hint", "text", "length", "path", "cut",
    ]  # fmt: skip


def test_a_mark_never_reaches_beyond_its_line() -> None:
    for problem in problems_of(steps("{id: a, agent: k, action: x, inputs: {p: $steps.zz}}")):
        shown = render(problem).splitlines()
        assert len(shown[2].rstrip()) <= len(shown[1])


@pytest.mark.parametrize(
    "text",
    [
        "workflow:\n  id: w\n  monitoring: {audit_trail: true, progress_tracking: true}\n  steps: [{id: a, set: {x: 1}}]\n",
        "workflow:\n  id: w\n  monitoring: {audit_trail: false}\n  steps: [{id: a, set: {x: 1}}]\n",
        "engine: {checkpoint_interval: 5m, monitoring: {audit_logging: true, metrics_collection: true}}\n",
        "engine: {execution: {retry_default: 1}, monitoring: {audit_logging: false}}\n",
    ],
)
def test_no_key_is_there_for_nothing(text: str) -> None:
    assert list(check(load(text, "x.yaml"))) == []


def test_a_key_at_the_wrong_place_is_an_error() -> None:
    with pytest.raises(DefinitionError):
        load("engine: {retry_default: 1}\n", "x.yaml")
