"""The example that reviews a repository, on Ray, while those who inspect it are killed."""

from pathlib import Path

from tests.cluster.world import World, kill, wait_until

EXAMPLE = Path(__file__).parents[2] / "examples" / "code-review.yaml"


def test_a_review_outlives_its_inspectors_and_comes_to_the_same_verdict(world: World) -> None:
    run = world.engine.start(EXAMPLE, tools=["ruff", "pytest"]).id
    world.created.append(run)

    def at_work() -> list[int]:
        return [int(agent["pid"]) for agent in world.agents() if agent["kind"] == "Inspector" and agent["steps"]]

    killed: list[int] = []

    def are_killed() -> bool:
        killed.extend(at_work())
        for pid in killed:
            kill(pid)
        return bool(killed)

    wait_until(are_killed, "an inspector was at work, and is killed")
    result = world.result(run)
    assert [(vote["reviewer"], vote["says"]) for vote in result["votes"]] == [
        ("correctness", "fail"), ("style", "pass"), ("safety", "fail"),
    ]  # fmt: skip
    assert result["verdict"] == "fail"
    assert world.violations() == []
