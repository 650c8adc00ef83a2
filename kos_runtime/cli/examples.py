"""The projects that ``kos init`` makes: each a workflow, scripted agents without network or key, and a test."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Example:
    """Texts of the files. ``run`` is what follows ``kos run`` to try it."""

    about: str
    workflow: str
    agents: str
    test: str
    run: str


_RESEARCH: Final = Example(
    about="a question is split, looked up side by side, and answered with sources",
    workflow="""\
# yaml-language-server: $schema=.kos/workflow.schema.json
workflow:
  id: research
  version: "1.0"
  description: A scout looks up what a question is made of, a writer puts it together

  inputs:
    - {name: topic, type: string, required: true}
  outputs:
    - {name: answer, type: string}

  steps:
    - id: plan
      agent: "team:Scout"
      action: split
      inputs: {topic: $inputs.topic}
      outputs: {questions: questions}
    - id: gather
      for_each: {in: $steps.plan.questions, as: question, max_concurrency: 4, on_item_failure: collect}
      agent: "team:Scout"
      action: look_up
      inputs: {question: $question}
      outputs: {notes: note}
    - id: write
      agent: "team:Writer"
      action: write
      inputs: {topic: $inputs.topic, notes: $steps.gather.notes}
      outputs: {answer: answer}

  error_handling:
    - {step: gather, on_failure: retry, max_retries: 2}
""",
    agents='''\
"""Two scripted agents: no network, no key. Replace what they know by what yours can find."""

from typing import Any

from agents import Agent, Context, action

KNOWN = {
    "actors": "An actor is a process that keeps its state and answers one message after another.",
    "durable": "What is durable is on disk before anything follows from it.",
    "agents": "An agent is a class with typed actions.",
}


class Scout(Agent):
    @action
    def split(self, topic: str) -> dict[str, list[str]]:
        words = [word for word in topic.lower().split() if word in KNOWN]
        return {"questions": [f"what is {word}" for word in words or ["agents"]]}

    @action
    def look_up(self, question: str, context: Context) -> dict[str, dict[str, str]]:
        context.log("looked up", question=question)
        word = question.split()[-1]
        return {"note": {"source": word, "text": KNOWN[word]}}


class Writer(Agent):
    @action
    def write(self, topic: str, notes: list[dict[str, Any]]) -> dict[str, str]:
        lines = [f"{note['text']} [{note['source']}]" for note in notes]
        return {"answer": "\\n".join([f"{topic}:", *lines])}
''',
    test='''\
"""The workflow, run in this process: no Ray, no network."""

from pathlib import Path

import kos_runtime

HERE = Path(__file__).parent


def test_every_word_that_is_known_is_answered_with_its_source(tmp_path: Path) -> None:
    with kos_runtime.connect(tmp_path / ".kos", host="process") as kos:
        run = kos.start(HERE / "research.kos.yaml", topic="durable actors")
        answer = run.result(timeout=30)["answer"]
    assert "[durable]" in answer and "[actors]" in answer
''',
    run='-p topic="durable agents"',
)

_DEBATE: Final = Example(
    about="a proposer and a critic take turns until the critic agrees",
    workflow="""\
# yaml-language-server: $schema=.kos/workflow.schema.json
workflow:
  id: debate
  version: "1.0"
  description: One proposes, one criticizes, until they agree or the turns are used up

  inputs:
    - {name: question, type: string, required: true}
  outputs:
    - {name: verdict, type: string}

  steps:
    - id: rounds
      loop:
        body:
          - id: propose
            agent: "team:Proposer"
            action: propose
            inputs: {question: $inputs.question, turn: $loop.index}
            outputs: {proposal: proposal}
          - id: criticize
            agent: "team:Critic"
            action: criticize
            inputs: {proposal: $steps.propose.proposal}
            outputs: {agreed: agreed, reason: reason}
        loop_condition: $loop.index == 0 or not $loop.previous.criticize.agreed
        max_iterations: 5
    - id: close
      agent: "team:Proposer"
      action: close
      inputs: {proposal: $steps.rounds.last.propose.proposal, reason: $steps.rounds.last.criticize.reason}
      outputs: {verdict: verdict}
""",
    agents='''\
"""Two scripted agents that argue: no network, no key."""

from typing import Any

from agents import Agent, action

REASONS = ("it is simple", "it was measured", "it can be undone")


class Proposer(Agent):
    @action
    def propose(self, question: str, turn: int) -> dict[str, str]:
        return {"proposal": f"{question}: yes, for {' and '.join(REASONS[: turn + 1])}"}

    @action
    def close(self, proposal: str, reason: str) -> dict[str, str]:
        return {"verdict": f"{proposal} ({reason})"}


class Critic(Agent):
    @action
    def criticize(self, proposal: str) -> dict[str, Any]:
        missing = [reason for reason in REASONS if reason not in proposal]
        return {"agreed": not missing, "reason": f"tell me that {missing[0]}" if missing else "agreed"}
''',
    test='''\
"""The workflow, run in this process: no Ray, no network."""

from pathlib import Path

import kos_runtime

HERE = Path(__file__).parent


def test_they_agree_once_every_reason_was_given(tmp_path: Path) -> None:
    with kos_runtime.connect(tmp_path / ".kos", host="process") as kos:
        run = kos.start(HERE / "debate.kos.yaml", question="keep the log")
        assert run.result(timeout=30)["verdict"].endswith("(agreed)")
''',
    run='-p question="keep the log"',
)

_MAP_REDUCE: Final = Example(
    about="a text is cut into parts, counted side by side, and added up",
    workflow="""\
# yaml-language-server: $schema=.kos/workflow.schema.json
workflow:
  id: map-reduce
  version: "1.0"
  description: Counts the words of a text in parts, and adds the counts up

  inputs:
    - {name: text, type: string, required: true}
    - {name: parts, type: integer, default: 4}
  outputs:
    - {name: counts, type: object}

  steps:
    - id: cut
      agent: "team:Mapper"
      action: cut
      inputs: {text: $inputs.text, parts: $inputs.parts}
      outputs: {parts: parts}
    - id: map
      for_each: {in: $steps.cut.parts, as: part}
      agent: "team:Mapper"
      action: count
      inputs: {part: $part}
      outputs: {counts: counts}
    - id: reduce
      agent: "team:Reducer"
      action: add
      inputs: {counts: $steps.map.counts}
      outputs: {counts: counts}
""",
    agents='''\
"""Two scripted agents that count words: no network, no key."""

from collections import Counter

from agents import Agent, action


class Mapper(Agent):
    @action
    def cut(self, text: str, parts: int) -> dict[str, list[str]]:
        words = text.split()
        size = max(1, -(-len(words) // parts))
        return {"parts": [" ".join(words[at : at + size]) for at in range(0, len(words), size)]}

    @action
    def count(self, part: str) -> dict[str, dict[str, int]]:
        return {"counts": dict(Counter(part.lower().split()))}


class Reducer(Agent):
    @action
    def add(self, counts: list[dict[str, int]]) -> dict[str, dict[str, int]]:
        total: Counter[str] = Counter()
        for count in counts:
            total.update(count)
        return {"counts": dict(total.most_common())}
''',
    test='''\
"""The workflow, run in this process: no Ray, no network."""

from pathlib import Path

import kos_runtime

HERE = Path(__file__).parent


def test_the_parts_add_up(tmp_path: Path) -> None:
    with kos_runtime.connect(tmp_path / ".kos", host="process") as kos:
        run = kos.start(HERE / "map-reduce.kos.yaml", text="a rose is a rose", parts=2)
        assert run.result(timeout=30)["counts"] == {"a": 2, "rose": 2, "is": 1}
''',
    run='-p text="a rose is a rose"',
)

EXAMPLES: Final = {"research": _RESEARCH, "debate": _DEBATE, "map-reduce": _MAP_REDUCE}

CLUSTER: Final = """\
cluster_name: kos
max_workers: 2
provider: {type: local, head_ip: 127.0.0.1, worker_ips: []}
auth: {ssh_user: ray}
setup_commands: [pip install kos-runtime]
head_start_ray_commands:
  - ray stop
  - RAY_AUTH_MODE=token RAY_USAGE_STATS_ENABLED=0 ray start --head --port=6379 --dashboard-host=127.0.0.1
worker_start_ray_commands:
  - ray stop
  - RAY_AUTH_MODE=token RAY_USAGE_STATS_ENABLED=0 ray start --address=$RAY_HEAD_IP:6379
"""
