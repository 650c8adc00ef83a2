"""Fifty secrets of many shapes, each given away in some way by the action that holds it: none is found anywhere.

Everything that is written, printed, exported or drawn is searched for each of them, for its middle, and for the forms in
which it travels.
"""

import base64
import json
import secrets
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote, quote_plus

import pytest

import kos_runtime
from kos_runtime.cli import main
from kos_runtime.client import RunFailed
from kos_runtime.definition import EngineSettings
from tests.client import safe

SHAPES = {
    "hex": lambda: secrets.token_hex(16),
    "digits": lambda: "".join(secrets.choice("123456789") for _ in range(18)),
    "url-safe": lambda: secrets.token_urlsafe(24),
    "base64": lambda: base64.b64encode(secrets.token_bytes(24)).decode(),
    "spaces": lambda: " ".join(secrets.token_hex(4) for _ in range(4)),
    "quotes": lambda: f"{secrets.token_hex(6)}\"{secrets.token_hex(6)}'{secrets.token_hex(6)}\\{secrets.token_hex(4)}",
    "signs": lambda: f"{secrets.token_hex(6)}%$#&=+{secrets.token_hex(6)}{{}}${{{{x}}}}",
    "umlauts": lambda: f"{secrets.token_hex(8)}äöü€{secrets.token_hex(8)}",
    "a key file": lambda: "-----BEGIN PRIVATE KEY-----\n" + "\n".join(secrets.token_hex(24) for _ in range(4)) + "\n-----END PRIVATE KEY-----",
    "long": lambda: secrets.token_hex(2_000),
}  # fmt: skip
COUNT = 50


def made() -> dict[str, str]:
    shapes = list(SHAPES.values())
    found = {f"S{n}": shapes[n % len(shapes)]() for n in range(COUNT - 1)}
    # One that begins like another.
    found[f"S{COUNT - 1}"] = found["S0"][:20] + secrets.token_hex(8)
    return found


def text() -> str:
    ways = [*safe.WAYS, *safe.RAISES]
    steps = [
        f'    - {{id: s{n}, agent: "tests.client.safe:Safe", action: spill, inputs: {{key: $secrets.S{n}, how: {json.dumps(ways[n % len(ways)])}}}}}'
        for n in range(COUNT - 1)
    ]
    steps.append(f"    - {{id: told, agent: teller, action: tell, inputs: {{key: $secrets.S{COUNT - 1}}}}}")
    steps.append('    - {id: last, agent: "tests.client.safe:Safe", action: lose, inputs: {key: $secrets.S0}}')
    return (
        "workflow:\n  id: fifty\n"
        '  agents: {teller: {agent: "tests.client.safe:Safe"}, other: {agent: "tests.client.safe:Safe"}}\n'
        "  steps:\n"
        + "\n".join(steps)
        + "\n  error_handling:\n    - {step: 's*', on_failure: [retry, skip], max_retries: 1, backoff: {initial: 1ms}}\n"
        "    - {step: last, on_failure: [retry, fail], max_retries: 1, backoff: {initial: 1ms}}\n"
    )


def forms(value: str) -> Iterator[str]:
    """What must not be found: a piece from the middle of a secret, as it is and as it travels."""
    for form in (
        value,
        json.dumps(value),
        quote(value, safe=""),
        quote_plus(value),
        repr(value),
        base64.b64encode(value.encode()).decode(),
    ):
        for line in form.splitlines():
            if len(line) >= 16 and "PRIVATE KEY" not in line[:40]:
                middle = len(line) // 2
                yield line[middle - 7 : middle + 7]


def test_none_of_fifty_secrets_is_found_in_any_file_or_on_any_screen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    values = made()
    for name, value in values.items():
        monkeypatch.setenv(f"KOS_SECRET_{name}", value)
    monkeypatch.chdir(tmp_path)
    safe.SEEN.clear()
    (tmp_path / "fifty.yaml").write_text(text())
    settings = EngineSettings(audit_backend="json_lines", audit_logging=True)
    with kos_runtime.connect(tmp_path / ".kos", host="process", settings=settings) as kos:
        run = kos.start("fifty.yaml", name="fifty")
        with pytest.raises(RunFailed) as caught:
            run.result(timeout=60)
        said = [repr(caught.value), repr(run.view()), json.dumps(kos.get_execution_history(run)), repr(run.messages())]
        assert set(values.values()) <= {seen for seen in safe.SEEN if isinstance(seen, str)}, "not all were given out"
        assert {step.status for step in run.view().steps.values()} == {"completed", "skipped", "failed"}
    for command in (
        ["events", "fifty", "-o", "wide"], ["events", "fifty", "-o", "jsonl"], ["get", "fifty"], ["get", "fifty", "-o", "json"],
        ["ls", "-o", "wide"], ["messages", "fifty"], ["graph", "fifty", "-o", "dot"], ["replay", "fifty"],
        ["verify", "fifty"], ["export", "fifty", "--file", "fifty.jsonl"], ["export", "fifty", "--format", "html", "--file", "fifty.html"], ["watch", "fifty"], ["doctor"],
    ):  # fmt: skip
        assert main(command) in {0, 1, 3}, command
    said += capfd.readouterr()
    everything = "\n".join(said).encode() + b"".join(p.read_bytes() for p in tmp_path.rglob("*") if p.is_file())
    assert b"[hidden]" in everything
    found = {name: form for name, value in values.items() for form in forms(value) if form.encode() in everything}
    assert found == {}
