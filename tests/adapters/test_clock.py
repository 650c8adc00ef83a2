import pytest
from hypothesis import given
from hypothesis import strategies as st

from kos_runtime.adapters.clock import ALARM_MS, STEADY_MS, LogClock

START = 1_700_000_000_000
MS = 1_000_000


class Sources:
    """A wall clock that can be set, and a machine that has been on for a while."""

    def __init__(self) -> None:
        self.wall = START
        self.boot = 5_000 * MS

    def pass_ms(self, amount: int) -> None:
        self.wall += amount
        self.boot += amount * MS

    def clock(self, last_recorded: int = 0) -> LogClock:
        return LogClock(self.wall, last_recorded, wall=lambda: self.wall, boottime=lambda: self.boot)


def test_log_time_begins_with_the_wall_and_keeps_step_with_the_machine() -> None:
    sources = Sources()
    clock = sources.clock()
    assert clock.now() == START
    sources.pass_ms(250)
    assert clock.now() == START + 250


@pytest.mark.parametrize("jump", [3_600_000, -3_600_000])
def test_a_jump_of_the_wall_moves_no_duration(jump: int) -> None:
    sources = Sources()
    clock = sources.clock()
    sources.wall += jump
    sources.pass_ms(1_000)
    assert clock.now() == START + 1_000


def test_log_time_begins_no_earlier_than_what_was_recorded() -> None:
    sources = Sources()
    clock = sources.clock(last_recorded=START + 10_000)
    assert clock.now() == START + 10_000


def test_while_ahead_of_the_wall_it_runs_slower_until_they_meet() -> None:
    sources = Sources()
    clock = sources.clock(last_recorded=START + 10_000)
    sources.pass_ms(10_000)
    assert clock.now() == START + 15_000
    sources.pass_ms(10_000)
    assert clock.now() == START + 20_000 == sources.wall
    sources.pass_ms(7)
    assert clock.now() == sources.wall


@given(
    st.integers(-100_000, 100_000),
    st.lists(st.tuples(st.integers(0, 60_000), st.integers(-7_200_000, 7_200_000)), max_size=20),
)
def test_it_never_goes_back_and_never_faster_than_the_machine(lead: int, moves: list[tuple[int, int]]) -> None:
    sources = Sources()
    clock = sources.clock(last_recorded=START + lead)
    before = clock.now()
    assert before == START + max(lead, 0)
    for passed, jump in moves:
        sources.wall += jump
        sources.pass_ms(passed)
        now = clock.now()
        assert before <= now <= before + passed + 1
        before = now


def test_a_wall_that_left_is_an_alarm_once_until_it_comes_back() -> None:
    sources = Sources()
    clock = sources.clock()
    sources.wall += ALARM_MS
    assert clock.alarm() is None
    sources.wall += 1
    alarm = clock.alarm()
    assert alarm is not None
    assert alarm.ahead_ms == ALARM_MS + 1
    assert "2.0 s ahead of log time" in str(alarm)
    assert clock.alarm() is None
    sources.wall = START
    assert clock.alarm() is None
    sources.wall -= 10_000
    behind = clock.alarm()
    assert behind is not None
    assert "10.0 s behind log time" in str(behind)


def test_named_instants_follow_the_wall_once_it_is_steady() -> None:
    sources = Sources()
    clock = sources.clock()
    assert clock.wall() == START
    sources.wall += 3_600_000
    assert clock.wall() is None
    sources.pass_ms(STEADY_MS - 1)
    assert clock.wall() is None
    sources.pass_ms(1)
    assert clock.wall() == START + 3_600_000 + STEADY_MS


def test_a_wall_that_keeps_jumping_is_not_followed() -> None:
    sources = Sources()
    clock = sources.clock()
    for _ in range(10):
        sources.wall += 10_000
        sources.pass_ms(STEADY_MS // 2)
        assert clock.wall() is None
