"""What is wrong with a definition that is well formed: one row an error, with its place and the nearest right word."""

import pytest

from tests.definition.files import FIRST, HEAD, said, steps, warned

A = "{id: a, agent: k, action: x, outputs: {out: o, other: p}}"
B = "id: b, agent: k, action: y"

WRONG = {
    "a reference to no step": (
        f"{A}\n{{{B}, inputs: {{v: $steps.aa.out}}}}",
        "5:48 KOS201 no step 'aa' can be seen from here; did you mean 'a'?",
    ),
    "a reference to no output": (
        f"{A}\n{{{B}, inputs: {{v: $steps.a.uot}}}}",
        "5:48 KOS204 step 'a' exposes no 'uot'; did you mean 'out'?",
    ),
    "an unknown root": (
        f"{A}\n{{{B}, inputs: {{v: $stpes.a.out}}}}",
        "5:48 KOS202 there is no $stpes: did you mean $steps?; write $$ for a dollar",
    ),
    "a reference deep in a value": (
        f"{A}\n{{{B}, inputs: {{v: [1, {{w: '${{{{ len($steps.q.out) }}}}'}}]}}}}",
        "5:65 KOS201 no step 'q' can be seen from here",
    ),
    "a step that is named by nothing": ("{id: b, agent: k, action: y, depends_on: [c]}", "4:49 KOS201 step 'b' names no step of its body: 'c'"),
    "a step that waits for itself": ("{id: b, agent: k, action: y, depends_on: b}", "4:48 KOS206 step 'b' waits for itself"),
    "a cycle of order and depends_on": (
        f"{{{B}, depends_on: [c]}}\n{{id: c, agent: k, action: y}}",
        "4:12 KOS206 these steps wait for each other: b → c → b",
    ),
    "a cycle through data": (
        f"{{{B}, inputs: {{v: $steps.c.result}}}}\n{{id: c, agent: k, action: y}}",
        "4:12 KOS206 these steps wait for each other: b → c → b",
    ),
    "a path whose step reads what comes after its decision": (
        (f"{A}\n{{id: d, decision: {{condition: $steps.a.out, true_path: [b]}}}}\n"
        f"{{{B}, inputs: {{v: $steps.late.result}}}}\n{{id: late, agent: k, action: y}}"),
        "5:12 KOS206 these steps wait for each other: d → b → late → d",
    ),
    "a path to nothing": (
        "{id: d, decision: {condition: 'true', true_path: [wait_here]}}\n{id: wait_her, agent: k, action: y}",
        "4:57 KOS201 step 'd' names no step of its body: 'wait_here'; did you mean 'wait_her'?",
    ),
    "a decision that names itself": (
        "{id: d, decision: {condition: 'true', true_path: [d]}}", "4:57 KOS206 decision 'd' names itself",
    ),
    "a path that names a step twice": (
        f"{{id: d, decision: {{condition: 'true', true_path: [b, b]}}}}\n{{{B}}}",
        "4:60 KOS111 true_path names 'b' twice",
    ),
    "two steps of one name": (f"{{{B}}}\n{{{B}}}", "5:12 KOS111 two steps of this body are named 'b'"),
    "a name that is none": ("{id: b c, agent: k, action: y}", "4:12 KOS104 'b c' is no name; letters, digits, _ and -, first a letter or _, at most 128"),
    "a step without a form": ("{id: b}", "4:7 KOS110 step 'b' has no form; give it agent and action, or "),
    "a step with two forms": ("{id: b, set: {x: 1}, wait: {for: 5m}}", "4:7 KOS110 step 'b' has 2 forms: wait, set; it takes exactly one"),
    "an action without its agent": ("{id: b, action: y}", "4:7 KOS101 step 'b' needs 'agent' beside 'action'"),
    "an agent beside another form": ("{id: b, agent: k, action: x, set: {q: 1}}", "4:7 KOS110 step 'b': agent and action do not go with set"),
    "a for_each over nothing to do": ("{id: b, for_each: {in: [1]}}", "4:7 KOS110 step 'b': for_each takes either agent and action beside it, or steps in it"),
    "a for_each over a number": ("{id: b, agent: k, action: x, for_each: {in: 7}}", "4:51 KOS103 in: expected an array or a reference to one"),
    "a for_each that hides a name": ("{id: b, agent: k, action: x, for_each: {in: [1], as: steps}}", "4:60 KOS111 'steps' is a name of the language"),
    "a loop without a bound": ("{id: b, loop: {body: [{id: i, set: {x: 1}}]}}", "4:21 KOS101 loop needs 'max_iterations'"),
    "a loop that turns too often": ("{id: b, loop: {body: [{id: i, set: {x: 1}}], max_iterations: 100001}}", "4:68 KOS106 max_iterations: must be 0..100000, got 100001"),
    "a loop's turn that is not there": (
        "{id: b, loop: {max_iterations: 3, loop_condition: not $loop.previous.im.done, body: [{id: i, agent: k, action: x}]}}",
        "4:61 KOS201 the loop has no step 'im'; did you mean 'i'?",
    ),
    "a loop's step seen without last": (
        "{id: b, loop: {max_iterations: 3, body: [{id: i, agent: k, action: x}]}}\n{id: c, agent: k, action: y, inputs: {v: $steps.b.lats.i.done}}",
        "5:48 KOS204 step 'b' exposes no 'lats'; did you mean 'last'?",
    ),
    "a step that a loop's last turn has not": (
        "{id: b, loop: {max_iterations: 3, body: [{id: i, agent: k, action: x}]}}\n{id: c, agent: k, action: y, inputs: {v: $steps.b.last.j.done}}",
        "5:48 KOS204 step 'b.last' exposes no 'j'; it exposes i",
    ),
    "a key that would change": ("{id: b, agent: k, action: x, idempotency_key: $vars.n}", "4:53 KOS208 idempotency_key reads $vars, which may change between two attempts"),
    "$loop outside a loop": ("{id: b, agent: k, action: x, inputs: {v: $loop.index}}", "4:48 KOS207 $loop is known only inside a loop"),
    "$item outside a for_each": ("{id: b, agent: k, action: x, inputs: {v: $item}}", "4:48 KOS207 $item is known only inside a for_each"),
    "$signal outside a match": ("{id: b, agent: k, action: x, when: $signal.ok}", "4:42 KOS207 $signal is known only in the match of a wait_for"),
    "an as name outside its for_each": (
        "{id: b, for_each: {in: [1], as: task}, agent: k, action: x, inputs: {v: $task}}\n{id: c, agent: k, action: x, inputs: {v: $task}}",
        "5:48 KOS202 there is no $task",
    ),
    "a variable that nothing sets": (
        "{id: s, set: {threshold: 1}}\n{id: b, agent: k, action: x, when: $vars.treshold > 1}",
        "5:42 KOS205 no variable 'treshold' is declared or set; did you mean 'threshold'?",
    ),
    "a fact of the run that is none": ("{id: b, agent: k, action: x, inputs: {v: $workflow.run}}", "4:48 KOS205 no name 'run' is there below $workflow; there are run_id, id, version, name"),
    "a decision's result": (
        f"{{id: d, decision: {{condition: 'true'}}}}\n{{{B}, inputs: {{v: $steps.d.taken}}}}",
        "5:48 KOS204 step 'd' is a decision and exposes nothing",
    ),
    "a group's member that is not there": (
        f"{{id: g, parallel_group: {{steps: [{{id: m, agent: k, action: x}}]}}}}\n{{{B}, inputs: {{v: $steps.g.n.result}}}}",
        "5:48 KOS204 step 'g' exposes no 'n'; it exposes m",
    ),
    "more members wanted than there are": (
        "{id: g, parallel_group: {sync: {count: 2}, steps: [{id: m, agent: k, action: x}]}}",
        "4:38 KOS106 group 'g' waits for 2 of 1 members",
    ),
    "a broken expression": ("{id: b, agent: k, action: x, when: $inputs.x == }", "4:54 KOS202 the expression ends too early"),
    "an expression cut at a comma": (
        "{id: b, agent: k, action: x, when: max($inputs.x, 3) > 2}",
        "4:57 KOS102 unknown key '3) > 2' in step 'b'; an expression was cut by YAML: put it in quotes",
    ),
    "an expression cut at a quote": (
        '{id: b, agent: k, action: x, when: contains($inputs.x, "q")}',
        "4:65 KOS004 this is no YAML: expected ',' or '}', but got '<scalar>'; an expression was cut by YAML: put the whole expression in quotes",
    ),
    "an expression taken for a tag": ("{id: b, agent: k, action: x, when: !$inputs.x }", "4:42 KOS008 tags (!$inputs.x) are not allowed; put a text that begins with '!' in quotes"),
    "a computed text taken for a map": ("{id: b, agent: k, action: x, inputs: {v: ${{ $inputs.x }}}}", "4:49 KOS004 this is no YAML: expected ',' or '}', but got '{'; an expression was cut by YAML: put the whole expression in quotes"),
    "a list for a condition": ("{id: b, agent: k, action: x, when: [1]}", '4:42 KOS105 when: expected a condition, got array; put an expression that begins with [ or { or " in quotes'),
    "no duration": ("{id: b, agent: k, action: x, timeout: 5}", "4:45 KOS103 timeout: expected a duration such as 30s, 5m or 24h, got 5"),
    "no boolean": ("{id: b, agent: k, action: x, parallel: yes}", "4:46 KOS103 parallel: expected true or false; write true or false, got 'yes'"),
    "no amount": ("{id: b, agent: k, action: x, resources: {memory: 5XB}}", "4:56 KOS103 memory: expected a number, or bytes with a unit such as 512MiB, got '5XB'"),
    "two ways to wait": ("{id: b, wait: {for: 5m, until: $inputs.x}}", "4:21 KOS109 wait takes exactly one of for and until"),
    "two ways to be in step": ("{id: g, parallel_group: {sync: {count: 1, quorum: 0.5}, steps: [{id: m, set: {x: 1}}]}}", "4:38 KOS109 sync: exactly one of count and quorum"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_what_means_nothing_is_refused_with_its_place(name: str) -> None:
    text, expected = WRONG[name]
    found = said(steps(text))
    assert any(line.startswith(expected) for line in found), found


WHOLE = {
    "an unknown input": (
        "workflow:\n  id: w\n  inputs: [{name: topic}]\n  steps: [{id: a, agent: k, action: x, when: $inputs.tpoic == 1}]\n",
        "4:46 KOS205 no input 'tpoic' is declared; did you mean 'topic'?",
    ),
    "two inputs of one name": (
        "workflow:\n  id: w\n  inputs: [{name: topic}, {name: topic}]\n" + "  steps:\n" + FIRST,
        "3:34 KOS111 two inputs are named 'topic'",
    ),
    "a default of another type": (
        "workflow:\n  id: w\n  inputs: [{name: n, type: integer, default: many}]\n  steps:\n" + FIRST,
        "3:46 KOS103 default of input 'n': expected integer, got string",
    ),
    "an enum without values": (
        "workflow:\n  id: w\n  inputs: [{name: n, type: enum}]\n  steps:\n" + FIRST,
        "3:12 KOS101 input 'n' is an enum and needs values",
    ),
    "a variable that is computed": (
        "workflow:\n  id: w\n  variables: {v: $inputs.x}\n  steps:\n" + FIRST,
        "3:18 KOS215 variable 'v' begins with plain data, not with a reference; set it in a step: set: {v: ...}",
    ),
    "no steps": ("workflow:\n  id: w\n  steps: []\n", "2:3 KOS101 a workflow needs steps"),
    "a handler for nobody": (
        HEAD + FIRST + "  error_handling: [{step: [a, aa], on_failure: fail}]\n",
        "5:31 KOS201 error_handling selects no step: 'aa'; did you mean 'a'?",
    ),
    "an escalation to nobody": (
        HEAD + FIRST + "  error_handling: [{step: a, on_failure: escalate}]\n",
        "5:20 KOS101 on_failure: escalate needs an escalation_agent",
    ),
    "a fallback to nothing": (
        HEAD + FIRST + "  error_handling: [{step: a, on_failure: [retry, fallback]}]\n",
        "5:20 KOS101 on_failure: fallback needs a fallback",
    ),
    "a dependency of nobody": (HEAD + FIRST + "  dependencies: {aa: [a]}\n", "5:18 KOS201 no step 'aa'; did you mean 'a'?"),
    "a dependency on nobody": (HEAD + FIRST + "  dependencies: {a: [b]}\n", "5:22 KOS201 step 'a' names no step of its body: 'b'"),
    "a second condition": (
        HEAD + "    - {id: a, agent: k, action: x, when: 'true'}\n  conditions: {a: 'false'}\n",
        "5:16 KOS109 step 'a' has a condition of its own already",
    ),
    "a group of nobody": (HEAD + FIRST + "  parallel_groups: [{id: g, steps: [b]}]\n", "5:37 KOS201 no step 'b' to group"),
    "a step in two groups": (
        HEAD + FIRST + "  parallel_groups: [{id: g, steps: [a]}, {id: h, steps: [a]}]\n",
        "5:58 KOS111 step 'a' is in group 'g' already",
    ),
    "a point after nobody": (
        HEAD + FIRST + "  synchronization_points: [{id: p, wait_for: [b]}]\n",
        "5:47 KOS201 step 'p' names no step of its body: 'b'",
    ),
    "a path to a member": (
        HEAD + FIRST + "    - {id: d, decision: {condition: 'true', true_path: [a]}}\n"
        "  parallel_groups: [{id: g, steps: [a]}]\n",
        "5:57 KOS201 'a' runs with its group and cannot be named alone; name the group, 'g'",
    ),
    "a loop_condition without its loop": (HEAD + FIRST + "  max_iterations: 3\n", "5:3 KOS101 max_iterations needs a loop_body beside it"),
    "a pool the wrong way round": (
        HEAD + FIRST + "  agents: {p: {agent: k, replicas: {min: 3, max: 2}}}\n",
        "5:36 KOS106 replicas: min 3 is above max 2",
    ),
    "a rate that is none": (
        HEAD + FIRST + "  agents: {p: {agent: k, rate_limit: often}}\n",
        "5:38 KOS107 no rate: 'often'; write for example 60/m, 5/s or 1000/h",
    ),
    "a result that is kept of what acts once": (
        HEAD + "    - {id: a, agent: k, action: x, delivery: at_most_once, cache: true}\n",
        "4:67 KOS109 cache does not go with delivery: at_most_once; what acts once is not looked up",
    ),
    "a result that may be of no age": (
        HEAD + "    - {id: a, agent: k, action: x, cache: {ttl: 0s}}\n",
        "4:49 KOS106 ttl: must be above 0; without it a result may be of any age",
    ),
    "a result that is kept of what is undone": (
        HEAD + "    - {id: a, agent: k, action: x, cache: {ttl: 1h}, compensate: {agent: k, action: y}}\n",
        "4:43 KOS109 cache does not go with compensate; what was not done cannot be undone",
    ),
    "an unknown key of the file": ("worflow: {}\n", "1:1 KOS102 unknown key 'worflow' at the top of the file; did you mean 'workflow'?"),
    "two kinds of file in one": (
        "workflow: {id: w, steps: [{id: a, set: {x: 1}}]}\ntemplates: {}\n",
        "2:1 KOS100 a file holds one of workflow and templates, not both",
    ),
    "an unknown driver": (
        "engine: {storage: {state_backend: postgres}}\n",
        "1:35 KOS108 state_backend: expected one of sqlite, memory, postgresql, got 'postgres'",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", WHOLE)
def test_a_file_that_means_nothing_is_refused_with_its_place(name: str) -> None:
    text, expected = WHOLE[name]
    found = said(text)
    assert any(line.startswith(expected) for line in found), found


def test_a_timeout_where_nothing_is_attempted_is_said_to_be_of_no_use() -> None:
    text = (
        "workflow:\n  id: w\n  steps:\n"
        "    - {id: a, timeout: 1s, loop: {max_iterations: 2, body: [{id: b, agent: k, action: x, timeout: 1s}]}}\n"
        "    - {id: g, timeout: 1s, parallel_group: {steps: [{id: c, agent: k, action: x}]}}\n"
        "    - {id: f, timeout: 1s, for_each: {in: [1]}, agent: k, action: x}\n"
        "    - {id: p, timeout: 1s, wait_for: {signal: s}}\n"
    )
    assert [line.split()[:2] for line in warned(text)] == [["4:15", "KOS214"], ["5:15", "KOS214"], ["7:15", "KOS214"]]


def test_more_than_five_thousand_steps_are_refused() -> None:
    inner = ", ".join(f"{{id: i{i}, set: {{x: 1}}}}" for i in range(2_600))
    text = HEAD + "".join(f"    - {{id: l{n}, loop: {{max_iterations: 1, body: [{inner}]}}}}\n" for n in range(2))
    assert any("KOS106 the workflow has more than 5000 steps" in line for line in said(text))


def test_what_is_allowed_and_probably_meant_otherwise_is_a_warning() -> None:
    text = (
        "workflow:\n  id: w\n  outputs: [{name: summary}]\n  steps:\n"
        "    - {id: a, agent: k, action: x, outputs: {out: o}, inputs: {p: for $inputs.topic}}\n"
        "    - {id: s, set: {x: 1}, outputs: {q: r}}\n"
        "    - {id: t, template: {use: chain}}\n"
        "  error_handling: [{step: a, on_failure: retry, fallback: b}]\n"
    )
    assert said(text) == []
    codes = [line.split()[:2] for line in warned(text)]
    assert ["5:67", "KOS212"] in codes
    assert ["6:28", "KOS214"] in codes
    assert ["7:31", "KOS211"] in codes
    assert ["8:59", "KOS213"] in codes


def test_an_output_that_no_step_exposes_is_a_warning() -> None:
    text = "workflow:\n  id: w\n  outputs: [{name: summary}]\n  steps:\n" + FIRST
    assert warned(text) == ["3:13 KOS210 no step exposes the output 'summary'"]


def test_what_does_not_run_yet_is_a_warning_where_it_is_asked_for() -> None:
    text = steps("""
        {id: a, agent: k, action: x}
        {id: b, coordination: {pattern: hierarchical}, action: x}
    """)
    assert said(text) == []
    assert warned(text) == [
        "5:15 KOS220 coordination (at b) does not run in this version",
    ]


AUTHORITY = """
workflow:
  id: w
  authority: {%s}
  steps:
    - {id: a, agent: hand, action: x, %s}
    - {id: b, coordination: {pattern: hierarchical, levels: [%s], authority: {grant: ship}}, action: x}
"""


@pytest.mark.parametrize(
    ("block", "need", "levels", "found"),
    [
        ("grants: {ship: {to: lead, depth: 1}}", "authority_required: ship", "lead, hand", []),
        ("hierarchy: {lead: hand}", "authority_required: [ship]", "lead, hand",
         ["KOS206 a circle in the hierarchy: lead under hand under lead", "KOS216 no grant of the workflow is for 'ship'"]),
        ("hierarchy: {hand: boss}, grants: {ship: {to: lead}}", "when: true", "lead, hand",
         ["KOS209 'hand' stands under 'lead' here, and under 'boss' elsewhere"]),
        ("grants: {ship: {to: lead, from: shop}, shop2: {to: lead}}", "when: true", "lead, hand", ["KOS201 no grant 'shop'"]),
        ("grants: {ship: {to: lead, from: x}, x: {to: lead, from: ship}}", "when: true", "lead, hand",
         ["KOS206 grants are cut from one another: ship from x from ship"]),
        ("grants: {ship: {to: lead, expires: 0s}}", "when: true", "lead, hand", ["KOS106 grant 'ship' is over before it is given"]),
        ("person: jr, grants: {ship: {to: lead}}", "when: true", "lead, hand",
         ["KOS103 person: expected user:NAME or role:NAME, got 'jr'"]),
        ("grants: {ship: {to: lead}}", "when: true", "lead, lead", ["KOS111 'lead' stands at two levels"]),
        ("grants: {ship: {to: lead}}", "authority_required: [ship], cache: true", "lead, hand",
         ["KOS214 step 'a' needs authority and has no use for cache"]),
        ("grants: {ship: {to: lead, limits: {costs: 1}}}", "when: true", "lead, hand", ["KOS102 unknown key 'costs' in limits"]),
        ("grants: {ships: {to: lead}}", "when: true", "lead, hand", ["KOS216 no grant of the workflow is for 'ship'"]),
    ],
)  # fmt: skip
def test_authority_that_cannot_be_is_told_why(block: str, need: str, levels: str, found: list[str]) -> None:
    text = AUTHORITY % (block, need, levels)
    assert sorted(line.split(" ", 1)[1].split(";")[0] for line in said(text) + warned(text)) == sorted(found)


VOTE = """
workflow:
  id: w
  agents: {panel: {agent: k, replicas: 2}}
  steps:
    - {id: v, coordination: {pattern: peer_to_peer, peers: panel, %s consensus: {rule: weighted, %s}}, action: x, inputs: {who: $peer}}
"""


def test_weights_that_count_for_nothing_are_said() -> None:
    text = VOTE.replace("rule: weighted", "rule: majority") % ("weights: {panel-1: 2},", "agreement: log")
    (line,) = warned(text)
    assert "KOS214 weights count under weighted, approval, schulze, and under majority each peer counts once" in line
    assert warned(VOTE % ("weights: {panel-1: 2},", "agreement: log")) == []


@pytest.mark.parametrize(
    ("beside", "consensus", "found"),
    [
        ("", "agreement: log", []),
        ("", "agreement: paxos", []),
        ("", "rounds: 3, deadline: 2m, on_deadlock: escalate", []),
        ("", "agreement: log, rounds: 3", ["KOS220 consensus with rounds and agreement: log (at v) does not run in this version"]),
        ("", "agreement: log, deadline: 2m", ["KOS220 consensus with deadline and agreement: log (at v) does not run in this version"]),
        ("", "agreement: log, on_deadlock: fail", []),
        ("", "agreement: log, on_deadlock: escalate", []),
        ("conflicts: {title: vote},", "agreement: log", ["KOS220 conflicts between peers (at v) does not run in this version"]),
    ],
)  # fmt: skip
def test_what_of_a_vote_does_not_run_yet_is_named(beside: str, consensus: str, found: list[str]) -> None:
    assert [line.split(" ", 1)[1] for line in warned(VOTE % (beside, consensus))] == found


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (VOTE % ("weights: {panel-3: 1},", "agreement: log"), "KOS201 no peer 'panel-3'"),
        (VOTE % ("weights: {panel-1: 0},", "agreement: log"), "KOS106 the weight of 'panel-1' is at least 1"),
        (VOTE % ("", "agreement: log, options: []"), "KOS106 options: at least 1 item is needed"),
        (
            VOTE.replace("action: x,", "action: x, agent: k,") % ("", "agreement: log"),
            "KOS110 step 'v': 'agent' does not go with 'coordination'",
        ),
        (VOTE.replace(", replicas: 2", "") % ("", "agreement: log"), "KOS101 how many of 'panel' vote is not said"),
        (
            VOTE.replace("replicas: 2", "replicas: 1001") % ("", "agreement: log"),
            "KOS106 at most 1000 peers vote, not 1001",
        ),
        (
            VOTE.replace("peers: panel,", "") % ("", "agreement: log"),
            "KOS101 step 'v' needs peers: the pool that votes",
        ),
    ],
)
def test_a_vote_that_cannot_be_held_is_refused(text: str, found: str) -> None:
    (line,) = said(text)
    assert line.split(" ", 1)[1].startswith(found)
