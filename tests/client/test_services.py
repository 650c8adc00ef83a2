"""Services in runs, from the configuration to the result: the mission's template, ``kos call``, secrets that stay out of the log."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import kos_runtime
from kos_runtime.cli import main
from kos_runtime.client import RunFailed
from kos_runtime.client.calling import call_document
from kos_runtime.composition.location import load_settings
from kos_runtime.core.errors import InvalidDefinition
from kos_runtime.definition import EngineSettings
from tests.adapters.http_server import Server, in_turn, says, server
from tests.client.chat_server import completion

EXAMPLES = Path(__file__).parents[2] / "examples"
CANARY = "canary-0f3e7a1b9c-of-the-chat"


def chat(url: str, **more: Any) -> dict[str, Any]:
    return {
        "kind": "chat", "url": f"{url}/v1", "model": "small", "auth": {"bearer": "$secrets.CHAT_KEY"},
        "provides": ["llm_service", "review_service"], "allow_private": ["127.0.0.1/32"], **more,
    }  # fmt: skip


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("KOS_SECRET_CHAT_KEY", CANARY)
    with server(completion) as at:
        yield at


def engine(folder: Path, **services: dict[str, Any]) -> kos_runtime.WorkflowEngine:
    return kos_runtime.connect(folder / ".kos", host="process", settings=EngineSettings(services=services))


def test_the_template_of_the_mission_runs_with_one_chat_service(model: Server, tmp_path: Path) -> None:
    with engine(tmp_path, gpt=chat(model.url)) as kos:
        run = kos.start(f"{EXAMPLES / 'templates.yaml'}#simple_llm_chain", prompt="hello")
        assert run.result(timeout=20)["valid"] is True
        linked = next(line.data for line in run.events() if line.type == "RunLinked")
    assert linked["settings"]["llm_service"]["providers"][0]["name"] == "gpt"
    first, second = model.asked
    assert first.json["messages"] == [{"role": "user", "content": "hello"}]
    assert "You said: hello" in second.json["messages"][-1]["content"]
    assert first.headers["Authorization"] == f"Bearer {CANARY}"
    assert first.headers["Idempotency-Key"].endswith(":process:0")
    assert first.headers["Idempotency-Key"] != second.headers["Idempotency-Key"]


def test_the_template_of_the_mission_is_used_by_a_workflow_with_inputs_of_its_own(
    model: Server, tmp_path: Path
) -> None:
    (tmp_path / "asks.yaml").write_text(
        """
workflow:
  id: asks
  inputs: [{name: question, type: string, required: true}]
  outputs: [{name: fine, type: boolean, value: $steps.chain.valid}]
  steps: [{id: chain, template: {use: simple_llm_chain, with: {prompt: $inputs.question}}}]
"""
    )
    (tmp_path / "templates.yaml").write_bytes((EXAMPLES / "templates.yaml").read_bytes())
    with engine(tmp_path, gpt=chat(model.url)) as kos:
        assert kos.start(tmp_path / "asks.yaml", question="hello").result(timeout=20) == {"fine": True}
    assert model.asked[0].json["messages"] == [{"role": "user", "content": "hello"}]
    with engine(tmp_path) as kos, pytest.raises(InvalidDefinition, match="no service 'llm_service' is configured"):
        kos.start(tmp_path / "asks.yaml", question="hello")


def test_without_a_service_the_run_says_at_link_what_to_configure(tmp_path: Path) -> None:
    with engine(tmp_path) as kos, pytest.raises(InvalidDefinition) as caught:
        kos.start(f"{EXAMPLES / 'templates.yaml'}#simple_llm_chain", prompt="hello")
    message = str(caught.value)
    assert "no service 'llm_service' is configured" in message
    assert "provides: [llm_service]" in message
    assert "provides: [review_service]" in message


@pytest.mark.parametrize(
    ("steps", "words"),
    [
        (
            "{id: a, agent: gpt, action: generate_txt}",
            "gpt has no action 'generate_txt'; did you mean 'generate_text'?",
        ),
        ("{id: a, agent: gtp, action: generate_text}", "no service 'gtp' is configured; did you mean 'gpt'?"),
        ("{id: a, agent: gpt, action: generate_text, inputs: {}}", "needs the input 'prompt'"),
        ("{id: a, agent: gpt, action: generate_text, inputs: {prompt: x, promt: y}}", "has no input 'promt'"),
        ("{id: a, agent: gpt, action: generate_text, inputs: {prompt: 3}}", "expected string, got integer"),
    ],
)
def test_what_a_step_asks_of_a_service_is_checked_when_it_is_linked(tmp_path: Path, steps: str, words: str) -> None:
    (tmp_path / "w.yaml").write_text(f"workflow:\n  id: w\n  steps: [{steps}]\n")
    with engine(tmp_path, gpt=chat("http://127.0.0.1:1")) as kos, pytest.raises(InvalidDefinition) as caught:
        kos.start(tmp_path / "w.yaml")
    assert words in str(caught.value)


def test_a_service_that_cannot_work_and_one_that_is_an_agent_are_refused(tmp_path: Path) -> None:
    (tmp_path / "w.yaml").write_text(
        "workflow:\n  id: w\n  steps: [{id: a, agent: kPlanner, action: x}, {id: b, agent: s, action: x}]\n"
    )
    with (
        engine(tmp_path, kPlanner=chat("http://127.0.0.1:1"), s={"url": "http://x"}) as kos,
        pytest.raises(InvalidDefinition) as caught,
    ):
        kos.start(tmp_path / "w.yaml")
    assert "kPlanner is an agent that is registered and a service" in str(caught.value)
    assert "services.s needs 'capabilities'" in str(caught.value)


def test_the_higher_priority_is_asked_first_and_the_other_when_it_is_gone(model: Server, tmp_path: Path) -> None:
    with server(says({}, 503)) as down, engine(tmp_path, gpt=chat(model.url), best=chat(down.url, priority=5)) as kos:
        assert kos.call("llm_service", "generate_text", prompt="hi")["text"] == "You said: hi"
        assert len(down.asked) == 1
        assert kos.call("gpt", "generate_text", prompt="ho")["text"] == "You said: ho"
        assert len(down.asked) == 1


def test_a_service_that_asks_for_a_later_attempt_is_heard(tmp_path: Path) -> None:
    given = {"url": "", "capabilities": {"do": {}}, "allow_private": ["127.0.0.1/32"]}
    with (
        server(in_turn(says({}, 429, retry_after="1"), says({"ok": True}))) as at,
        engine(tmp_path, svc={**given, "url": at.url}) as kos,
    ):
        run = kos.start(call_document("svc", "do", ()))
        assert run.result(timeout=20) == {"result": {"ok": True}}
        waited = [line.data["delay_ms"] for line in run.events() if line.type == "RetryScheduled"]
    assert waited[0] >= 1_000
    assert [asked.headers["Kos-Attempt"] for asked in at.asked] == ["1", "2"]
    assert [asked.headers["Kos-Fence"] for asked in at.asked] == ["1", "2"]
    assert len({asked.headers["Idempotency-Key"] for asked in at.asked}) == 1


async def _ask(folder: Path, url: str) -> Any:
    async with kos_runtime.connect_async(folder / ".kos", host="process", settings=EngineSettings(services={"gpt": chat(url)})) as kos:  # fmt: skip
        return await kos.call("gpt", "generate_text", prompt="await")


def test_a_call_can_be_awaited(model: Server, tmp_path: Path) -> None:
    import asyncio

    assert asyncio.run(_ask(tmp_path, model.url))["text"] == "You said: await"


def test_a_call_of_an_agent_is_a_run_too(tmp_path: Path) -> None:
    with engine(tmp_path) as kos:
        assert kos.call("tests.team:Team", "greet", {"name": "you"}) == {"text": "hello you"}
        with pytest.raises(InvalidDefinition, match="is no name"):
            kos.call("kPlanner", "de compose")


# --- secrets


SECRETS = """
workflow:
  id: w
  variables: {n: 1}
  steps:
    - {id: whole, agent: "tests.client.safe:Safe", action: open, inputs: {key: $secrets.SAFE_KEY}}
    - {id: inside, agent: "tests.client.safe:Safe", action: open, inputs: {key: "Bearer ${{ $secrets.SAFE_KEY }} ${{ $vars.n }} ${{ $secrets.OTHER }}"}}
    - {id: deep, agent: "tests.client.safe:Safe", action: take, inputs: {what: {a: [1, $secrets.SAFE_KEY]}}}
    - {id: many, for_each: {in: [1, 2]}, agent: "tests.client.safe:Safe", action: open, inputs: {key: "${{ $item }}-${{ $secrets.SAFE_KEY }}"}, outputs: {with: with}}
    - {id: fails, agent: "tests.client.safe:Safe", action: lose, inputs: {key: $secrets.SAFE_KEY}}
  error_handling:
    - {step: fails, on_failure: [retry, skip], max_retries: 2, backoff: {initial: 1ms}}
"""


def _everything(folder: Path) -> bytes:
    return b"\0".join(path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file())


def test_no_byte_of_a_secret_is_in_the_store_or_in_what_is_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    from tests.client import safe

    values = {name: f"{name.lower()}-canary-{os.urandom(12).hex()}" for name in ("SAFE_KEY", "OTHER")}
    for name, value in values.items():
        monkeypatch.setenv(f"KOS_SECRET_{name}", value)
    safe.SEEN.clear()
    (tmp_path / "w.yaml").write_text(SECRETS)
    with engine(tmp_path) as kos:
        run = kos.start(tmp_path / "w.yaml")
        run.result(timeout=30)
        events = json.dumps(kos.get_execution_history(run))
        view = repr(run.view())
    key = values["SAFE_KEY"]
    # They were there ...
    assert safe.SEEN[:2] == [key, f"Bearer {key} 1 {values['OTHER']}"]
    assert safe.SEEN[2] == {"a": [1, key]}
    assert sorted(safe.SEEN[3:5]) == [f"1-{key}", f"2-{key}"]
    assert safe.SEEN[5:] == [key] * 3
    monkeypatch.chdir(tmp_path)
    for command in (["events", "@latest", "-o", "wide"], ["get", "@latest"], ["get", "@latest", "-o", "json"], ["ls"]):
        assert main(command) == 0
    printed = "".join(capfd.readouterr())
    assert "[hidden]" in events
    # ... and left no trace, nor did any part of them worth having.
    for value in values.values():
        part = value.rpartition("-")[2][:16]
        assert part not in events + view + printed
        assert part.encode() not in _everything(tmp_path / ".kos")


@pytest.mark.parametrize(
    ("step", "words"),
    [
        ("set: {x: $secrets.K}", "$secrets is known only in the inputs of an action"),
        ("emit: {event: e, data: $secrets.K}", "$secrets is known only in the inputs of an action"),
        ("fail: {message: '${{ $secrets.K }}'}", "$secrets is known only in the inputs of an action"),
        ("agent: kPlanner, action: x, when: '$secrets.K == 1'", "$secrets is known only in the inputs of an action"),
        ("agent: kPlanner, action: x, idempotency_key: $secrets.K", "$secrets is known only in the inputs of an action"),
        ("agent: kPlanner, action: x, inputs: {a: '${{ upper($secrets.K) }}'}", "nothing is computed from $secrets.K"),
        ("agent: kPlanner, action: x, inputs: {a: '${{ default($secrets.K, 1) }}'}", "nothing is computed from $secrets.K"),
        ("agent: kPlanner, action: x, inputs: {a: $secrets.K.b}", "nothing is computed from $secrets.K.b"),
        ("agent: kPlanner, action: x, inputs: {a: $secrets}", "nothing is computed from $secrets"),
    ],
)  # fmt: skip
def test_a_secret_elsewhere_is_refused_with_its_place(step: str, words: str) -> None:
    from kos_runtime.definition import DefinitionError, WorkflowDocument, compile_workflow, load

    document = load(f"workflow:\n  id: w\n  steps:\n    - {{id: s, {step}}}\n", "w.yaml")
    assert isinstance(document, WorkflowDocument)
    with pytest.raises(DefinitionError) as caught:
        compile_workflow(document)
    (problem,) = caught.value.problems
    assert words in problem.message
    assert (problem.code, problem.line) == ("KOS207", 4)


def test_a_secret_that_is_not_here_fails_the_step_and_is_not_retried(tmp_path: Path) -> None:
    (tmp_path / "w.yaml").write_text(
        'workflow:\n  id: w\n  steps: [{id: s, agent: "tests.client.safe:Safe", action: open, inputs: {key: $secrets.GONE}}]\n'
    )
    with engine(tmp_path) as kos, pytest.raises(RunFailed) as caught:
        kos.start(tmp_path / "w.yaml").result(timeout=20)
    assert caught.value.error is not None
    assert "set KOS_SECRET_GONE where the agents' processes run" in caught.value.error["message"]
    assert caught.value.error["type"] == "permanent"


def test_a_service_is_set_by_the_file_and_by_the_command_line(tmp_path: Path) -> None:
    path = tmp_path / "engine.yaml"
    path.write_text("services:\n  gpt: {kind: chat, url: https://a/v1, model: m, auth: {bearer: $secrets.K}}\n")
    settings = load_settings(str(path), ["services.gpt.url=https://b/v1", "services.gpt.timeout=5s"], environment={})
    assert settings.services["gpt"]["url"] == "https://b/v1"
    assert settings.services["gpt"]["auth"] == {"bearer": "$secrets.K"}
    assert settings.sources["services.gpt.timeout"] == "--set"
    with pytest.raises(InvalidDefinition, match="did you mean 'timeout'"):
        load_settings(str(path), ["services.gpt.timeot=5s"], environment={})
