"""A vote of peers on a real store: what of it is shown, verified, exported and purged."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

import kos_runtime
from agents import Agent, action
from coordination import PeerToPeerCoordination, Proposal
from kos_runtime.cli import main
from kos_runtime.client.reading import Reading
from kos_runtime.client.retention import purge
from kos_runtime.core.errors import InvalidDefinition
from kos_runtime.definition import EngineSettings
from tests.oracle import check_store

VOTE = """
workflow:
  id: vote
  outputs: [{name: outcome, type: string, value: $steps.verdict.outcome}]
  agents: {panel: {agent: "tests.team:Team", replicas: 3}}
  steps:
    - id: verdict
      coordination: {pattern: peer_to_peer, peers: panel, consensus: {rule: majority}}
      action: vote
      inputs: {who: $peer}
"""


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    folder = tmp_path_factory.mktemp("vote")
    (folder / "vote.yaml").write_text(VOTE)
    with kos_runtime.connect(folder / ".kos", host="process", settings=EngineSettings()) as kos:
        run = kos.start(folder / "vote.yaml")
        assert run.result(timeout=30) == {"outcome": "yes"}
    return folder / ".kos", run.id


def test_the_store_verifies_with_the_streams_of_its_peers(
    store: tuple[Path, str], capsys: pytest.CaptureFixture[str]
) -> None:
    folder, run = store
    assert main(["verify", "--all", "--store", str(folder)]) == 0, capsys.readouterr()
    assert main(["verify", run, "--store", str(folder), "-o", "json"]) == 0, capsys.readouterr()
    reading = Reading(folder)
    peers = len(reading.lines_of_peers(run))
    assert peers >= 3 * 6
    assert main(["events", run, "--store", str(folder)]) == 0
    shown = capsys.readouterr().out
    assert "BallotCast           verdict/panel-2  no: panel-2 thinks so" in shown
    assert shown.index("verdict/panel-1  commanded") < shown.index("→ accept to panel-2, accept to panel-3")
    assert main(["events", run, "--store", str(folder), "--type", "Accepted", "--step", "verdict", "-o", "name"]) == 0
    assert capsys.readouterr().out.split() == ["Accepted"] * 3


def test_a_purge_takes_the_peers_ballots_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "vote.yaml").write_text(VOTE)
    with kos_runtime.connect(tmp_path / ".kos", host="process", settings=EngineSettings()) as kos:
        run = kos.start(tmp_path / "vote.yaml").id
        kos.result(run, timeout=30)
    purge(tmp_path / ".kos", [run], by="user:test")
    reading = Reading(tmp_path / ".kos")
    assert {line.data.get("problem") for line in reading.lines_of_peers(run)} == {"its payload was purged or archived"}
    assert main(["verify", "--all", "--store", str(tmp_path / ".kos")]) == 0, capsys.readouterr()
    assert main(["verify", run, "--store", str(tmp_path / ".kos")]) == 0, capsys.readouterr()


class Voter(Agent):
    @action
    def on_question(self, question: dict[str, Any], round: int = 1, before: list[Any] | None = None) -> dict[str, str]:  # noqa: A002
        choice = "no" if question["peer"] == "ann" and round == 1 else "yes"
        return {"vote": choice, "reason": f"{question['subject']} in round {round}, after {len(before or [])}"}

    @action
    def maybe(self, question: dict[str, Any]) -> str:
        return "maybe"


def test_a_driver_script_has_peers_reach_consensus_and_finds_it_again(tmp_path: Path) -> None:
    proposal = Proposal(subject="publish?", rule="unanimous", rounds=3)

    async def story() -> Any:
        with kos_runtime.connect(tmp_path / ".kos", host="process", settings=EngineSettings()) as kos:
            engine = kos.coordinator(dict.fromkeys(("ann", "bob", "cyd"), "tests.client.test_peers:Voter"))
            peers = PeerToPeerCoordination(engine, ["ann", "bob", "cyd"], weights={"ann": 2})
            return await peers.reach_consensus(proposal)

    result = asyncio.run(story())
    assert (result.outcome, result.accepted, result.rounds) == ("yes", True, 2)
    assert result.votes[0]["reason"] == "publish? in round 2, after 3"
    assert asyncio.run(story()) == result, "the same name goes on with what there is"
    assert check_store(tmp_path / ".kos", created=[]) == []


@pytest.mark.parametrize(
    ("peers", "agents", "message"),
    [
        (["ann", "bob"], {"ann": "tests.client.test_peers:Voter"}, "nobody is there for 'bob'"),
        (["ann"], {"ann": "tests.client.test_peers:Vooter"}, "Vooter"),
        (["ann", "bob"], {"ann": "tests.client.test_peers:Voter", "bob": "tests.client.test_peers:Voter.maybe"}, "one kind"),
    ],
)  # fmt: skip
def test_peers_without_agents_are_refused(
    tmp_path: Path, peers: list[str], agents: dict[str, str], message: str
) -> None:
    async def story() -> None:
        with kos_runtime.connect(tmp_path / ".kos", host="process", settings=EngineSettings()) as kos:
            await PeerToPeerCoordination(kos.coordinator(agents), peers).reach_consensus(Proposal(subject="?"))

    with pytest.raises(InvalidDefinition, match=message):
        asyncio.run(story())
