"""What loading costs: large files, and files made to cost much. Times are of the processor, with room to spare."""

import time

import pytest

from kos_runtime.definition import DefinitionError, compile_workflow
from tests.definition.files import HEAD, problems_of, workflow
from tests.proof import yaml_fuzz

#: Seconds of processor time for 500 steps, loaded.
LOADED_S = 0.5
#: Seconds of processor time for anything.
REFUSED_S = 2.0


def test_five_hundred_steps_load_in_half_a_second() -> None:
    text = HEAD + "".join(
        f"    - id: s{n}\n      agent: kPlanner\n      action: act\n      inputs:\n        topic: $inputs.topic\n"
        f"        before: {f'$steps.s{n - 1}.out' if n else 'nothing'}\n      outputs: {{out: result}}\n"
        for n in range(500)
    )
    begin = time.process_time()
    document = workflow(text)
    assert time.process_time() - begin < LOADED_S
    plan, problems = compile_workflow(document)
    assert (len(plan.body.steps), problems) == (500, [])
    assert plan.body.steps[499].after == ("s498",)


STEP = "{{id: s{n}, agent: k, action: x, inputs: {{a: $steps.q{n}.x}}}}"
COSTLY = {
    "thousands of references to nothing": HEAD + "".join(f"    - {STEP.format(n=n)}\n" for n in range(4_999)),
    "thousands of unknown keys": HEAD + "".join(f"    - {{id: s{n}, agnet: k, action: x}}\n" for n in range(5_000)),
    "as many values as there may be": "workflow: [" + "1," * 99_000 + "]",
    "as many keys as there may be": "{" + ",".join(f"k{n}: 1" for n in range(49_000)) + "}",
    "handlers for every step": HEAD
    + "".join(f"    - {{id: s{n}, agent: k, action: x, retry: {{max_retries: {n % 99}}}}}\n" for n in range(3_000))
    + "  error_handling:\n"
    + "".join(f"    - {{step: 's*{n}*', errors: timeout, on_failure: fail}}\n" for n in range(500)),
    "an unclosed file": "workflow: " + "{a: [b, " * 14 + "x, " * 300_000,
    "one long line of nothing": "a: " + "- " * 500_000,
    "brackets": "[" * 1_000_000,
    "quotes": 'a: "' + "\\" * 1_000_000,
    "comments": "# x\n" * 500_000,
    "blank lines": "\n" * 2_000_000,
    "a deep expression": HEAD + f"    - {{id: a, agent: k, action: x, when: '{'(' * 4_000}'}}\n",
    "a long selector": HEAD
    + "    - {id: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa, set: {x: 1}}\n"
    + f"  error_handling: [{{step: '{'a*' * 5_000}b', on_failure: fail}}]\n",
}


@pytest.mark.parametrize("name", COSTLY)
def test_what_is_made_to_cost_much_is_answered_soon(name: str) -> None:
    begin = time.process_time()
    problems = problems_of(COSTLY[name])
    assert time.process_time() - begin < REFUSED_S
    assert len(problems) <= 400
    for problem in problems:
        assert problem.line >= 1
        assert len(problem.text) <= 1_000


def test_chance_finds_nothing_but_places() -> None:
    found = yaml_fuzz.run(300, seed=20)
    assert found["failures"] == []
    assert (found["tracebacks"], found["slow"]) == (0, 0)
    assert found["compiled"] > 3
    assert found["refused"] > 200


def test_a_canary_a_reader_that_breaks_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> object:
        raise RecursionError("too deep")

    monkeypatch.setattr(yaml_fuzz, "load", broken)
    found = yaml_fuzz.run(3, seed=1)
    assert found["tracebacks"] == 3


def test_problems_are_errors_of_a_person() -> None:
    with pytest.raises(DefinitionError):
        workflow("[" * 100)


def test_hundreds_of_warnings_hide_no_error() -> None:
    text = HEAD + "".join(
        f"    - {{id: s{n}, agent: k, action: x, inputs: {{a: for $inputs.q}}}}\n" for n in range(400)
    )
    problems = problems_of(text + "    - {id: t, agent: k, action: x, inputs: {a: $steps.nobody.x}}\n")
    assert [problem.code for problem in problems if problem.severity == "error"] == ["KOS201"]
    assert len(problems) == 201
