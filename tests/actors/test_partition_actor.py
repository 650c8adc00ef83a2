"""What a partition's actor does by itself, without Ray around it."""

import threading
from collections.abc import Callable
from typing import Any

import pytest

from kos_runtime.actors import partition_actor
from kos_runtime.actors.partition_actor import PartitionActor

_both = threading.Barrier(2)


class Loop:
    """Stands in for the engine's thread: counts how often it was made."""

    made = 0
    epoch = active = 0
    idle = False
    failure = stalled = ""
    notices: tuple[Any, ...] = ()

    def __init__(self, *_: Any) -> None:
        type(self).made += 1
        self.ready = threading.Event()

    def start(self) -> None:
        pass


def slow_codec() -> object:
    """Take as long as it takes until two are here, or until it is sure that only one comes."""
    try:
        _both.wait(0.3)
    except threading.BrokenBarrierError:
        _both.reset()
    return object()


def no_logger(_name: str) -> Callable[..., None]:
    return lambda *_, **__: None


def test_a_partition_is_begun_once_by_two_who_begin_it_at_the_same_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(partition_actor, "EngineLoop", Loop)
    actor = PartitionActor({"codec": f"{__name__}:slow_codec", "logger": f"{__name__}:no_logger"})
    begin: Any = actor.begin
    threads = [threading.Thread(target=begin) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert Loop.made == 1
