"""The comparison with other engines: which rounds count, what is divided by what, and that no row goes missing."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.peers import cli, report
from benchmarks.peers.catalogue import PEERS, UNITS, WORKLOADS, Peer, ours
from benchmarks.peers.environments import Unavailable, prepare
from benchmarks.peers.probe import CpuReading, Probe, others_cores
from benchmarks.peers.processes import Failed, Figure, parse
from benchmarks.peers.rounds import Published, Round, collect, median_advantage

QUIET = Probe(0.2, 0.2, 0.0)
SLOW_DISK = Probe(0.2, 0.41, 0.0)
BUSY_CORES = Probe(0.2, 0.2, 0.31)


def measured(probe: Probe = QUIET, /, **values: float) -> Round:
    return Round(probe, {name: Figure(value, "steps/s", {}) for name, value in values.items()})


def published(*rounds: Round, noisy: bool = False) -> Published:
    return Published(rounds, noisy=noisy, thrown_away=0)


@pytest.mark.parametrize(
    ("probe", "quiet"), [(QUIET, True), (Probe(0.4, 0.4, 0.3), True), (SLOW_DISK, False), (BUSY_CORES, False)]
)
def test_a_round_is_quiet_when_the_disk_is_quick_before_and_after_and_the_cores_are_ours(
    probe: Probe, quiet: bool
) -> None:
    assert probe.is_quiet is quiet


def test_noisy_rounds_are_measured_again_until_enough_were_quiet() -> None:
    coming = iter([measured(SLOW_DISK, a=1), measured(a=2), measured(BUSY_CORES, a=3), measured(a=4), measured(a=5)])
    found = collect(lambda: next(coming), wanted=2)
    assert [of.outcomes["a"] for of in found.rounds] == [Figure(2, "steps/s", {}), Figure(4, "steps/s", {})]
    assert (found.noisy, found.thrown_away) == (False, 2)
    assert len(list(coming)) == 1


def test_after_too_many_noisy_rounds_the_quietest_are_published_and_called_noisy() -> None:
    def worse_and_worse() -> Iterator[Round]:
        for number in range(100):
            yield (
                measured(Probe(0.2, 0.2, 9.0 - number), a=float(number)) if number < 3 else measured(SLOW_DISK, a=50.0)
            )

    coming = worse_and_worse()
    found = collect(lambda: next(coming), wanted=2, most_thrown_away=4)
    assert found.noisy
    assert found.thrown_away == 2
    assert [of.outcomes["a"] for of in found.rounds] == [Figure(50.0, "steps/s", {}), Figure(2.0, "steps/s", {})]


def test_the_ratio_is_the_median_of_the_rounds_own_ratios() -> None:
    rounds = published(measured(we=100, they=10), measured(we=1, they=1), measured(we=60, they=20))
    assert median_advantage("w1", rounds, "we", "they") == 3.0


def test_of_durations_the_shorter_one_is_better() -> None:
    found = Round(QUIET, {"we": Figure(5, "ms", {}), "they": Figure(20, "ms", {})})
    assert median_advantage("lonely", published(found), "we", "they") == 4.0


def test_a_round_in_which_one_of_the_two_failed_has_no_ratio() -> None:
    found = Round(QUIET, {"we": Figure(5, "ms", {}), "they": Failed("it ended")})
    assert median_advantage("lonely", published(found), "we", "they") is None


def test_a_peer_that_failed_is_a_row_with_its_reason() -> None:
    row = report.row("w1", "they", "files", published(Round(QUIET, {"they": Failed("no port")})), "we")
    assert (row.median, row.note) == (None, "no port")
    assert "no port" in report.table([row])


def test_a_figure_in_another_unit_is_not_compared() -> None:
    row = report.row("w1", "they", "files", published(Round(QUIET, {"they": Figure(3, "runs/s", {})})), "we")
    assert (row.median, row.note) == (None, "gave runs/s instead of steps/s")


def test_noisy_figures_say_so_in_their_row() -> None:
    assert report.row("w1", "a", "files", published(measured(a=1), noisy=True), "we").note == "noisy"


def test_the_last_line_carries_the_lead_over_the_best_peer() -> None:
    rounds = published(measured(we=100, slow=1, quick=20))
    rows = [
        report.row("w1", "we", report.OURS, rounds, "we"),
        *(report.row("w1", name, "files", rounds, "we") for name in ("slow", "quick")),
    ]
    line = json.loads(json.dumps(report.summary(rows, {"rounds": 1}, {})))
    assert (line["workload"], line["value"], line["settings"]["best_peer"]) == ("peers", 5.0, "quick")
    assert [row["times"] for row in line["rows"]] == [None, 100.0, 5.0]


def test_the_figure_is_the_last_line_and_seconds_become_milliseconds() -> None:
    assert parse('a warning\n{"workload": "w3", "value": 0.25, "unit": "s", "settings": {"steps": 1}}\n') == Figure(
        250.0, "ms", {"workload": "w3", "settings": {"steps": 1}}
    )


@pytest.mark.parametrize("output", ["", "Traceback", "[]", '{"value": "x", "unit": "s"}', '{"value": 1}', "null"])
def test_an_output_that_ends_in_no_figure_is_a_failure(output: str) -> None:
    assert isinstance(parse(output), Failed)


def test_the_cores_of_others_are_all_work_but_ours_and_the_kernels() -> None:
    before = CpuReading(moment_s=100, busy_s=50, kernel_s=5, ours_s=7)
    after = CpuReading(moment_s=110, busy_s=66, kernel_s=6, ours_s=17)
    assert others_cores(before, after) == pytest.approx(0.5)


def test_counters_that_round_differently_make_no_negative_share() -> None:
    before = CpuReading(moment_s=0, busy_s=0, kernel_s=0, ours_s=0)
    assert others_cores(before, CpuReading(moment_s=1, busy_s=1, kernel_s=0, ours_s=1.01)) == 0.0


def test_an_environment_that_cannot_be_made_says_why_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "no-such-python"))
    made = prepare(PEERS[0], tmp_path / "cache")
    assert isinstance(made, Unavailable)
    assert "could not be installed" in made.reason
    assert not (tmp_path / "cache" / PEERS[0].environment).exists()


@pytest.mark.parametrize("peer", PEERS, ids=lambda peer: peer.name)
def test_each_peer_has_its_script_and_exactly_pinned_versions(peer: Peer) -> None:
    folder = Path(cli.__file__).parent
    assert (folder / "workloads" / peer.script).is_file()
    pinned = (folder / "requirements" / f"{peer.environment}.txt").read_text().split()
    assert pinned
    assert all("==" in line for line in pinned)


def test_ours_measures_every_workload_and_the_sequential_one_twice() -> None:
    rows = ours(5.0)
    assert set(rows[0].arguments) == set(WORKLOADS) == set(UNITS)
    assert [row.arguments["w1"][2] for row in rows] == ["1000", "64"]


@pytest.mark.parametrize(
    "arguments",
    [["--only", "nobody"], ["--workloads", "w9"], ["--rounds", "0"], ["--ours", "w9=--rounds 1"], ["--no-such"]],
)
def test_arguments_that_make_no_sense_are_refused_before_anything_is_installed(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(arguments) == 2
    assert "error:" in capsys.readouterr().err
