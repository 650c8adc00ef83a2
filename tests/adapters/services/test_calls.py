"""Services are called, at a real server on loopback: what goes out, what comes back, and every way of going wrong."""

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from kos_runtime.adapters.services.addresses import AddressRefused, check_address
from kos_runtime.adapters.services.agent import ServiceAgent
from kos_runtime.adapters.services.limiter import Limiter
from kos_runtime.adapters.services.spec import normal
from kos_runtime.adapters.services.transport import GuardedBackend
from kos_runtime.core.failure import ErrorType, WorkflowError
from tests.adapters.agent_runner.bench import Bench, bench
from tests.adapters.http_server import Asked, Behaviour, Server, in_turn, says, server

LOOPBACK = {"allow_private": ["127.0.0.1/32"]}
DO = {"capabilities": {"do": {"path": "/do"}}}


def provider(name: str, url: str, **given: Any) -> dict[str, Any]:
    return normal(name, {"url": url, **DO, **LOOPBACK, **given})


@contextmanager
def calling(*providers: dict[str, Any]) -> Iterator[Bench]:
    with bench(ServiceAgent({"providers": list(providers)})) as made:
        yield made


@contextmanager
def one(behaviour: Behaviour, **given: Any) -> Iterator[tuple[Bench, Server]]:
    with server(behaviour) as at, calling(provider("svc", at.url, **given)) as made:
        yield made, at


def failure(behaviour: Behaviour, inputs: Any = None, **given: Any) -> WorkflowError:
    with one(behaviour, **given) as (made, _):
        return made.failure("do", inputs)


def test_inputs_go_out_as_json_with_the_keys_of_the_attempt_and_the_answer_is_the_result() -> None:
    given = {"capabilities": {"do": {"path": "/things/{id}", "parameters": {"lang": "en"}, "result": "data"}}}
    with one(says({"data": {"n": 3}}), headers={"X-Team": "red"}, **given) as (made, at):
        assert made.value("do", {"id": "a/b", "text": "hé"}, attempt=2, fence=7)["n"] == 3
        (asked,) = at.asked
    assert (asked.method, asked.path, asked.json) == ("POST", "/things/a%2Fb", {"lang": "en", "text": "hé"})
    sent = {name: asked.headers[name] for name in ("Idempotency-Key", "Kos-Run", "Kos-Step", "Kos-Attempt", "Kos-Fence", "X-Team")}  # fmt: skip
    assert sent == {
        "Idempotency-Key": "kos:store:run1:step:0", "Kos-Run": "run1", "Kos-Step": "step", "Kos-Attempt": "2",
        "Kos-Fence": "7", "X-Team": "red",
    }  # fmt: skip


def test_a_get_asks_by_its_query_and_a_text_may_be_the_answer() -> None:
    given = {"capabilities": {"do": {"method": "GET", "path": "/find", "answer": "text"}}}
    with one(lambda *_: (200, {}, b"plain"), **given) as (made, at):
        assert made.value("do", {"q": "a b&c", "n": 3})["text"] == "plain"
    assert (at.asked[0].method, at.asked[0].path, at.asked[0].body) == ("GET", "/find?q=a+b%26c&n=3", b"")


@pytest.mark.parametrize("value", ["..", ".", "", None])
def test_an_input_in_the_path_leads_nowhere_else(value: Any) -> None:
    error = failure(says({}), {"id": value}, capabilities={"do": {"path": "/things/{id}"}})
    assert (error.type, error.recoverable) == (ErrorType.VALIDATION, False)


@pytest.mark.parametrize(
    ("status", "kind", "recoverable"),
    [
        (400, "validation", False), (401, "permanent", False), (403, "permanent", False), (404, "permanent", False),
        (408, "timeout", True), (409, "transient", True), (422, "validation", False), (429, "resource", True),
        (500, "transient", True), (501, "permanent", False), (502, "transient", True), (503, "transient", True),
        (504, "timeout", True), (302, "permanent", False),
    ],
)  # fmt: skip
def test_a_status_is_a_kind_of_failure(status: int, kind: str, recoverable: bool) -> None:
    error = failure(says({"why": "because"}, status))
    assert (error.type.value, error.recoverable, error.details["status"]) == (kind, recoverable, status)
    assert f"answered {status}" in error.message
    assert "because" in error.message


@pytest.mark.parametrize(
    ("said", "waits"),
    [("7", 7_000), ("999999", 3_600_000), ("soon", None), ("Thu, 01 Jan 1970 00:00:00 GMT", 0), ("-1", None)],
)
def test_a_time_to_come_again_is_kept(said: str, waits: int | None) -> None:
    error = failure(says({}, 429, retry_after=said))
    assert error.details.get("retry_after_ms") == waits


@pytest.mark.parametrize(
    "body", [b"<html>", b"{", b"NaN", b'{"a": 1e999}', b"\xff\xfe", b"[" * 200_000], ids=lambda b: repr(b[:10])
)
def test_garbage_is_a_validation_failure_that_another_attempt_may_mend(body: bytes) -> None:
    error = failure(lambda *_: (200, {}, body))
    assert (error.type, error.recoverable) == (ErrorType.VALIDATION, True)


def test_what_is_no_http_is_transient() -> None:
    error = failure(lambda _, sock: sock.sendall(b"SSH-2.0-OpenSSH\r\n"))
    assert error.type is ErrorType.TRANSIENT
    assert "no HTTP" in error.message


def test_a_connection_that_breaks_off_is_transient() -> None:
    error = failure(lambda _, sock: sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nab"))
    assert error.type is ErrorType.TRANSIENT


def _endless(_: Asked, sock: socket.socket) -> None:
    sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n")
    while True:
        sock.sendall(b"x" * 65_536)


def test_an_endless_answer_is_cut_at_its_bound() -> None:
    error = failure(_endless, max_response=1_000_000)
    assert (error.type, error.recoverable) == (ErrorType.VALIDATION, False)
    assert "more than 1000000 bytes" in error.message


def _dripping(_: Asked, sock: socket.socket) -> None:
    sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
    while True:
        sock.sendall(b" ")
        threading.Event().wait(0.02)


@pytest.mark.parametrize(
    "behaviour", [_dripping, lambda *_: threading.Event().wait(3) and None], ids=["drips", "silent"]
)
def test_a_slow_answer_is_bounded_as_a_whole(behaviour: Behaviour) -> None:
    began = time.monotonic()
    error = failure(behaviour, timeout="300ms")
    assert error.type is ErrorType.TIMEOUT
    assert "within 0.3 s" in error.message
    assert time.monotonic() - began < 2.5


def test_headers_without_end_are_refused() -> None:
    def behaviour(_: Asked, sock: socket.socket) -> None:
        sock.sendall(b"HTTP/1.1 200 OK\r\n")
        while True:
            sock.sendall(b"X-More: " + b"y" * 1_000 + b"\r\n")

    assert failure(behaviour).type is ErrorType.TRANSIENT


def test_a_compressed_answer_was_not_asked_for() -> None:
    assert "was not asked for" in failure(says({}, content_encoding="gzip")).message


def test_nobody_there_is_transient_and_no_such_name_a_dependency() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        with calling(provider("svc", f"http://127.0.0.1:{taken.getsockname()[1]}")) as made:
            assert made.failure("do").type is ErrorType.TRANSIENT
    with calling(provider("svc", "https://nowhere.invalid")) as made:
        error = made.failure("do")
    assert error.type in {ErrorType.DEPENDENCY, ErrorType.TRANSIENT}
    assert "cannot be resolved" in error.message


def test_a_server_without_tls_is_not_spoken_to_in_clear() -> None:
    with server(says({})) as at, calling(provider("svc", at.url.replace("http:", "https:"))) as made:
        error = made.failure("do")
    assert error.type is ErrorType.TRANSIENT
    assert "TLS" in error.message
    assert not at.asked


# --- where a service may lie


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "10.0.0.1", "172.16.3.4", "192.168.1.1", "100.64.0.1", "0.0.0.0", "::1", "::", "fc00::1", "224.0.0.1",
     "::ffff:10.0.0.1", "64:ff9b::a00:1", "2002:a00:1::", "255.255.255.255", "198.18.0.1", "::127.0.0.1"],
)  # fmt: skip
def test_an_address_that_is_not_public_is_refused_unless_it_is_allowed(address: str) -> None:
    with pytest.raises(AddressRefused, match="no public address"):
        check_address("host", address, (), encrypted=True)
    check_address("host", address, ("0.0.0.0/0", "::/0"), encrypted=False)


@pytest.mark.parametrize(
    "address",
    ["169.254.169.254", "fe80::1", "fe80::1%eth0", "fd00:ec2::254", "100.100.100.200", "168.63.129.16", "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe"],
)  # fmt: skip
def test_metadata_is_never_reached(address: str) -> None:
    with pytest.raises(AddressRefused, match="never reached"):
        check_address("host", address, ("0.0.0.0/0", "::/0"), encrypted=True)


@pytest.mark.parametrize("address", ["8.8.8.8", "2606:4700::1111"])
def test_a_public_address_is_reached_when_it_is_encrypted(address: str) -> None:
    check_address("host", address, (), encrypted=True)
    with pytest.raises(AddressRefused, match="not encrypted"):
        check_address("host", address, ("127.0.0.1/32",), encrypted=False)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "0x7f.1", "2130706433", "[::ffff:127.0.0.1]", "127.1"])
def test_a_service_on_this_machine_is_not_called_unless_that_is_allowed(host: str) -> None:
    with server(says({})) as at:
        plain = {**provider("svc", at.url), "allow_private": [], "url": f"http://{host}:{at.port}"}
        with calling(plain) as made:
            error = made.failure("do")
    assert not at.asked
    # Some spellings of an address are none to this machine's resolver; then there is no such name.
    assert error.type is ErrorType.SECURITY or "cannot be resolved" in error.message
    assert not error.recoverable or error.type is not ErrorType.SECURITY


def _resolves_to(monkeypatch: pytest.MonkeyPatch, *answers: list[str]) -> list[str]:
    left = list(answers)
    asked: list[str] = []

    def getaddrinfo(host: str, port: int, *_: Any, **__: Any) -> list[Any]:
        asked.append(str(host))
        found = left.pop(0) if len(left) > 1 else left[0]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in found]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return asked


def test_a_name_with_one_private_address_is_not_called(monkeypatch: pytest.MonkeyPatch) -> None:
    with server(says({})) as at:
        _resolves_to(monkeypatch, ["8.8.8.8", "10.0.0.1"])
        with calling(provider("svc", f"http://api.example.com:{at.port}")) as made:
            error = made.failure("do")
    assert error.type is ErrorType.SECURITY
    assert "api.example.com is at" in error.message


def test_what_is_connected_to_is_the_address_that_was_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    # The second answer of the name server would lead elsewhere (rebinding): nobody asks for it.
    with server(says({"ok": True})) as at:
        asked = _resolves_to(monkeypatch, ["127.0.0.1"], ["10.9.9.9"])
        with calling(provider("svc", f"http://api.example.com:{at.port}")) as made:
            assert made.value("do")["ok"] is True
    assert asked.count("api.example.com") == 1
    assert at.asked[0].headers["Host"] == f"api.example.com:{at.port}"


def test_a_socket_of_this_machine_is_no_service() -> None:
    with pytest.raises(Exception, match="socket of this machine"):
        asyncio.run(GuardedBackend((), encrypted=True).connect_unix_socket("/run/x"))


# --- redirects


def _to(location: str, status: int = 307) -> Behaviour:
    return says({}, status, location=location)


def test_a_redirect_is_not_followed_unless_the_service_says_so() -> None:
    error = failure(_to("/other"))
    assert error.type is ErrorType.PERMANENT
    assert "redirects: 1" in error.message


def test_a_redirect_to_a_private_address_is_refused() -> None:
    for to in ("http://169.254.169.254/latest/meta-data", "http://10.0.0.1/"):
        error = failure(_to(to), redirects=2)
        assert error.type is ErrorType.SECURITY, error
    error = failure(_to("ftp://example.com/"), redirects=2)
    assert error.type is ErrorType.SECURITY
    error = failure(_to("http://127.0.0.1:1/"), redirects=2)
    assert "another port" in error.message


def test_a_redirect_is_followed_within_its_bound_and_a_circle_ends() -> None:
    with one(in_turn(_to("/next"), says({"ok": True})), redirects=1) as (made, at):
        assert made.value("do", {"a": 1})["ok"] is True
        assert [asked.path for asked in at.asked] == ["/do", "/next"]
        assert at.asked[1].json == {"a": 1}
    assert "more than 2 redirects" in failure(_to("/do"), redirects=2).message
    assert "another request" in failure(_to("/do", 302), redirects=2).message


def test_what_is_for_one_host_is_not_sent_to_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KOS_SECRET_KEY", "canary-of-redirects")
    _resolves_to(monkeypatch, ["127.0.0.1"])

    def behaviour(asked: Asked, _: socket.socket) -> tuple[int, dict[str, str], bytes]:
        port = asked.headers["Host"].partition(":")[2]
        to = {"Location": f"http://two.example.com:{port}/x"}
        return (307, to, b"") if asked.path == "/do" else (200, {}, b'{"ok": true}')

    with server(behaviour) as at:
        given = provider("svc", f"http://one.example.com:{at.port}", redirects=1, headers={"X-Api-Key": "$secrets.KEY"})
        with calling(given) as made:
            assert made.value("do", {"a": 1})["ok"] is True
    one_, two = at.asked
    assert one_.headers["X-Api-Key"] == "canary-of-redirects"
    assert "X-Api-Key" not in two.headers
    assert "Idempotency-Key" not in two.headers


# --- more than one provider


@pytest.mark.parametrize("first", [says({}, 429), says({}, 503), says({}, 401)], ids=["429", "503", "401"])
def test_the_next_is_asked_where_the_first_has_not_acted(first: Behaviour) -> None:
    with (
        server(first) as a,
        server(says({"from": "b"})) as b,
        calling(provider("a", a.url), provider("b", b.url)) as made,
    ):
        assert made.value("do")["from"] == "b"
    assert (len(a.asked), len(b.asked)) == (1, 1)
    assert a.asked[0].headers["Idempotency-Key"] == b.asked[0].headers["Idempotency-Key"]


def test_the_next_is_not_asked_where_the_first_may_have_acted_unless_that_does_no_harm() -> None:
    for idempotent in (False, True):
        given = {"capabilities": {"do": {"path": "/do", "idempotent": idempotent}}}
        with (
            server(says({}, 500)) as a,
            server(says({"from": "b"})) as b,
            calling(provider("a", a.url, **given), provider("b", b.url, **given)) as made,
        ):
            if idempotent:
                assert made.value("do")["from"] == "b"
            else:
                assert made.failure("do").type is ErrorType.TRANSIENT
        assert len(b.asked) == idempotent


def test_wrong_inputs_are_wrong_everywhere() -> None:
    with server(says({}, 400)) as a, server(says({})) as b, calling(provider("a", a.url), provider("b", b.url)) as made:
        assert made.failure("do").type is ErrorType.VALIDATION
    assert not b.asked


def test_when_none_answers_each_is_told_and_the_shortest_wait_is_kept() -> None:
    with (
        server(says({}, 401)) as a,
        server(says({}, 429, retry_after="9")) as b,
        server(says({}, 503, retry_after="4")) as c,
        calling(provider("a", a.url), provider("b", b.url), provider("c", c.url)) as made,
    ):
        error = made.failure("do")
    assert (error.type, error.details["retry_after_ms"]) == (ErrorType.RESOURCE, 4_000)
    assert "none of 3 services" in error.message
    assert all(f"{name}: 127.0.0.1 answered" in error.message for name in "abc")


def test_only_who_offers_a_capability_is_asked() -> None:
    other = {"capabilities": {"other": {"path": "/other"}}}
    with (
        server(says({"from": "a"})) as a,
        server(says({"from": "b"})) as b,
        calling(provider("a", a.url, **other), provider("b", b.url)) as made,
    ):
        assert made.value("do")["from"] == "b"
        assert made.value("other")["from"] == "a"


# --- limits


def test_no_more_calls_run_at_once_than_a_service_takes() -> None:
    async def main() -> int:
        limiter, running, most = Limiter(most=3), 0, 0

        async def call() -> None:
            nonlocal running, most
            async with limiter:
                running += 1
                most = max(most, running)
                for _ in range(5):
                    await asyncio.sleep(0)
                running -= 1

        await asyncio.gather(*(call() for _ in range(20)))
        return most

    assert asyncio.run(main()) == 3


def test_no_more_calls_begin_in_a_time_than_a_service_takes() -> None:
    async def main() -> list[float]:
        limiter, began = Limiter(starts=3, per_ms=100), []
        loop = asyncio.get_running_loop()

        async def call() -> None:
            async with limiter:
                began.append(loop.time())

        await asyncio.gather(*(call() for _ in range(8)))
        return began

    began = asyncio.run(main())
    assert all(later - earlier >= 0.099 for earlier, later in zip(began, began[3:], strict=False))


# --- secrets


def test_a_secret_goes_out_and_never_comes_back(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    canary = "canary-7d1f0c-of-services"
    monkeypatch.setenv("KOS_SECRET_KEY", canary)
    (tmp_path / "PW").write_text("hunter2-hunter2\n")
    monkeypatch.setenv("KOS_SECRETS_DIR", str(tmp_path))

    def echo(asked: Asked, _: socket.socket) -> tuple[int, dict[str, str], bytes]:
        return 200, {}, (b'{"you_sent": "' + asked.headers["Authorization"].encode() + b'"}')

    with one(echo, auth={"bearer": "$secrets.KEY"}) as (made, at):
        assert made.value("do")["you_sent"] == "Bearer [hidden]"
        assert at.asked[0].headers["Authorization"] == f"Bearer {canary}"
    with one(echo, auth={"basic": {"user": "me", "password": "$secrets.PW"}}) as (made, at):
        assert made.value("do")["you_sent"] == "Basic [hidden]"
        assert at.asked[0].headers["Authorization"] == "Basic bWU6aHVudGVyMi1odW50ZXIy"
    error = failure(
        lambda *_: (403, {}, f"no such key {canary} ({canary[:-3]})".encode()), auth={"bearer": "$secrets.KEY"}
    )
    assert "canary" not in error.message
    assert "no such key [hidden]" in error.message


def test_a_secret_that_is_not_here_says_where_it_is_looked_for() -> None:
    error = failure(says({}), auth={"bearer": "$secrets.NOT_THERE"})
    assert (error.type, error.recoverable) == (ErrorType.PERMANENT, False)
    assert "set KOS_SECRET_NOT_THERE" in error.message
