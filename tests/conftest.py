"""What holds for every test: settings of the person at the keyboard do not leak in, only marked tests start Ray, and the
whole suite is shared out among processes, where those that start Ray stay together.
"""

import os
import sys
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

pytest_plugins = ["tests.sharing"]

# How fast a machine is makes no test fail.
settings.register_profile("kos", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("kos")


@pytest.fixture(autouse=True)
def _own_world(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("KOS_")]:
        monkeypatch.delenv(name)
    if request.node.get_closest_marker("cluster") is None and "ray" in sys.modules:
        monkeypatch.setattr(sys.modules["ray"], "init", _refuse, raising=False)


def _refuse(*_: Any, **__: Any) -> None:
    raise AssertionError("only tests marked `cluster` start Ray")
