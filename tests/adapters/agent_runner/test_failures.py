import asyncio
import errno
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from pydantic import BaseModel

from kos_runtime.core.errors import StoreDamaged, StoreFull, StoreReadOnly
from kos_runtime.core.failure import ErrorType
from kos_runtime.core.record import BlobRef
from kos_runtime.ports.agent import ActionFailed, Agent, action
from tests.adapters.agent_runner.bench import CODEC, Bench, bench


class Rude(BaseException):
    """As foreign code raises it: no Exception, and not to be looked at."""

    def __str__(self) -> str:
        raise SystemExit("looked at")


class Careless(ActionFailed):
    def __init__(self) -> None:
        """It forgot what its base needs."""


class Number(BaseModel):
    n: int


def recurse(depth: int) -> int:
    return recurse(depth + 1) + 1


RAISE: dict[str, Callable[[], Any]] = {}


class Faulty(Agent):
    @action
    def act(self) -> Any:
        return RAISE["it"]()

    @action
    async def act_async(self) -> Any:
        await asyncio.sleep(0)
        return RAISE["it"]()

    @action
    def fine(self) -> dict[str, int]:
        return {"n": 1}


def throw(error: BaseException) -> Callable[[], Any]:
    def raised() -> Any:
        raise error

    return raised


@pytest.fixture
def faulty() -> Iterator[Bench]:
    with bench(Faulty(), threads=1) as made:
        yield made


@pytest.fixture(params=["act", "act_async"])
def how(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.mark.parametrize(
    ("error", "kind", "recoverable"),
    [
        (ActionFailed("dependency", "the service is down"), "dependency", True),
        (ActionFailed(ErrorType.SECURITY, "no"), "security", False),
        (ActionFailed("transient", "odd", recoverable=False), "transient", False),
        (TimeoutError("late"), "timeout", True),
        (ConnectionResetError("reset"), "transient", True),
        (BrokenPipeError(), "transient", True),
        (OSError(errno.ENOSPC, "no space"), "resource", True),
        (OSError(errno.EMFILE, "too many"), "resource", True),
        (OSError(errno.ENOMEM, "no memory"), "resource", True),
        (OSError(errno.EIO, "io"), "transient", True),
        (PermissionError(errno.EACCES, "denied"), "permanent", False),
        (FileNotFoundError("gone"), "permanent", False),
        (MemoryError(), "resource", True),
        (ValueError("bad"), "unknown", True),
        (TypeError("bad"), "unknown", True),
        (KeyError("k"), "unknown", True),
        (ZeroDivisionError(), "unknown", True),
        (ImportError("no module"), "permanent", False),
        (NotImplementedError(), "permanent", False),
        (SystemExit(3), "unknown", True),
        (KeyboardInterrupt(), "unknown", True),
        (GeneratorExit(), "unknown", True),
        (asyncio.CancelledError(), "unknown", True),
        (Rude(), "unknown", True),
        (Careless(), "unknown", True),
        (StoreFull("disk"), "resource", True),
        (ExceptionGroup("many", [ValueError("a")]), "unknown", True),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else None,
)
def test_an_exception_becomes_a_failure_of_its_kind(
    faulty: Bench, how: str, error: BaseException, kind: str, recoverable: bool
) -> None:
    RAISE["it"] = throw(error)
    found = faulty.failure(how)
    assert (found.type, found.recoverable, found.step) == (kind, recoverable, "step")
    assert found.message
    assert faulty.value("fine")["n"] == 1


def test_running_out_of_memory_says_so(faulty: Bench) -> None:
    RAISE["it"] = throw(MemoryError())
    assert faulty.failure("act").message == "out of memory"


def test_an_invalid_model_inside_an_action_is_the_actions_own_failure(faulty: Bench) -> None:
    RAISE["it"] = lambda: Number.model_validate({"n": "x"})
    found = faulty.failure("act")
    assert (found.type, found.recoverable) == ("validation", True)
    assert found.message.startswith("ValidationError: ")


def test_recursion_without_end_is_a_failure(faulty: Bench, how: str) -> None:
    RAISE["it"] = lambda: recurse(0)
    assert faulty.failure(how).message.startswith("RecursionError")
    assert faulty.value("fine")["n"] == 1


def test_the_end_of_the_traceback_is_kept_and_bounded(faulty: Bench) -> None:
    RAISE["it"] = throw(ValueError("x" * 100_000))
    found = faulty.failure("act")
    assert len(found.message) < 2_100
    assert len(found.details["traceback"]) <= 4_000
    RAISE["it"] = throw(ValueError("short"))
    assert "in raised" in faulty.failure("act").details["traceback"]


def test_secrets_are_taken_out_of_what_is_recorded(faulty: Bench) -> None:
    secret = "AKIA" + "ABCDEFGHIJKLMNOP"
    RAISE["it"] = throw(ValueError(f"call with {secret} and password=hunter22 failed"))
    found = faulty.failure("act")
    assert secret not in str(found)
    assert "hunter22" not in str(found)
    RAISE["it"] = throw(ActionFailed("transient", f"Bearer {secret}", details={"api_key": "abc", "n": 1}))
    found = faulty.failure("act")
    assert secret not in str(found)
    assert found.details == {"api_key": "[hidden]", "n": 1}


def test_details_of_any_name_are_kept_and_only_plain_small_ones(faulty: Bench) -> None:
    details = {"type": 1, "message": 2, "step": 3, "recoverable": 4, "self": 5}
    RAISE["it"] = throw(ActionFailed("transient", "m", details=details))
    assert faulty.failure("act").details == details
    for bad in ({"x": object()}, {"x": "y" * 10_000}, {"x": float("nan")}, {"x": "\ud800"}):
        RAISE["it"] = throw(ActionFailed("transient", "m", details=bad))
        assert faulty.failure("act").details == {"left_out": ["x"]}


def test_half_a_character_in_a_message_does_not_spoil_the_outcome(faulty: Bench) -> None:
    RAISE["it"] = throw(ValueError("half \ud800"))
    CODEC.pack(faulty.failure("act").to_plain())


class NoBlobs:
    """A blob store that cannot."""

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def put(self, data: bytes) -> BlobRef:
        raise self.error

    def get(self, digest: str) -> bytes:
        raise self.error

    def has(self, digest: str) -> bool:
        return False


@pytest.mark.parametrize("error", [StoreFull("x"), StoreReadOnly("x"), OSError(errno.ENOSPC, "x")])
def test_a_large_result_that_cannot_be_stored_is_a_matter_of_resources(error: BaseException) -> None:
    RAISE["it"] = lambda: "x" * 100_000
    with bench(Faulty(), blobs=NoBlobs(error)) as made:
        found = made.failure("act")
        assert (found.type, found.recoverable) == ("resource", True)


@pytest.mark.parametrize(
    ("error", "kind"),
    [(KeyError("x"), "permanent"), (StoreDamaged("x", "y"), "permanent"), (OSError(errno.EMFILE, "x"), "resource")],
)
def test_inputs_that_cannot_be_read(error: BaseException, kind: str) -> None:
    with bench(Faulty(), blobs=NoBlobs(error)) as made:
        assert made.failure("fine", inputs_blob=BlobRef("ab" * 32, 3)).type == kind
