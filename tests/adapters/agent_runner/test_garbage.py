from typing import Any

import pytest

from kos_runtime.adapters.agent_runner.signature import Signature
from tests.proof import outputs_fuzz


def test_garbage_is_never_recorded_as_success_and_never_escapes() -> None:
    found = outputs_fuzz.run(1_500, seed=7)
    assert (found["escaped"], found["accepted_wrongly"], found["refused_wrongly"]) == (0, 0, 0), found["failures"]
    assert found["accepted"] > 200
    assert found["refused"] > 500


def test_the_same_seed_gives_the_same_numbers() -> None:
    assert outputs_fuzz.run(300, seed=3) == outputs_fuzz.run(300, seed=3)


@pytest.mark.parametrize("kind", ["accepted_wrongly", "refused_wrongly", "escaped"])
def test_the_second_opinion_sees_each_kind_of_mistake(monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    def unchecked(self: Signature, value: Any) -> Any:
        if kind == "refused_wrongly":
            return real(self, {"value": value} if isinstance(value, str) else value)
        if kind == "escaped":
            raise KeyError("anything")
        return (value, 1) if type(value) in {str, int, list, dict, type(None)} else real(self, value)

    real = Signature.plain_result
    monkeypatch.setattr(Signature, "plain_result", unchecked)
    assert outputs_fuzz.run(600, seed=5)[kind] > 0
