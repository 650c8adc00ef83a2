import json
import logging
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
import structlog

from kos_runtime.adapters import telemetry
from kos_runtime.adapters.current import CURRENT
from kos_runtime.adapters.redaction import HIDDEN, is_secret_name, redact, redact_text
from kos_runtime.core.invocation import Invocation

#: None of these may be in anything that is written. They are made up, and put together so that no scanner minds.
CANARIES = [
    "AKIA" + "IOSFODNN7CANARY1",
    "eyJhbGciOiJIUzI1NiJ9." + "eyJzdWIiOiIxIn0.c2lnbmF0dXJl",
    "ghp_" + "abcdefghijklmnopqrstuvwxyz0123456789",
    "xoxb-" + "1234567890-canary",
    "sk-proj-" + "canarycanarycanary",
    "-----BEGIN RSA PRIVATE KEY-----\nMIIcanary\n-----END RSA PRIVATE KEY-----",
]
INVOCATION = Invocation("run7", "refine#2/gather[17]", 3, 1, 1, "a", "act", b"", 0, "k")


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    before = logging.getLogRecordFactory()
    structlog.reset_defaults()
    yield
    structlog.reset_defaults()
    logging.setLogRecordFactory(before)


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]


def test_a_line_is_one_object_with_its_fields(capsys: pytest.CaptureFixture[str]) -> None:
    telemetry.line_writer("agent")("began", pid=5, parts=[1, 2])
    line = lines(capsys)[0]
    assert datetime.fromisoformat(line.pop("timestamp")).tzinfo is not None
    assert line == {"source": "agent", "event": "began", "level": "info", "pid": 5, "parts": [1, 2]}


def test_setting_up_again_changes_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    telemetry.setup()
    factory = logging.getLogRecordFactory()
    telemetry.setup()
    assert logging.getLogRecordFactory() is factory
    telemetry.line_writer("a")("once")
    assert len(lines(capsys)) == 1


def test_a_line_carries_its_attempt(capsys: pytest.CaptureFixture[str]) -> None:
    token = CURRENT.set(INVOCATION)
    try:
        telemetry.line_writer("agent")("working", attempt=9)
    finally:
        CURRENT.reset(token)
    line = lines(capsys)[0]
    assert (line["run"], line["step"], line["attempt"]) == ("run7", "refine#2/gather[17]", 9)


@pytest.mark.parametrize("canary", CANARIES)
def test_a_secret_is_in_no_line_wherever_it_stands(capsys: pytest.CaptureFixture[str], canary: str) -> None:
    write = telemetry.line_writer("agent")
    write(f"calling with {canary} now", a=canary, b=[{"c": canary}], d={canary}, e=ValueError(canary), f=(canary,))
    structlog.get_logger().bind(token=canary).warning("bound", password=canary)
    structlog.get_logger().error("failed", exc_info=ValueError(canary))
    logging.getLogger("somebody").warning("std %s and %s", canary, 1)
    err = capsys.readouterr().err
    assert canary not in err
    assert json.dumps(canary)[1:-1] not in err
    assert HIDDEN in err


def test_keys_that_name_secrets_hide_their_values() -> None:
    for name in ("password", "api_key", "X-Api-Key", "clientSecret", "Authorization", "auth_token", "token", "db_pwd"):
        assert is_secret_name(name), name
        assert redact({"deep": [{name: "value"}]}) == {"deep": [{name: HIDDEN}]}
    for name in ("tokens", "author", "max_tokens", "keyword", "run", "path", "monkey", "total_tokens"):
        assert not is_secret_name(name), name


def test_secrets_inside_texts_are_hidden_and_the_rest_is_kept() -> None:
    assert redact_text("GET /x?api_key=abcd1234&n=1") == f"GET /x?api_key={HIDDEN}&n=1"
    assert redact_text("postgres://me:hunter2@db/x") == f"postgres://{HIDDEN}@db/x"
    assert redact_text('{"password": "hunter22", "n": 1}') == '{"password": "' + HIDDEN + '", "n": 1}'
    assert redact_text("Authorization: Bearer abcdefgh12345") == f"Authorization: {HIDDEN}"
    assert redact_text("a basic question about tokens") == "a basic question about tokens"


def test_redaction_is_bounded() -> None:
    deep: Any = "x"
    for _ in range(50):
        deep = [deep]
    assert "[too deep]" in str(redact(deep))
    assert len(redact_text("x" * 1_000_000)) < 110_000


def test_a_line_that_cannot_be_cleaned_is_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    class Hostile:
        def __str__(self) -> str:
            raise RuntimeError("secret")

    telemetry.line_writer("a")("x", y=Hostile())
    line = lines(capsys)[0]
    assert "left out" in line["event"]
    assert "secret" not in str({**line, "event": ""})


def test_people_read_a_line_of_words() -> None:
    at = datetime(2026, 11, 23, 12, 30, 1, tzinfo=UTC)
    fields = {"event": "began", "level": "info", "source": "owner", "pid": 5, "why": "asked"}
    assert telemetry.human_line(at, fields) == "12:30:01 info    owner: began pid=5 why=asked"


def test_the_form_can_be_chosen(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(telemetry.VARIABLE, "human")
    telemetry.line_writer("owner")("began", pid=5)
    assert capsys.readouterr().err.endswith(" info    owner: began pid=5\n")


def test_inside_ray_a_line_takes_the_way_of_the_standard_library(capsys: pytest.CaptureFixture[str]) -> None:
    formatter = type("JSONFormatter", (logging.Formatter,), {"__module__": "ray._common.formatters"})()
    records: list[logging.LogRecord] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            records.append(record)

    handler = Keep()
    handler.setFormatter(formatter)
    logger = logging.getLogger(telemetry.LOGGER)
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        telemetry.line_writer("agent")("began", run="r", name="mine", password="x", n=1)
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
    record = records[0]
    assert record.getMessage() == "began"
    found = vars(record)
    assert (found["run"], found["name_"], found["n"], found["password"]) == ("r", "mine", 1, HIDDEN)
    assert record.name == telemetry.LOGGER
    assert capsys.readouterr().err == ""


def test_a_line_of_somebody_elses_logger_knows_its_attempt() -> None:
    telemetry.setup()
    token = CURRENT.set(INVOCATION)
    try:
        record = logging.getLogger("x").makeRecord("x", logging.INFO, "", 0, "hello %s", ("you",), None)
    finally:
        CURRENT.reset(token)
    assert record.getMessage() == "hello you"
    assert vars(record)["kos_step"] == "refine#2/gather[17]"
    odd = logging.getLogger("x").makeRecord("x", logging.INFO, "", 0, "%d", ("no number",), None)
    assert odd.msg == "%d"
