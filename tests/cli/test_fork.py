"""``kos fork`` where nothing may be started: whatever is wrong is said before an owner is."""

from pathlib import Path

import pytest

from kos_runtime.cli import main

Output = pytest.CaptureFixture[str]


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["fork", "good", "--at", "99"], 4, "its seqs are 1 to"),
        (["fork", "good", "--at", "0"], 4, "its seqs are 1 to"),
        (["fork", "nobody", "--at", "1"], 4, "no run 'nobody'"),
        (["fork", "good"], 2, "--at"),
        (["fork", "good", "--at", "1", "--set", "steps.a.text"], 2, "write --set steps.STEP.NAME=VALUE"),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_started(
    there: Path, capsys: Output, words: list[str], code: int, said: str
) -> None:
    assert main(words) == code
    assert said in capsys.readouterr().err
    assert not (there / ".kos" / "owner.json").exists()


def test_a_fork_at_the_end_is_refused_with_an_earlier_event(there: Path, capsys: Output) -> None:
    from kos_runtime.client.reading import Reading

    reading = Reading(there / ".kos")
    last = reading.view(reading.find("good").run).seq
    assert main(["fork", "good", "--at", str(last)]) == 3
    assert f"choose an earlier one, such as {last - 1}" in capsys.readouterr().err
