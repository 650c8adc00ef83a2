"""Who may do what in a run, at the command line and from Python, without Ray."""

import json
from pathlib import Path

import pytest

import kos_runtime
from kos_runtime.cli import main
from kos_runtime.client import RunFailed, RunWaits
from kos_runtime.core.errors import InvalidDefinition, NotFound
from kos_runtime.definition import EngineSettings
from tests.oracle import check_store

Output = pytest.CaptureFixture[str]
TEAM = "tests.team:Team"
RELEASE = f"""
workflow:
  id: release
  agents: {{chief: {{agent: "{TEAM}"}}, hand: {{agent: "{TEAM}"}}}}
  authority:
    person: role:editor
    hierarchy: {{hand: chief}}
    grants: {{greet: {{to: chief, depth: 1, limits: {{cost: 10}}}}}}
  steps:
    - id: down
      coordination: {{pattern: hierarchical, levels: [chief, hand], authority: {{grant: greet, scope: docs/a, cost: 3}}}}
      action: greet
      inputs: {{name: you}}
    - {{id: go, wait_for: {{signal: go}}}}
    - {{id: out, agent: hand, action: greet, inputs: {{name: all}}, authority_required: [publish]}}
"""
SETTINGS = EngineSettings(people={"jr": ["editor"], "eve": ["reader"]})
PEOPLE = ["--set", "people.jr=[editor]", "--set", "people.eve=[reader]"]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "release.yaml").write_text(RELEASE)
    monkeypatch.chdir(tmp_path)
    for name in ("KOS_STORE", "GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY", "CI", "KOS_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    with kos_runtime.connect(tmp_path / ".kos", host="process", settings=SETTINGS) as kos, pytest.raises(RunWaits):
        kos.start(tmp_path / "release.yaml", name="r").result(timeout=20)
    return tmp_path


def test_the_tree_says_who_holds_what_and_what_was_used_of_it(here: Path, capsys: Output) -> None:
    assert main(["authority", "r"]) == 0
    out = capsys.readouterr().out
    for part in (
        "greet",
        "└ down/1/hand",
        "3/10 cost",
        "the run's end",
        "role:editor",
        "chief over hand",
        "down/1/hand under greet",
    ):
        assert part in out
    assert main(["authority", "r", "-o", "json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [(grant["id"], grant["parent"], grant["used"]["cost"]) for grant in found["grants"]] == [
        ("greet", "", 3), ("down/1/hand", "greet", 3),
    ]  # fmt: skip
    assert found["grants"][1]["void"] == "greet is used up" or found["grants"][1]["void"] == "used up"
    (use,) = found["uses"]
    assert (use["step"], use["target"], use["chain"]) == ("down", "docs/a", ["down/1/hand", "greet"])


def test_granting_and_revoking_print_the_event_and_say_who(here: Path, capsys: Output) -> None:
    assert (
        main(["grant", "r", "publish", "--to", "hand", "--count", "2", "--expires", "1h", "--as", "jr", *PEOPLE]) == 0
    )
    assert "AuthorityRecorded by user:jr" in capsys.readouterr().out
    assert main(["revoke", "r", "publish", "--as", "jr", *PEOPLE]) == 0
    assert main(["events", "r", "-o", "json"]) == 0
    given = [
        e["data"] for e in json.loads(capsys.readouterr().out.partition("\n")[2]) if e["type"] == "AuthorityRecorded"
    ]
    assert [(data["by"], data["facts"][0]["fact"]) for data in given[-2:]] == [
        ("user:jr", "authority_granted"), ("user:jr", "authority_revoked"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["grant", "r", "publish", "--to", "hand", "--as", "eve"], 3, "user:eve may not give authority"),
        (["grant", "r", "publish", "--to", "hadn", "--as", "jr"], 4, "did you mean 'hand'?"),
        (
            ["grant", "r", "wide", "--to", "hand", "--for", "publish", "--from", "greet", "--as", "jr"],
            3,
            "is wider than 'greet'",
        ),
        (["grant", "r", "greet", "--to", "hand", "--as", "jr"], 3, "there is a grant 'greet' already"),
        (["revoke", "r", "greet", "--as", "eve"], 3, "user:eve may not take authority back"),
        (["revoke", "r", "great", "--as", "jr"], 4, "did you mean 'greet'?"),
        (["grant", "r", "x", "--to", "hand", "--expires", "soon", "--as", "jr"], 2, "--expires"),
    ],
)
def test_what_cannot_be_is_refused_with_its_reason(
    here: Path, capsys: Output, words: list[str], code: int, said: str
) -> None:
    assert main([*words, *PEOPLE]) == code
    assert said in capsys.readouterr().err


def test_from_python_a_grant_opens_what_waits_and_a_revocation_closes_it(here: Path) -> None:
    with kos_runtime.connect(here / ".kos", host="process", settings=SETTINGS) as kos:
        run = kos.reading.find("r").run
        assert not kos.check_authority(run, "hand", "publish")
        kos.grant(run, "publish", "hand", scope="", count=1, as_="jr")
        assert kos.check_authority(run, "hand", "publish")
        assert not kos.check_authority(run, "chief", "publish")
        kos.resume(run)
        kos.signal(run, "go")
        assert kos.result(run, timeout=20) == {"text": "hello all"}
        assert kos.authority(run)["uses"][-1]["grant"] == "publish"
        with pytest.raises(InvalidDefinition, match="completed"):
            kos.revoke(run, "publish", as_="jr")


def test_without_it_the_run_fails_and_says_whom_to_ask(here: Path) -> None:
    with kos_runtime.connect(here / ".kos", host="process", settings=SETTINGS) as kos:
        run = kos.reading.find("r").run
        kos.resume(run)
        kos.signal(run, "go")
        with pytest.raises(RunFailed, match="hand may not 'publish'"):
            kos.result(run, timeout=20)


def test_an_agent_asks_and_the_person_answers(here: Path) -> None:
    with kos_runtime.connect(here / ".kos", host="process", settings=SETTINGS) as kos:
        run = kos.reading.find("r").run
        kos.resume(run)
        asked = kos.escalate_authority(run, "hand", "publish", reason="the summary is ready")
        assert asked["granted"] is None
        (task,) = kos.view(run).waits_for_people
        kos.approve(run, task.path, as_="jr", form={"comment": "once"})
        assert kos.escalate_authority(run, "hand", "publish", timeout=0)["granted"] is None
        assert kos.check_authority(run, "hand", "publish")
        with pytest.raises(NotFound):
            kos.escalate_authority(run, "nobody", "publish")
        kos.revoke(run, "greet", as_="jr")
        kos.revoke(run, "greet", as_="jr")
    assert check_store(here / ".kos", created=[run]) == []


@pytest.mark.parametrize(
    ("wrong", "right", "place", "said", "code"),
    [
        ("levels: [chief, hand]", "levels: [chief, hadn]", "10:", "no agent 'hadn' here; did you mean 'hand'?", 0),
        ("{to: chief, depth: 1,", "{to: cheif, depth: 1,", "8:", "no agent 'cheif' here; did you mean 'chief'?", 0),
        ("cost: 10}}}", "cost: 10}}, wide: {to: hand, from: greet, actions: [greet], limits: {cost: 11}}}", "8:", "grant 'wide' is wider than 'greet': its cost", 3),
        ("cost: 10}}}", "cost: 10}}, long: {to: hand, from: greet, actions: [greet], depth: 1, limits: {cost: 1}}}", "8:", "'long' is wider than 'greet': it may be handed on further", 3),
    ],
)  # fmt: skip
def test_validate_says_where_and_what(
    here: Path, capsys: Output, wrong: str, right: str, place: str, said: str, code: int
) -> None:
    assert wrong in RELEASE
    (here / "bad.yaml").write_text(RELEASE.replace(wrong, right))
    assert main(["validate", "bad.yaml"]) == code
    out = "".join(capsys.readouterr())
    assert f"bad.yaml:{place}" in out
    assert said in out
