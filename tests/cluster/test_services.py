"""A service is called from an agent's process on Ray, with a secret that is in that process alone."""

from pathlib import Path

import pytest

from tests.adapters.http_server import server
from tests.client.chat_server import completion
from tests.cluster.world import World, kill

CANARY = "canary-on-ray-5f0c9a72d1"


def test_a_call_goes_out_of_a_process_on_ray_and_its_secret_stays_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "CHAT_KEY").write_text(CANARY)
    monkeypatch.setenv("KOS_SECRETS_DIR", str(tmp_path / "secrets"))
    with server(completion) as model:
        gpt = {
            "kind": "chat", "url": f"{model.url}/v1", "model": "m", "auth": {"bearer": "$secrets.CHAT_KEY"},
            "provides": ["llm_service"], "allow_private": ["127.0.0.1/32"], "max_concurrency": 2,
        }  # fmt: skip
        world = World(tmp_path, services={"gpt": gpt})
        try:
            assert (
                world.engine.call("llm_service", "generate_text", prompt="one", timeout=60.0)["text"] == "You said: one"
            )
            (agent,) = world.agents()
            assert agent["kind"] == "kService"
            kill(int(agent["pid"]))
            assert world.engine.call("gpt", "generate_text", prompt="two", timeout=60.0)["text"] == "You said: two"
            assert world.violations() == []
        finally:
            world.close()
        assert {asked.headers["Authorization"] for asked in model.asked} == {f"Bearer {CANARY}"}
    written = [path.read_bytes() for path in (tmp_path / ".kos").rglob("*") if path.is_file()]
    assert written
    assert not any(CANARY.encode() in data for data in written)
