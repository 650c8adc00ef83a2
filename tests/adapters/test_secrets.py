"""Secrets: where they are found, and that what a process knows of them is seen nowhere."""

import base64
import json
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kos_runtime.adapters.known_secrets import KnownSecrets
from kos_runtime.adapters.redaction import redact, redact_text
from kos_runtime.adapters.secret_values import secret_value
from kos_runtime.adapters.wire import pack_work, unpack_work
from kos_runtime.core.invocation import Gather, Invocation, Piece
from kos_runtime.ports.agent import ActionFailed


def knows(*values: str) -> KnownSecrets:
    made = KnownSecrets()
    for value in values:
        made.learn(value)
    return made


def test_a_variable_comes_before_a_file_that_is_named_and_that_before_the_folder(tmp_path: Path) -> None:
    (tmp_path / "my-key").write_text("of the folder\n")
    named = tmp_path / "elsewhere"
    named.write_text("of the file\r\n")
    env = {"KOS_SECRETS_DIR": str(tmp_path)}
    assert secret_value("my-key", env) == "of the folder"
    env["KOS_SECRET_MY_KEY_FILE"] = str(named)
    assert secret_value("my-key", env) == "of the file"
    env["KOS_SECRET_MY_KEY"] = "of the variable"
    assert secret_value("my-key", env) == "of the variable"
    named.write_text("a new one")
    del env["KOS_SECRET_MY_KEY"]
    assert secret_value("my-key", env) == "a new one"


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("K", None, "set KOS_SECRET_K where the agents' processes run"),
        ("K", b"short", "fewer than 6 characters"),
        ("K", b"\xff\xfe\xfd\xfc\xfb\xfa", "is no text"),
        ("K", b"x" * 70_000, "more than 64 KiB"),
        ("../K", b"outside", "is no name of a secret"),
    ],
)
def test_what_is_no_secret_is_told_without_it(tmp_path: Path, name: str, content: bytes | None, words: str) -> None:
    if content is not None:
        (tmp_path / "K").write_bytes(content)
    with pytest.raises(ActionFailed, match=words) as caught:
        secret_value(name, {"KOS_SECRETS_DIR": str(tmp_path)})
    assert caught.value.kind == "permanent"
    assert "short" not in caught.value.message.replace("shorter", "")


VALUE = 'p"a/ss+wörd\\with=all&kinds'


@pytest.mark.parametrize(
    "form",
    [VALUE, json.dumps(VALUE), json.dumps(VALUE, ensure_ascii=False), repr(VALUE), quote(VALUE, safe=""),
     base64.b64encode(VALUE.encode()).decode(), VALUE[:13], VALUE[-13:], VALUE[:-1], VALUE[1:]],
)  # fmt: skip
def test_a_secret_is_hidden_in_every_form_in_which_it_travels_and_in_parts(form: str) -> None:
    hidden = knows(VALUE).hide(f"before {form} behind")
    assert "[hidden]" in hidden
    assert "before " in hidden
    assert VALUE[2:9] not in hidden
    assert "with=all" not in hidden
    assert knows(VALUE).hide("nothing of that") == "nothing of that"


@given(st.text(min_size=6, max_size=60), st.text(max_size=40), st.text(max_size=40), st.integers(1, 3))
def test_no_text_shows_what_is_known(value: str, before: str, behind: str, times: int) -> None:
    hidden = knows(value).hide(before + value * times + behind)
    assert value not in hidden.replace("[hidden]", "\0") or value in "[hidden]"


@given(st.text("abc", min_size=12, max_size=40), st.text("abc", min_size=12, max_size=40))
def test_one_secret_that_lies_in_another_leaves_nothing_of_it(one: str, other: str) -> None:
    hidden = knows(one, other).hide(f"<{one}> <{other}>")
    assert one not in hidden
    assert other not in hidden


def test_lines_of_a_key_are_hidden_one_by_one_and_keys_of_objects_too() -> None:
    known = knows("-----BEGIN-----\nAAAABBBBCCCCDDDD\nEEEEFFFFGGGG\n-----END-----")
    assert known.hide("is AAAABBBBCCCCDDDD here") == "is [hidden] here"
    known = knows("topsecret1", "12345678")
    assert known.hide_in({"topsecret1": ["a topsecret1", 12345678, 5, None, True, 1.5]}) == {
        "[hidden]": ["a [hidden]", "[hidden]", 5, None, True, 1.5]
    }


def test_what_the_process_knows_is_in_no_line_of_a_log(tmp_path: Path) -> None:
    (tmp_path / "K").write_text("hush-hush-hush-hush")
    secret_value("K", {"KOS_SECRETS_DIR": str(tmp_path)})
    assert "hush" not in redact_text(f"{'x' * 99_995} hush-hush-hush-hush")
    assert "hush" not in str(redact({"a hush-hush-hush-hush": [{"b": "hush-hush-hush-hush"}]}))


def test_only_the_name_of_a_secret_travels() -> None:
    gathers = [
        Gather(("a", 0), "one", [Piece(secret="KEY")]),
        Gather(("b",), "text", [Piece(secret="KEY"), Piece(secret="OTHER")]),
    ]
    sent = Invocation("r", "s", 1, 1, 1, "k", "do", b"\x80", 0, "key", gathers)
    assert unpack_work(pack_work([sent]))[0] == [sent]
