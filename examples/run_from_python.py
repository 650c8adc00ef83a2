"""Run a workflow from a driver script: create and execute, wait for the result, read the history."""

import sys
from pathlib import Path

import kos_runtime

HERE = Path(__file__).parent


def main(store: str = ".kos", topic: str = "fault tolerance of actors") -> None:
    with kos_runtime.connect(store) as kos:
        created = kos.create_workflow(HERE / "research-and-summarize.yaml", {"topic": topic, "depth": "shallow"})
        print(f"{created.id} is {created.status()}")
        kos.execute_workflow(created)
        outputs = created.result(timeout=300)
        print(outputs["summary"])
        for event in kos.get_execution_history(created)[:5]:
            print(event["seq"], event["type"])


if __name__ == "__main__":
    main(*sys.argv[1:])
