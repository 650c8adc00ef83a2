"""The example of the four agents, on real documents, killed in the middle of its vote."""

import os
import subprocess
import sys
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

import kos_runtime
from agents import reviewer
from agents.ballot import side_of
from kos_runtime.client import RunWaits
from kos_runtime.core.workflow import events as ev
from kos_runtime.definition import EngineSettings
from tests.oracle import check_store

EXAMPLE = Path(__file__).parents[2] / "examples" / "four-agents.yaml"
PEERS = ("panel-1", "panel-2", "panel-3")
#: A process that dies as soon as so many ballots are recorded; the other peers are still thinking by then.
CHILD = """
import os, signal, sys, threading, time
import kos_runtime
from agents import reviewer

store, example, asked, most = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
side_of = reviewer.side_of

def told(peer, sides):
    with open(asked, "a") as file:
        file.write(peer + "\\n")
    if int(peer[-1]) > most:
        time.sleep(600)
    return side_of(peer, sides)

reviewer.side_of = told
with kos_runtime.connect(store, host="process") as kos:
    run = kos.start(example, name="four").id
    while True:
        log = kos.reading.log
        its = [record for stream in log.streams("coordination/") for record in log.stream(stream)]
        if sum("ballot_cast" in record.names for record in its) == most and len(open(asked).read().split()) == 3:
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(0.02)
"""


@pytest.mark.parametrize("given", [1])
def test_killed_in_the_middle_of_the_vote_nobody_is_asked_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: int
) -> None:
    store, asked = tmp_path / ".kos", tmp_path / "asked"
    asked.touch()
    child = [sys.executable, "-c", CHILD, str(store), str(EXAMPLE), str(asked), str(given)]
    assert subprocess.run(child, cwd=tmp_path, env={**os.environ}, check=False, timeout=120).returncode == -9
    assert sorted(asked.read_text().split()) == list(PEERS)
    again: list[str] = []

    def told(peer: str, sides: Any) -> str:
        again.append(peer)
        return side_of(peer, sides)

    monkeypatch.setattr(reviewer, "side_of", told)
    with kos_runtime.connect(store, host="process", settings=EngineSettings()) as kos:
        run = kos.reading.find("four").run
        assert kos.get_workflow_status(run) == "interrupted"
        kos.resume(run)
        with pytest.raises(RunWaits):
            kos.result(run, timeout=60)
        assert sorted(again) == list(PEERS[given:]), "whoever had voted is asked no more"
        (task,) = kos.view(run).waits_for_people
        assert task.manual is not None
        assert task.manual["prompt"] == "May panel 'publish'? release: panel holds no grant"
        kos.approve(run, task.path, form={"comment": "well done"})
        kos.resume(run)
        result = kos.result(run, timeout=60)
        events = [line.event for line in kos.events(run)]
        authority = kos.authority(run)
    assert (result["outcome"], [(vote["elector"], vote["choices"]) for vote in result["votes"]]) == (
        "yes", [("panel-1", ["yes"]), ("panel-2", ["no"]), ("panel-3", ["yes"])],
    )  # fmt: skip
    assert all(vote["reason"] in result["document"] for vote in result["votes"])
    assert [event.who for event in events if isinstance(event, ev.AuthorityAsked)] == ["kCoordinator", "role:editor"]
    proposed = [event for event in events if isinstance(event, ev.ConsensusProposed)]
    assert [event.question["agreement"] for event in proposed] == ["paxos"], "the peers agree among themselves, once"
    used = [(use["step"].partition("[")[0], use["grant"]) for use in authority["uses"]]
    assert used[0] == ("planning", "planning/1/kPlanner")
    assert set(used[1:-1]) == {("gathering", "reading")}
    assert used[-1] == ("release", "release!1/panel")
    body = result["document"].partition("\n\n")[2].partition("\n\n## Votes")[0]
    assert result["document"].rstrip().endswith(sha256(body.encode()).hexdigest())
    assert check_store(store, created=[run]) == []
