"""What a person reads on Ray's dashboard, asked of the server behind it."""

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.cluster.world import World, wait_until

#: Asks the dashboard's server, as its pages do, with Ray's own client.
ASK = """
import json, sys
from ray.util.state import list_actors, list_tasks
url = sys.argv[1]
actors = [[a.name, a.class_name, a.state, a.ray_namespace] for a in list_actors(url, limit=100)]
print(json.dumps([actors, [t.name for t in list_tasks(url, limit=1000)]]))
"""


def test_actors_and_calls_are_named_after_agents_and_steps_and_live_in_the_namespace_that_was_named(
    tmp_path: Path,
) -> None:
    world = World(tmp_path, ray_dashboard=True, ray_namespace="team-a")
    try:
        run = world.start("three")
        wait_until(lambda: world.executions(run, "middle") == 1, "the middle step began")
        wide = world.start("wide", items=list(range(20)), seconds=0)
        url = world.ask("status")["dashboard"]
        wait_until(lambda: "middle@1" in asked(world, url)[1], "the dashboard heard of the step")
        actors, calls = asked(world, url)
        assert ["kos/partition-0", "PartitionActor", "ALIVE", "team-a"] in actors
        assert {namespace for *_, namespace in actors} == {"team-a"}
        agents = [name for name, kind, *_ in actors if kind == "kWorker"]
        assert agents
        assert agents == [f"kWorker-{number}" for number in sorted(int(name.rpartition("-")[2]) for name in agents)]
        assert {"before@1", "middle@1"} <= set(calls)
        world.open_gate()
        world.result(run)
        assert world.result(wide)["value"] == list(range(20))
        # Several steps in one call are named by their agent and their number.
        wait_until(lambda: any(name.startswith("kWorker×") for name in asked(world, url)[1]), "a batch has its name")
    finally:
        world.close()


def asked(world: World, url: str) -> tuple[list[list[str]], list[str]]:
    done = subprocess.run(
        [sys.executable, "-c", ASK, url], capture_output=True, text=True, timeout=60, check=False,
        env={**os.environ, "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(world.folder / "ray.token")},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    actors, calls = json.loads(done.stdout)
    return sorted(actors), calls
