"""``kos init``: a project that runs."""

import shlex
from pathlib import Path
from typing import Annotated, Literal

from kos_runtime.cli.common import Common, Typed
from kos_runtime.cli.outcome import OK, Exit


def init(
    folder: Annotated[str, Typed] = "kos-demo",
    /,
    *,
    example: Literal["research", "debate", "map-reduce"] = "research",
    common: Common | None = None,
) -> int:
    """Make a project: a workflow, two scripted agents, a test, a cluster file and editor support.

    Args:
        folder: Where; it must not exist, or be empty.
        example: What the project does.
    """
    import json

    from kos_runtime.cli.examples import CLUSTER, EXAMPLES
    from kos_runtime.definition.json_schema import json_schema

    common = common or Common()
    chosen = EXAMPLES[example]
    path = Path(folder)
    workflow = f"{example}.kos.yaml"
    files = {
        workflow: chosen.workflow,
        "team.py": chosen.agents,
        f"test_{example.replace('-', '_')}.py": chosen.test,
        "cluster.yaml": CLUSTER,
        ".kos/workflow.schema.json": json.dumps(json_schema(), indent=2),
    }
    try:
        if path.exists() and any(path.iterdir()):
            raise Exit(3, f"error: {path} is not empty\n  write for example: kos init {path}-2")
        (path / ".kos").mkdir(parents=True, mode=0o700)
        for name, text in files.items():
            (path / name).write_text(text, encoding="utf-8")
    except OSError as error:
        raise Exit(3, f"error: {path}: {error.strerror}\n  name a folder that can be made: kos init DIR") from error
    if common.is_data:
        common.emit([{"file": str(path / name)} for name in files], {}, name="file")
        return OK
    shown = [name for name in files if not name.startswith(".")]
    print(f"Created {path}/: {', '.join(shown)}")
    print(f"  {chosen.about}; the agents are scripted, in team.py")
    print(f"Next:  cd {shlex.quote(folder)} && kos run {workflow} {chosen.run}")
    print("Then:  pytest")
    return OK
