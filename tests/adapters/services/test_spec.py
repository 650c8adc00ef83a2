"""What a configuration says of a service, and what is refused of it."""

from typing import Any

import pytest

from kos_runtime.adapters.services.spec import normal

DO: dict[str, Any] = {"do": {}}


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"capabilities": DO}, "needs 'url'"),
        ({"url": "ftp://x", "capabilities": DO}, "write https://HOST/PATH"),
        ({"url": "https://", "capabilities": DO}, "write https://HOST/PATH"),
        ({"url": "https://x:99999", "capabilities": DO}, "no address"),
        ({"url": "http://x", "capabilities": DO}, "not encrypted"),
        ({"url": "https://me:pw@x", "capabilities": DO}, "would be recorded"),
        ({"url": "https://x?key=1", "capabilities": DO}, "holds a query"),
        ({"url": "https://x"}, "needs 'capabilities'"),
        ({"url": "https://x", "kind": "chat"}, "needs 'model'"),
        ({"url": "https://x", "capabilities": DO, "auth": {"bearer": "sk-123456"}}, "write $secrets.NAME"),
        ({"url": "https://x", "capabilities": DO, "auth": {"basic": {"user": "u", "password": "p"}}}, "write $secrets.NAME"),
        ({"url": "https://x", "capabilities": DO, "headers": {"X-Api-Key": "abc"}}, "would be recorded"),
        ({"url": "https://x", "capabilities": DO, "headers": {"Idempotency-Key": "abc"}}, "cannot be set"),
        ({"url": "https://x", "capabilities": DO, "headers": {"A b": "c"}}, "cannot be set"),
        ({"url": "https://x", "capabilities": DO, "headers": {"A": "c\r\nB: d"}}, "printable ASCII"),
        ({"url": "https://x", "capabilities": DO, "headers": {"A": "$inputs.x"}}, "only $secrets.NAME"),
        ({"url": "https://x", "capabilities": DO, "allow_private": ["10.0.0.1/8"]}, "has host bits set"),
        ({"url": "https://x", "capabilities": DO, "rate_limit": "often"}, "60/m"),
        ({"url": "https://x", "capabilities": {"do": {"path": "x"}}}, "begins with /"),
        ({"url": "https://x", "capabilities": {"do": {"path": "/{id}", "inputs": {"n": "string"}}}}, "none of its inputs"),
        ({"url": "https://x", "capabilities": {"do": {"inputs": {"n": "text"}}}}, "it is one of string"),
        ({"url": "https://x", "capabilities": {"do": {"system": "x"}}}, "is for kind: chat"),
        ({"url": "https://x", "kind": "chat", "model": "m", "capabilities": {"do": {"path": "/x"}}}, "is for kind: http"),
    ],
)  # fmt: skip
def test_what_cannot_work_is_told(given: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError) as caught:
        normal("svc", given)
    assert words in str(caught.value)
    assert str(caught.value).startswith("services.svc")


def test_what_is_recorded_has_every_default_and_no_secret() -> None:
    found = normal(
        "svc", {"url": "https://x/v1/", "capabilities": DO, "auth": {"bearer": "$secrets.KEY"}, "rate_limit": "60/m"}
    )
    assert found["headers"] == {"Authorization": "Bearer ${{ $secrets.KEY }}"}
    assert (found["url"], found["timeout_ms"], found["max_response"], found["redirects"]) == (
        "https://x/v1",
        60_000,
        10 << 20,
        0,
    )
    assert (found["rate_starts"], found["rate_per_ms"]) == (60, 60_000)
