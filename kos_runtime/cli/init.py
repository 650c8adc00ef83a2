"""``kos init``: a project that runs."""

from pathlib import Path

from kos_runtime.cli.outcome import OK, Exit

_WORKFLOW = """\
# yaml-language-server: $schema=.kos/workflow.schema.json
workflow:
  id: hello-team
  version: "1.0"
  description: Two scripted agents write and check a greeting

  inputs:
    - {name: who, type: string, required: true}
  outputs:
    - {name: text, type: string}

  steps:
    - id: draft
      agent: "team:Writer"
      action: write
      inputs: {who: $inputs.who}
      outputs: {text: text}
    - id: check
      loop:
        body:
          - id: review
            agent: "team:Critic"
            action: review
            inputs: {text: $steps.draft.text, turn: $loop.index}
            outputs: {score: score}
        loop_condition: $loop.index == 0 or $loop.previous.review.score < 0.8
        max_iterations: 5
    - id: publish
      agent: "team:Writer"
      action: publish
      inputs: {text: $steps.draft.text, score: $steps.check.last.review.score}
      outputs: {text: text}
"""
_AGENTS = '''\
"""Two scripted agents: no network, no key."""

from agents import Agent, Context, action


class Writer(Agent):
    @action
    def write(self, who: str) -> dict[str, str]:
        return {"text": f"Hello, {who}."}

    @action
    def publish(self, text: str, score: float) -> dict[str, str]:
        return {"text": f"{text} (score {score:.1f})"}


class Critic(Agent):
    @action
    def review(self, text: str, turn: int, context: Context) -> dict[str, float]:
        context.log("reviewed", turn=turn)
        return {"score": 0.5 + 0.2 * turn}
'''
_TEST = '''\
"""The workflow, run in this process: no Ray, no network."""

from pathlib import Path

import kos_runtime

HERE = Path(__file__).parent


def test_the_team_publishes_a_checked_greeting(tmp_path: Path) -> None:
    with kos_runtime.connect(tmp_path / ".kos", host="process") as kos:
        run = kos.start(HERE / "hello.kos.yaml", who="world")
        assert run.result(timeout=30)["text"] == "Hello, world. (score 0.9)"
'''


def init(folder: str = "kos-demo") -> int:
    """Make a project: a workflow, two scripted agents, a test, a cluster file and editor support.

    Args:
        folder: Where; it must not exist, or be empty.
    """
    import json

    from kos_runtime.definition.json_schema import json_schema

    path = Path(folder)
    if path.exists() and any(path.iterdir()):
        raise Exit(3, f"error: {path} is not empty; name a new folder")
    (path / ".kos").mkdir(parents=True, mode=0o700)
    (path / "hello.kos.yaml").write_text(_WORKFLOW, encoding="utf-8")
    (path / "team.py").write_text(_AGENTS, encoding="utf-8")
    (path / "test_hello.py").write_text(_TEST, encoding="utf-8")
    (path / ".kos" / "workflow.schema.json").write_text(json.dumps(json_schema(), indent=2), encoding="utf-8")
    (path / "cluster.yaml").write_text(_cluster(), encoding="utf-8")
    print(f"Created {path}/: hello.kos.yaml, team.py (scripted agents), test_hello.py, cluster.yaml")
    print(f"Next:  cd {path}   then:  kos run hello.kos.yaml -p who=world   and:  pytest")
    return OK


def _cluster() -> str:
    return """\
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
