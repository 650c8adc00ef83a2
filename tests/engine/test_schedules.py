"""Schedules in virtual time: each instant gets its run once, whatever dies, jumps or comes too late."""

from collections.abc import Callable
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from kos_runtime.adapters.blob_store.memory import MemoryBlobStore
from kos_runtime.adapters.calendar import CronCalendar
from kos_runtime.adapters.event_store.memory_log import Fault, MemoryLog
from kos_runtime.core.errors import AppendUnknown
from kos_runtime.core.event import rebuild
from kos_runtime.core.plan.plain import to_plain
from kos_runtime.core.schedule import events as ev
from kos_runtime.core.schedule.commands import RemoveSchedule, SetSchedule
from kos_runtime.core.schedule.decide import MAX_CATCH_UP, MAX_LOOKED, MAX_QUEUED
from kos_runtime.core.schedule.state import Schedule, evolve, run_of, schedule_stream
from kos_runtime.core.schedule.state import to_plain as plain_of
from kos_runtime.core.verify import verify_partition
from kos_runtime.core.workflow import events as run_events
from kos_runtime.core.workflow.commands import Accepted, Answer, CancelRun, Rejected
from kos_runtime.engine.host import load_schedule
from kos_runtime.engine.limits import Limits

from .world import CODEC, HANGS, START, Recording, World, act, link_for, plan

MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000
#: 2023-11-15 00:00 UTC, a little after the world's clock begins.
MIDNIGHT = (START // DAY + 1) * DAY
BERLIN = ZoneInfo("Europe/Berlin")


class Wall:
    """The wall clock: the world's own, set forward or back by somebody; None while it is not to be followed."""

    def __init__(self) -> None:
        self.ahead = 0
        self.steady = True
        self.now: Callable[[], int] = lambda: START

    def __call__(self) -> int | None:
        return self.now() + self.ahead if self.steady else None


class Timed(World):
    """A world with a calendar on the wall."""

    def __init__(self, actions: dict[str, Any], **more: Any) -> None:
        self.wall = more.setdefault("wall", Wall())
        more.setdefault("calendar", CronCalendar())
        super().__init__(actions, **more)
        self.wall.now = self.clock.now

    def crash(self) -> "Timed":
        made = Timed(self.actions, store=self.store, blobs=self.blobs, limits=self.host.limits, **self.more)
        made.clock.advance_to(self.clock.now())
        return made

    def set(
        self, cron: str = "0 * * * *", *, id: str = "s", action: str = "work", key: str = "set", **more: Any
    ) -> Answer:
        given: dict[str, Any] = {"timezone": "UTC", "overlap": "skip", "catch_up": "last", "inputs": {}, **more}
        command = SetSchedule(
            run=id,
            workflow="w",
            version="",
            cron=cron,
            plan=self.blobs.put(CODEC.pack(to_plain(plan(act("s", action))))).digest,
            link=self.blobs.put(CODEC.pack(to_plain(link_for(self.actions)))).digest,
            settings={"k": {"corpus": "none"}},
            drivers={},
            salt=b"s" * 16,
            by="user:jr",
            **given,
        )
        return self.virtual.request(command, command_id=f"{key}-{id}")

    def remove(self, id: str = "s", key: str = "gone") -> Answer:
        return self.virtual.request(RemoveSchedule(run=id, by="user:jr", reason="over"), command_id=key)

    def go_to(self, instant: int) -> "Timed":
        """Let time pass in the steps that a host would make."""
        while True:
            while self.virtual.step():
                self.check()
            due = self.host.partition.next_due()
            assert due is not None
            if self.clock.now() >= instant:
                return self
            self.clock.advance_to(min(max(due, self.clock.now() + 1), instant))

    def check(self) -> None:
        """What is in memory is what the log says."""
        for id, entry in self.host.partition.schedules.entries.items():
            if not entry.meta.position:
                continue
            folded = Schedule(id)
            for event in self.of(id):
                evolve(folded, event)
            folded.position = entry.schedule.position
            assert plain_of(folded) == plain_of(entry.schedule)
            loaded = Schedule(id)
            load_schedule(self.store, CODEC, schedule_stream(id)).fold(loaded)
            assert plain_of(loaded) == plain_of(folded)

    def of(self, id: str = "s") -> list[Any]:
        records = self.store.stream(schedule_stream(id), limit=100_000)
        return [event for record in records for event in rebuild(record.names, CODEC.unpack(record.payload))]

    def fired(self, id: str = "s") -> list[tuple[int, str]]:
        return [(event.nominal, event.why) for event in self.of(id) if isinstance(event, ev.ScheduleFired)]

    def passed(self, id: str = "s") -> list[tuple[int, int, int, str]]:
        return [(e.first, e.last, e.count, e.why) for e in self.of(id) if isinstance(e, ev.SchedulePassed)]


def work(_: Any, **__: Any) -> Any:
    return {"done": True}


def hang(_: Any, **__: Any) -> Any:
    return HANGS


def world(**more: Any) -> Timed:
    made = Timed({"work": work, "hang": hang}, limits=Limits(grace_ms=40 * DAY), **more)
    return made.go_to(MIDNIGHT + MINUTE)


def hours(*numbers: int) -> list[int]:
    return [MIDNIGHT + number * HOUR for number in numbers]


def end(here: Timed, nominal: int) -> None:
    """A run that hangs is called off by a person."""
    here.virtual.request(CancelRun(run=run_of("store", "s", nominal), by="user:jr", reason="", grace_ms=0))
    here.virtual.step()


# --- on time ------------------------------------------------------------------------------------


def test_each_instant_gets_its_run_and_the_next_one_is_recorded_with_the_version_of_the_time_zones() -> None:
    here = world()
    assert here.set(inputs={"topic": "hours"}) == Accepted(run="s", position=1, event="ScheduleSet")
    here.go_to(MIDNIGHT + 3 * HOUR + MINUTE)
    assert here.fired() == [(nominal, "on time") for nominal in hours(1, 2, 3)]
    planned = [event for event in here.of() if isinstance(event, ev.SchedulePlanned)]
    assert [event.next for event in planned] == hours(1, 2, 3, 4)
    assert {event.tzdata for event in planned} == {CronCalendar().version}
    for nominal in hours(1, 2, 3):
        run = run_of("store", "s", nominal)
        assert here.status(run) == "completed"
        (created,) = here.named(run_events.RunCreated, run)
        assert CODEC.unpack(created.inputs) == {"topic": "hours"}
        assert created.author == "schedule:s"
    assert created.name == "s@2023-11-15T03:00Z"
    assert [e.status for e in here.of() if isinstance(e, ev.ScheduledRunEnded)] == ["completed"] * 3
    assert not here.passed()


def test_its_runs_have_salts_and_seeds_of_their_own() -> None:
    here = world()
    here.set()
    here.go_to(MIDNIGHT + 2 * HOUR + MINUTE)
    runs = [run_of("store", "s", nominal) for nominal in hours(1, 2)]
    salts = {here.store.salt(f"run/{run}") for run in runs} | {here.store.salt("schedule/s")}
    assert len(salts) == 3
    assert {len(salt or b"") for salt in salts} == {16}
    assert len({here.named(run_events.RunCreated, run)[0].seed for run in runs}) == 2


def test_a_schedule_alone_is_no_work() -> None:
    here = world()
    here.set()
    here.go_to(MIDNIGHT + 30 * MINUTE)
    assert here.host.partition.is_idle()


@pytest.mark.parametrize(
    ("day", "cron", "expected"),
    [
        ("2024-03-31", "30 2 * * *", ["03:00+0200"]),  # the hour is left out: right after it
        ("2024-03-31", "0 * * * *", ["00:00+0100", "01:00+0100", "03:00+0200", "04:00+0200"]),
        ("2024-10-27", "30 2 * * *", ["02:30+0200"]),  # the hour comes twice: once
        (
            "2024-10-27",
            "0 * * * *",
            ["00:00+0200", "01:00+0200", "02:00+0200", "02:00+0100", "03:00+0100", "04:00+0100"],
        ),
    ],
)
def test_hours_that_a_time_zone_leaves_out_or_has_twice(day: str, cron: str, expected: list[str]) -> None:
    here = Timed({"work": work})
    begin = datetime.fromisoformat(f"{day}T00:00").replace(tzinfo=BERLIN)
    here.clock.advance_to(int(begin.timestamp()) * 1_000 - MINUTE)
    here.set(cron, timezone="Europe/Berlin")
    here.go_to(int(begin.replace(hour=4, minute=30).timestamp()) * 1_000)
    found = [datetime.fromtimestamp(nominal / 1_000, BERLIN).strftime("%H:%M%z") for nominal, _ in here.fired()]
    assert found == expected


# --- overlap ------------------------------------------------------------------------------------


def test_skip_passes_over_what_comes_while_a_run_goes_on() -> None:
    here = world()
    here.set(action="hang", overlap="skip")
    here.go_to(MIDNIGHT + 3 * HOUR + MINUTE)
    (first, second, third) = hours(1, 2, 3)
    assert here.fired() == [(first, "on time")]
    why = f"run {run_of('store', 's', first)} has not ended (overlap: skip)"
    assert here.passed() == [(second, second, 1, why), (third, third, 1, why)]
    end(here, first)
    here.go_to(MIDNIGHT + 4 * HOUR + MINUTE)
    assert here.fired()[1:] == [(MIDNIGHT + 4 * HOUR, "on time")]


def test_queue_makes_them_one_after_the_other() -> None:
    here = world()
    here.set(action="hang", overlap="queue")
    here.go_to(MIDNIGHT + 3 * HOUR + MINUTE)
    (first, second, third) = hours(1, 2, 3)
    assert [nominal for nominal, _ in here.fired()] == [first]
    for ended, following in ((first, second), (second, third)):
        end(here, ended)
        here.go_to(here.clock.now() + 1)
        assert here.fired()[-1] == (following, "queued")
    assert not here.passed()


def test_a_queue_is_bounded_and_what_found_no_room_is_recorded() -> None:
    here = world()
    here.set("* * * * *", action="hang", overlap="queue")
    here.go_to(MIDNIGHT + (MAX_QUEUED + 5) * MINUTE + 1)
    assert len(here.host.partition.schedules.entries["s"].schedule.queued) == MAX_QUEUED
    assert [count for *_, count, _ in here.passed()] == [1, 1, 1]
    assert "wait already" in here.passed()[0][3]


def test_cancel_running_calls_off_what_runs_and_then_makes_the_newest() -> None:
    here = world()
    here.set(action="hang", overlap="cancel_running")
    (first, second, third) = hours(1, 2, 3)
    here.go_to(second + 5_000)
    run = run_of("store", "s", first)
    (asked,) = here.named(run_events.CancelRequested, run)
    assert (asked.by, here.status(run)) == ("schedule:s", "running")
    assert [nominal for nominal, _ in here.fired()] == [first]
    here.go_to(second + 11_000)
    assert here.status(run) == "cancelled"
    assert here.fired()[-1] == (second, "queued")
    here.go_to(third + 11_000)
    assert here.fired()[-1] == (third, "queued")


# --- what was missed ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("catch_up", "caught", "passed"),
    [
        ("none", [], [(1, 5, 5)]),
        ("last", [5], [(1, 4, 4)]),
        ("all", [1, 2, 3, 4, 5], []),
    ],
)
def test_after_downtime_catch_up_says_what_becomes_of_missed_instants(
    catch_up: str, caught: list[int], passed: list[tuple[int, int, int]]
) -> None:
    here = world()
    here.set(catch_up=catch_up, overlap="queue")
    here.virtual.step()
    here.clock.advance_to(MIDNIGHT + 5 * HOUR + 30 * MINUTE)
    after = here.crash().go_to(MIDNIGHT + 6 * HOUR + MINUTE)
    kinds = dict(after.fired())
    assert sorted(kinds) == hours(*caught, 6)
    assert kinds[MIDNIGHT + 6 * HOUR] == "on time"
    if caught:
        assert kinds[hours(caught[0])[0]] == "caught up"
    found = [(first, last, count) for first, last, count, _ in after.passed()]
    assert found == [(*hours(first, last), count) for first, last, count in passed]


def test_catching_up_is_bounded_and_says_what_it_left_out() -> None:
    here = world()
    here.set("* * * * *", catch_up="all", overlap="queue")
    here.virtual.step()
    here.clock.advance_to(MIDNIGHT + 30 * DAY + 30_000)
    after = here.crash()
    after.go_to(MIDNIGHT + 30 * DAY + 30_001)
    # The last two minutes count as on time; of what is older so many are made, and the queue has room for so many.
    assert len(after.fired()) == MAX_QUEUED + 1
    passed = [event for event in after.of() if isinstance(event, ev.SchedulePassed)]
    assert passed[0].more
    on_time = 2
    assert passed[0].count == MAX_LOOKED - MAX_CATCH_UP - on_time
    assert sum(event.count for event in passed[1:]) == MAX_CATCH_UP + on_time - len(after.fired())


def test_a_run_that_ended_while_nobody_looked_is_not_waited_for() -> None:
    here = world()
    here.set(action="hang", overlap="skip")
    here.go_to(MIDNIGHT + HOUR + MINUTE)
    after = here.crash()
    end(after, hours(1)[0])
    after.go_to(MIDNIGHT + 2 * HOUR + MINUTE)
    assert [nominal for nominal, _ in after.fired()] == hours(1, 2)


# --- the clock on the wall ----------------------------------------------------------------------


def test_a_wall_that_is_set_forward_by_an_hour_misses_what_it_jumped_over() -> None:
    here = world()
    here.set("*/15 * * * *", catch_up="last")
    here.go_to(MIDNIGHT + 20 * MINUTE)
    here.wall.ahead, here.wall.steady = HOUR, False
    here.go_to(MIDNIGHT + 21 * MINUTE)
    assert [nominal for nominal, _ in here.fired()] == [MIDNIGHT + 15 * MINUTE]
    here.wall.steady = True
    here.go_to(MIDNIGHT + 26 * MINUTE)
    quarters = [MIDNIGHT + n * 15 * MINUTE for n in (2, 3, 4, 5)]
    assert here.fired()[1:] == [(quarters[-1], "caught up")]
    assert [(first, last, count) for first, last, count, _ in here.passed()] == [(quarters[0], quarters[-2], 3)]


def test_a_wall_that_is_set_back_by_an_hour_makes_no_run_twice() -> None:
    here = world()
    here.set("*/15 * * * *")
    here.go_to(MIDNIGHT + 46 * MINUTE)
    here.wall.ahead = -HOUR
    here.go_to(MIDNIGHT + 3 * HOUR)
    nominals = [nominal for nominal, _ in here.fired()]
    assert nominals == [MIDNIGHT + n * 15 * MINUTE for n in range(1, 9)]


def test_a_wall_that_is_set_back_over_a_restart_makes_no_run_twice() -> None:
    here = world()
    here.set("*/15 * * * *")
    here.go_to(MIDNIGHT + 46 * MINUTE)
    here.wall.ahead = -HOUR
    after = here.crash().go_to(MIDNIGHT + 2 * HOUR + MINUTE)
    nominals = [nominal for nominal, _ in after.fired()]
    assert nominals == [MIDNIGHT + n * 15 * MINUTE for n in range(1, 5)]


def test_another_database_of_time_zones_is_asked_again() -> None:
    here = world()
    here.set()
    here.virtual.step()

    class Newer(CronCalendar):
        version = "2099z"

    here.more["calendar"] = Newer()
    after = here.crash().go_to(here.clock.now() + 1)
    assert [e.tzdata for e in after.of() if isinstance(e, ev.SchedulePlanned)][-1] == "2099z"


# --- nothing twice, nothing lost ----------------------------------------------------------------


@pytest.mark.parametrize("fault", [Fault.LOST, Fault.STORED, Fault.LATE])
@pytest.mark.parametrize("overlap", ["skip", "queue"])
def test_a_writer_that_dies_in_any_append_leaves_each_instant_with_one_run(fault: Fault, overlap: str) -> None:
    counted = MemoryLog("store")
    calm = world(store=Recording(counted))
    calm.set(overlap=overlap)
    calm.go_to(MIDNIGHT + 3 * HOUR + MINUTE)
    for place in range(1, counted.appends + 1):
        log = MemoryLog("store", faults={place: fault}.get)
        here = Timed({"work": work, "hang": hang}, store=Recording(log))
        try:
            here.go_to(MIDNIGHT + MINUTE)
            here.set(overlap=overlap)
            here.go_to(MIDNIGHT + 3 * HOUR + MINUTE)
        except AppendUnknown:
            now = here.clock.now()
            here = Timed({"work": work, "hang": hang}, store=Recording(log), blobs=here.blobs, wall=here.wall)
            here.clock.advance_to(now)
            here.set(overlap=overlap, key="again")
            here.go_to(MIDNIGHT + 3 * HOUR + MINUTE)
        nominals = [nominal for nominal, _ in here.fired()]
        assert nominals == hours(1, 2, 3), (place, nominals)
        for nominal in nominals:
            assert here.status(run_of("store", "s", nominal)) == "completed", place
        assert here.store.run_counts() == {"completed": 3}


def test_its_stream_is_in_the_chain_and_folds_from_a_snapshot() -> None:
    store = Recording()
    here = world(store=store)
    here.set("* * * * *")
    here.go_to(MIDNIGHT + 80 * MINUTE)
    snapshot = store.snapshot("schedule/s")
    assert snapshot is not None
    loaded = load_schedule(store, CODEC, schedule_stream("s"))
    assert loaded.snapshot is not None
    assert len(loaded.history) < len(here.of())
    here.check()
    assert verify_partition(store.evidence()).first_bad is None


# --- people -------------------------------------------------------------------------------------


def test_setting_the_same_again_changes_nothing_and_another_expression_holds_from_now_on() -> None:
    here = world()
    here.set()
    here.virtual.step()
    assert here.set(key="again") == Accepted(run="s", position=2, existing=True)
    here.go_to(MIDNIGHT + HOUR + MINUTE)
    here.set("30 * * * *", key="other")
    here.go_to(MIDNIGHT + 3 * HOUR + MINUTE)
    assert [nominal - MIDNIGHT for nominal, _ in here.fired()] == [60 * MINUTE, 90 * MINUTE, 150 * MINUTE]


def test_a_repeated_command_gets_the_first_answer() -> None:
    here = world()
    first = here.set()
    assert here.set() == first
    gone = here.remove()
    assert here.remove() == gone
    assert sum(isinstance(event, ev.ScheduleRemoved) for event in here.of()) == 1


def test_a_schedule_that_is_removed_makes_no_more_runs_and_one_that_comes_back_makes_none_twice() -> None:
    here = world()
    here.set()
    here.go_to(MIDNIGHT + HOUR + MINUTE)
    assert here.remove() == Accepted(run="s", position=5, event="ScheduleRemoved")
    here.go_to(MIDNIGHT + 3 * HOUR + MINUTE)
    assert [nominal for nominal, _ in here.fired()] == hours(1)
    here.set(key="back")
    here.go_to(MIDNIGHT + 4 * HOUR + MINUTE)
    assert [nominal for nominal, _ in here.fired()] == hours(1, 4)
    assert not here.passed()


def test_what_cannot_be_removed_or_kept_is_refused() -> None:
    here = world()
    refused = here.remove("x", key="x")
    assert isinstance(refused, Rejected)
    assert refused.message == "no schedule 'x' in this store"
    refused = here.set(inputs={"text": "x" * 40_000})
    assert isinstance(refused, Rejected)
    assert "at most 32768 are kept" in refused.message


def test_a_plan_that_is_gone_costs_the_instant_and_says_so() -> None:
    here = world()
    here.set()
    here.virtual.step()
    here.blobs = MemoryBlobStore()
    after = here.crash().go_to(MIDNIGHT + HOUR + MINUTE)
    assert not after.fired()
    assert "is not stored" in after.passed()[0][3]


def test_a_store_without_a_calendar_keeps_schedules_and_fires_nothing() -> None:
    here = world()
    here.set()
    here.virtual.step()
    here.more["calendar"] = None
    after = here.crash()
    after.set("30 * * * *", key="other")
    after.clock.advance_to(MIDNIGHT + 5 * HOUR)
    for _ in range(5):
        after.virtual.step()
    assert not after.fired()
    assert after.host.partition.schedules.entries["s"].schedule.cron == "30 * * * *"
