"""Scenarios: what is simulated how often under which faults; from a file, and made smaller where it fails."""

import shlex
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random
from typing import Any, Final

from kos_runtime.composition.simulating import Definition, Workshop
from kos_runtime.core.errors import InvalidDefinition, NotFound
from kos_runtime.core.nearest import nearest
from kos_runtime.definition.text import read
from kos_runtime.simulator.faults import Faults
from kos_runtime.simulator.people import Answers
from kos_runtime.testing.simulation import Result, simulate

#: Of one command.
MAX_RUNS: Final = 1_000_000
MAX_AT_ONCE: Final = 1_000
MAX_PARTITIONS: Final = 16
#: A failing case is made smaller by at most so many further runs.
MAX_SHRINKING: Final = 200
_STATUSES: Final = ("completed", "failed", "cancelled", "waiting")
_KEYS: Final = ("workflow", "inputs", "seed", "runs", "at_once", "partitions", "faults", "people", "expect")
#: Stands for faults that are drawn anew for each seed.
DRAWN: Final = "drawn"


@dataclass(frozen=True, slots=True)
class Scenario:
    """``faults`` None: drawn anew for each seed. ``expect``: the statuses in which a run may end; empty for any."""

    workflow: str
    inputs: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 1
    runs: int = 1
    at_once: int = 1
    partitions: int = 1
    faults: Faults | None = field(default_factory=Faults)
    answers: Answers = field(default_factory=Answers)
    expect: tuple[str, ...] = ()

    def faults_of(self, seed: int) -> Faults:
        return self.faults if self.faults is not None else Faults.drawn(Random(f"{seed}/faults"))  # noqa: S311 - to be repeated

    def command(self, seed: int, faults: Faults) -> str:
        """Return the line that repeats one world."""
        words = ["kos", "simulate", self.workflow, "--seed", str(seed)]
        for text in faults.texts():
            words += ["--fault", text]
        if self.at_once > 1:
            words += ["--at-once", str(self.at_once)]
        if self.partitions > 1:
            words += ["--partitions", str(self.partitions)]
        return shlex.join(words)


def checked(scenario: Scenario) -> Scenario:
    """Return a scenario whose numbers are within their bounds.

    Raises:
        InvalidDefinition: One is not.
    """
    for name, value, most in (
        ("runs", scenario.runs, MAX_RUNS),
        ("at_once", scenario.at_once, MAX_AT_ONCE),
        ("partitions", scenario.partitions, MAX_PARTITIONS),
    ):
        if not 1 <= value <= most:
            raise InvalidDefinition(f"{name} is {value}; it is 1 to {most}")
    if scenario.seed < 0:
        raise InvalidDefinition(f"seed is {scenario.seed}; it is 0 or more")
    return scenario


def is_scenario(text: bytes, name: str) -> bool:
    """Say whether a file holds a scenario; what cannot be read holds none."""
    try:
        data = read(text, name).data
    except InvalidDefinition:
        return False
    return isinstance(data, dict) and "scenario" in data


def read_scenario(path: Path) -> Scenario:
    """Read a scenario's file. The workflow stands beside it, unless its path is absolute.

    Raises:
        NotFound: The file is not there.
        InvalidDefinition: It says something that no scenario can; the first that is wrong is told.
    """
    try:
        text = path.read_bytes()
    except OSError as error:
        raise NotFound(f"{path}: {error.strerror}") from error
    data = read(text, str(path)).data
    said = data.get("scenario") if isinstance(data, dict) else None
    if not isinstance(said, dict):
        raise InvalidDefinition(f"{path} holds no scenario: it must begin with scenario:")
    for key in said:
        if key not in _KEYS:
            near = nearest(key, _KEYS)
            hint = f"did you mean {near!r}?" if near else f"there are {', '.join(_KEYS)}"
            raise InvalidDefinition(f"{path}: unknown key {key!r} in scenario; {hint}")
    workflow = said.get("workflow")
    if not isinstance(workflow, str) or not workflow:
        raise InvalidDefinition(f"{path}: a scenario names its workflow: a file")
    numbers: dict[str, Any] = {
        name: _number(path, said, name) for name in ("seed", "runs", "at_once", "partitions") if name in said
    }
    inputs = said.get("inputs", {})
    if not isinstance(inputs, dict):
        raise InvalidDefinition(f"{path}: inputs are names with values")
    faults: Faults | None = Faults()
    if said.get("faults") == DRAWN:
        faults = None
    elif "faults" in said:
        faults = faults_from(said["faults"], str(path))
    expect = said.get("expect", [])
    expect = [expect] if isinstance(expect, str) else expect
    if not isinstance(expect, list) or any(status not in _STATUSES for status in expect):
        raise InvalidDefinition(f"{path}: expect is some of {', '.join(_STATUSES)}")
    named, hash_, template = workflow.partition("#")
    beside = str(path.parent / named) + hash_ + template
    made = Scenario(beside, inputs, faults=faults, answers=_people(path, said.get("people", {})), expect=tuple(expect))
    return checked(replace(made, **numbers))


def faults_from(texts: Any, where: str) -> Faults:
    """Read faults.

    Raises:
        InvalidDefinition: There is no such fault.
    """
    texts = [texts] if isinstance(texts, str) else texts
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise InvalidDefinition(f"{where}: faults are texts, such as crash, loss=0.2 or gather:transient@1")
    try:
        return Faults.parse(texts)
    except ValueError as error:
        raise InvalidDefinition(f"{where}: {error}") from error


def _number(path: Path, said: dict[str, Any], name: str) -> int:
    if type(said[name]) is not int:
        raise InvalidDefinition(f"{path}: {name} is a whole number, not {said[name]!r:.40}")
    found: int = said[name]
    return found


def _people(path: Path, said: Any) -> Answers:
    if said == "none":
        return Answers(answer=False)
    if not isinstance(said, dict) or set(said) - {"approve", "signals"}:
        raise InvalidDefinition(f"{path}: people is none, or says approve (a share from 0 to 1) and signals")
    approve, signals = said.get("approve", 0.8), said.get("signals", {})
    if type(approve) not in {int, float} or not 0 <= approve <= 1 or not isinstance(signals, dict):
        raise InvalidDefinition(f"{path}: approve is a share from 0 to 1, signals are names with what they carry")
    return Answers(approve=float(approve), signals=signals)


# --- running


def worlds(scenario: Scenario, definition: Definition, workshop: Workshop, *, keep: bool = False) -> Iterator[Result]:
    """Run every seed of a scenario, one after the other."""
    for seed in range(scenario.seed, scenario.seed + scenario.runs):
        yield one(scenario, definition, workshop, seed, scenario.faults_of(seed), keep=keep)


def one(
    scenario: Scenario, definition: Definition, workshop: Workshop, seed: int, faults: Faults, *, keep: bool = False
) -> Result:
    """Run one seed of a scenario."""
    result = simulate(
        definition,
        seed,
        faults,
        inputs=scenario.inputs,
        runs=scenario.at_once,
        partitions=scenario.partitions,
        workshop=workshop,
        answers=scenario.answers,
        keep=keep,
        lines=True,
    )
    if scenario.expect:
        result.violations += [
            f"run {run} is {status}, expected was {' or '.join(scenario.expect)}"
            for run, status in result.statuses.items()
            if status not in scenario.expect
        ]
    return result


def shrink(
    scenario: Scenario,
    definition: Definition,
    workshop: Workshop,
    failed: Result,
    say: Callable[[str], None] = lambda _: None,
) -> tuple[Scenario, Faults, Result]:
    """Return the smallest case near a failing one that still fails: fewer faults, then fewer runs and partitions."""
    faults, best = Faults.parse([text for text in failed.faults if text != "none"]), failed
    left = MAX_SHRINKING

    def fails(smaller: Scenario, fewer: Faults) -> Result | None:
        nonlocal left
        if left <= 0:
            return None
        left -= 1
        found = one(smaller, definition, workshop, failed.seed, fewer)
        return found if found.violations else None

    smaller = True
    while smaller:
        smaller = False
        for text in faults.texts():
            fewer = faults.without(text)
            if fewer.texts() != faults.texts() and (found := fails(scenario, fewer)) is not None:
                say(f"still fails without {text}")
                faults, best, smaller = fewer, found, True
                break
        for name, value in (("at_once", scenario.at_once // 2), ("partitions", scenario.partitions // 2)):
            if value < 1:
                continue
            change: dict[str, Any] = {name: value}
            less = replace(scenario, **change)
            if (found := fails(less, faults)) is not None:
                say(f"still fails with {name} {value}")
                scenario, best, smaller = less, found, True
    return scenario, faults, best
