"""The owner's door: what passes, what is refused, and that nobody else can stand behind it."""

import os
import signal
import socket
import stat
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kos_runtime.adapters import control_socket
from kos_runtime.adapters.control_socket import MAX_FRAME, ControlClient, ControlServer, socket_path
from kos_runtime.core.errors import InvalidDefinition, Unreachable


def _echo(message: dict[str, Any]) -> dict[str, Any]:
    if message.get("op") == "large":
        return {"ok": True, "text": "x" * (MAX_FRAME + 1)}
    return {"ok": True, "said": message}


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    server = ControlServer(tmp_path, _echo)
    yield tmp_path
    server.close()


def ask(folder: Path, message: dict[str, Any]) -> dict[str, Any]:
    client = ControlClient(folder)
    try:
        return client.request(message)
    finally:
        client.close()


def raw(folder: Path) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.settimeout(10)
    connection.connect(socket_path(folder))
    return connection


def test_a_message_gets_its_answer_and_the_next_one_too(folder: Path) -> None:
    client = ControlClient(folder)
    assert client.request({"op": "ping", "n": 1})["said"] == {"op": "ping", "n": 1}
    assert client.request({"op": "ping", "text": "日本語"})["said"]["text"] == "日本語"
    client.close()


def test_a_client_that_rested_finds_the_owner_that_came_since(tmp_path: Path) -> None:
    client = ControlClient(tmp_path)
    for _ in range(2):
        read, write = os.pipe()
        owner = os.fork()
        if owner == 0:
            ControlServer(tmp_path, _echo)
            os.write(write, b"!")
            signal.pause()
        try:
            os.read(read, 1)
            assert client.request({"op": "ping"})["ok"]
        finally:
            os.kill(owner, signal.SIGKILL)
            os.waitpid(owner, 0)
            os.close(read)
            os.close(write)
    with pytest.raises(Unreachable):
        client.request({"op": "ping"})
    client.close()


def test_the_door_is_for_the_stores_user_alone(folder: Path) -> None:
    assert stat.S_IMODE(Path(socket_path(folder)).stat().st_mode) == 0o600


def test_what_cannot_be_sent_is_the_callers_mistake_and_not_the_owners_absence(folder: Path) -> None:
    client = ControlClient(folder)
    with pytest.raises(InvalidDefinition, match="surrogate"):
        client.request({"op": "create", "inputs": {"topic": "a\udcffb"}})
    assert client.request({"op": "ping"})["ok"]
    client.close()


@pytest.mark.parametrize(
    "frame",
    [
        struct.pack(">I", MAX_FRAME + 1),
        struct.pack(">I", 1) + b"\x01",
        struct.pack(">I", 3) + b"\x82\xa1a",
        struct.pack(">I", 4) + b"\xc1\xc1\xc1\xc1",
    ],
    ids=["too large", "no object", "cut", "no msgpack"],
)
def test_a_bad_frame_is_refused_in_words_and_the_next_client_is_served(folder: Path, frame: bytes) -> None:
    with raw(folder) as connection:
        connection.sendall(frame)
        answer = control_socket._receive(connection)
    assert (answer["ok"], answer["code"]) == (False, "bad_request")
    assert ask(folder, {"op": "ping"})["ok"]


def test_a_client_that_goes_away_in_the_middle_disturbs_nobody(folder: Path) -> None:
    with raw(folder) as connection:
        connection.sendall(struct.pack(">I", 100) + b"half")
    assert ask(folder, {"op": "ping"})["ok"]


def test_an_answer_that_is_too_large_is_said_to_be(folder: Path) -> None:
    answer = ask(folder, {"op": "large"})
    assert answer["code"] == "bad_request"
    assert f"at most {MAX_FRAME}" in answer["message"]


def test_one_client_too_many_is_told_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control_socket, "MAX_CLIENTS", 1)
    server = ControlServer(tmp_path, _echo)
    first = ControlClient(tmp_path)
    try:
        assert first.request({"op": "ping"})["ok"]
        with raw(tmp_path) as second:
            answer = control_socket._receive(second)
        assert (answer["ok"], answer["code"]) == (False, "busy")
        assert first.request({"op": "ping"})["ok"]
    finally:
        first.close()
        server.close()


def test_nobody_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(Unreachable, match="nobody answers"):
        ControlClient(tmp_path).request({"op": "ping"})


def test_a_listener_of_another_user_is_not_spoken_to(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    client = ControlClient(folder)
    monkeypatch.setattr(control_socket, "_peer", lambda _: os.geteuid() + 1)
    with pytest.raises(Unreachable, match="served by user"):
        client.request({"op": "ping"})


def test_a_path_too_long_for_the_system_has_its_socket_elsewhere(tmp_path: Path) -> None:
    folder = tmp_path / ("deep" * 30)
    folder.mkdir()
    server = ControlServer(folder, _echo)
    try:
        assert not socket_path(folder).startswith(str(folder))
        assert ask(folder, {"op": "ping"})["ok"]
    finally:
        server.close()
