"""The lanes of the proof: how much of each is a full count, and what must be true of what they return."""

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

Found = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Lane:
    """``full`` is the full count of the proof; ``module`` has the ``run`` that is called with it and a seed."""

    name: str
    module: str
    full: int
    title: str
    call: Callable[[Any, int, int, float], Found]
    problems: Callable[[Found, float], list[str]]
    words: Callable[[Found], str]

    def run(self, share: float, seed: int) -> Found:
        count = max(1, round(self.full * share))
        return self.call(importlib.import_module(self.module), count, seed, share)

    def judge(self, found: Found, share: float) -> list[str]:
        return self.problems(found, share)

    def say(self, found: Found) -> str:
        return self.words(found)


def _zero(*keys: str) -> Callable[[Found, float], list[str]]:
    """Say that these counts must be there and zero."""

    def judge(found: Found, share: float) -> list[str]:
        del share
        return [f"{key} is {found.get(key)!r}, not 0" for key in keys if found.get(key) != 0]

    return judge


def _kills(found: Found, share: float) -> list[str]:
    problems = [str(sentence) for sentence in found["violations"]]
    wanted = round(KILLS * share)
    if found["kills"] < wanted:
        problems.append(f"{found['kills']} processes were killed, {wanted} were to be")
    problems += [f"the failpoint {name} was never hit" for name in found["never_hit"]]
    return problems


def _tamper(found: Found, share: float) -> list[str]:
    del share
    wanted = found["flips"] + found["edits"]
    problems = []
    if found["detected"] != wanted:
        problems.append(f"{wanted - found['detected']} of {wanted} changes were not found")
    if found["exact_first_bad"] != wanted:
        problems.append(f"{wanted - found['exact_first_bad']} of {wanted} were not named exactly")
    return problems


def _power(module: Any, count: int, seed: int, share: float) -> Found:
    del share
    full = module.run(count, seed, synchronous="FULL")
    canary = module.run(max(20, count // 10), seed, synchronous="NORMAL")
    return {**full, "canary_lost": canary["lost"], "canary_images": canary["images"]}


def _power_problems(found: Found, share: float) -> list[str]:
    problems = _zero("lost", "corrupt")(found, share)
    if not found["canary_lost"]:
        problems.append("synchronous=NORMAL lost nothing: the simulator of power losses sees nothing")
    return problems


def _plain(module: Any, count: int, seed: int, share: float) -> Found:
    del share
    return dict(module.run(count, seed))


def _shared(module: Any, count: int, seed: int, share: float) -> Found:
    return dict(module.run(count, seed, share))


def _violations(found: Found, share: float) -> list[str]:
    del share
    return [str(sentence) for sentence in found["violations"]]


def _own(name: str, module: str, full: int, title: str) -> Lane:
    """Return a lane whose module says by itself what is wrong (``problems``) and what was found (``words``)."""
    return Lane(
        name, module, full, title, _shared,
        lambda f, share: [str(problem) for problem in importlib.import_module(module).problems(f, share)],
        lambda f: str(importlib.import_module(module).words(f)),
    )  # fmt: skip


def _checked(name: str, full: int, title: str) -> Lane:
    """Return a lane whose ``violations`` must be none."""
    module = f"tests.proof.{name}"
    return Lane(
        name, module, full, title, _shared, _violations, lambda f: str(importlib.import_module(module).words(f))
    )


def _ray_kills(found: Found, share: float) -> list[str]:
    problems = [str(sentence) for sentence in found["violations"]]
    problems += [f"nobody came to {place}" for place in found["never_hit"]]
    if share >= 1 and found["places"] < found["named"]:
        problems.append(f"processes died at {found['places']} of {found['named']} places")
    return problems


KILLS: Final = 300
#: A trial on Ray takes some four seconds: a full count goes to every place once, a push to a fifth of them.
RAY_TRIALS: Final = 42
LANES: Final = (
    Lane(
        "kills", "tests.proof.kills", KILLS, "kill -9 at named failpoints, plain processes", _plain, _kills,
        lambda f: f"{f['kills']} kills at {f['failpoints']} of {f['named']} failpoints, {len(f['violations'])} violations",
    ),
    Lane(
        "ray-kills", "tests.proof.ray_kills", RAY_TRIALS, "kill -9 at named failpoints, actors on a local Ray", _plain, _ray_kills,
        lambda f: f"{f['kills']} kills in {f['trials']} runs at {f['places']} of {f['named']} failpoints, {len(f['violations'])} violations",
    ),
    Lane(
        "tamper", "tests.proof.tamper", 1_000, "every single-bit flip, and structural edits of the log",
        lambda m, n, s, share: dict(m.run(n, round(10_000 * share), s, share)), _tamper,
        lambda f: f"{f['flips']} bit flips and {f['edits']} edits, {f['detected']} found, {f['exact_first_bad']} named exactly",
    ),
    Lane(
        "power-loss", "tests.proof.power_loss", 3_000, "power-loss images of the store", _power, _power_problems,
        lambda f: f"{f['images']} images, {f['lost']} lost, {f['corrupt']} corrupt; canary lost in {f['canary_lost']} of {f['canary_images']}",
    ),
    Lane(
        "io-errors", "tests.proof.io_errors", 100, "an error at every call of the store to its file system",
        lambda m, n, s, share: dict(m.run(share=min(1.0, share), seed=s)), _zero("wrong"),
        lambda f: f"{f['positions']} positions, {f['wrong']} wrong",
    ),
    _own("simulation", "tests.proof.simulation", 10_000, "whole-engine runs in simulated worlds"),
    _own("schedules", "tests.proof.schedules", 50_000, "schedules of consensus and of the other protocols"),
    _checked("models", 1, "every state of small protocols"),
    _checked("graphs", 100_000, "authority against a plain model of it"),
    _checked("rules", 20_000, "elections by every rule"),
    _checked("conflicts", 500, "replicas, and what becomes of their conflicts"),
    _checked("loads", 100, "balanced load"),
    _checked("histories", 2_000, "compare-and-append, by its histories"),
    _own("mutants", "tests.proof.mutants", 1, "planted bugs, each a line of shipped code"),
    Lane(
        "expressions", "tests.proof.expressions", 200_000, "expressions, and against Google's CEL", _plain,
        _zero("mismatches", "errors"),
        lambda f: f"{f['random_cases']} random, {f['differential_cases']} against CEL, {f['mismatches']} mismatches",
    ),
    Lane(
        "yaml", "tests.proof.yaml_fuzz", 20_000, "hostile and mutated definitions", _plain, _zero("tracebacks", "slow"),
        lambda f: f"{f['cases']} files, {f['tracebacks']} tracebacks, {f['slow']} too slow",
    ),
    Lane(
        "outputs", "tests.proof.outputs_fuzz", 100_000, "what agents return", _plain, _zero("escaped", "accepted_wrongly", "refused_wrongly"),
        lambda f: f"{f['cases']} results, {f['escaped']} exceptions escaped, {f['accepted_wrongly']} accepted wrongly",
    ),
)  # fmt: skip
