"""Files under fire: what is mutated, cut and grown of real definitions either loads or is refused with its places.

``run`` is pure chance under a seed: the same files again for the same seed. Three sources take turns: bytes of a real
file changed, lines of real files moved about, and text grown from a grammar of the language's own words. Whatever
loads is compiled, and its canonical form must load to the same plan.
"""

import random
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from kos_runtime.core.plan.check import faults
from kos_runtime.definition import (
    DefinitionError,
    EngineSettings,
    TemplatesDocument,
    WorkflowDocument,
    check,
    compile_workflow,
    load,
    render,
)
from kos_runtime.definition.canonical import format_document

EXAMPLES: Final = Path(__file__).parents[2] / "examples"
#: Nothing takes longer than this. Seconds of processor time, so that a busy machine is no failure.
SLOWEST_S: Final = 2.0
_BYTES: Final = b"\x00\t\r\n !\"#$%&'*,-:<>?@[]{}|~\xff\xc3\xe2\x80\xa8" + bytes(range(48, 58)) + b"aeinost"
_KEYS: Final = (
    "id", "agent", "action", "steps", "inputs", "outputs", "when", "depends_on", "decision", "condition", "true_path",
    "default_path", "loop", "body", "max_iterations", "for_each", "in", "as", "parallel_group", "sync", "set", "emit",
    "fail", "wait", "for", "wait_for", "signal", "approval", "prompt", "template", "use", "coordination", "pattern",
    "error_handling", "step", "on_failure", "fallback", "retry", "timeout", "parallel", "loop_body", "loop_condition",
    "decision_points", "synchronization_points", "parallel_groups", "dependencies", "conditions", "workflow", "<<", "agnet",
)  # fmt: skip
_VALUES: Final = (
    "a", "b", "loop", "$steps.a.out", "$steps.b.last.a.x", "$inputs.topic", "$item", "$loop.index", "$nope.x", "${{ 1 + }}",
    "${{ len($steps.a.items) }}", "true", "null", "1", "-1", "1e999", ".nan", "99999999999999999999", "010", "yes", "5m",
    "512MiB", "retry", "all", "quorum", "*x", "&x y", "!t z", "'q", '"r"', "|", "> 1", "[a, b]", "{count: 1}", "{a: *x}",
    "len($steps.a.x) > 1 and", "contains($inputs.a, 'b')", "é", "\u2028", "\ufeff", "- - -", "? [a]", "# c", "*", "a/*", "[!a]*",
)  # fmt: skip


def run(cases: int, seed: int) -> dict[str, Any]:
    """Try so many files.

    Returns:
        ``cases``, ``loaded``, ``compiled`` and ``refused``, ``problems`` (places told), ``slowest_s``; ``tracebacks``
        and ``slow``, both 0 when all is well, and of those at most twenty as ``failures`` of ``{case, source, what}``.
    """
    chance = random.Random(seed)
    files = [path.read_bytes() for path in sorted(EXAMPLES.glob("*.yaml"))]
    found: dict[str, Any] = {
        "cases": cases, "seed": seed, "loaded": 0, "compiled": 0, "refused": 0, "problems": 0, "slowest_s": 0.0,
        "tracebacks": 0, "slow": 0, "failures": [],
    }  # fmt: skip
    sources: list[Callable[[], bytes]] = [
        lambda: _changed(chance, chance.choice(files)),
        lambda: _moved(chance, files),
        lambda: _grown(chance),
    ]
    for case in range(cases):
        text = sources[case % len(sources)]()
        begin = time.process_time()
        try:
            _one(text, found)
        except Exception:
            found["tracebacks"] += 1
            _fail(found, case, text, traceback.format_exc(limit=-4))
        took = time.process_time() - begin
        found["slowest_s"] = max(found["slowest_s"], round(took, 3))
        if took > SLOWEST_S:
            found["slow"] += 1
            _fail(found, case, text, f"took {took:.2f} s")
    return found


def _fail(found: dict[str, Any], case: int, text: bytes, what: str) -> None:
    if len(found["failures"]) < 20:
        found["failures"].append({"case": case, "source": text[:4_000].decode("utf-8", "replace"), "what": what})


def _one(text: bytes, found: dict[str, Any]) -> None:
    try:
        document = load(text, "fuzz.yaml")
    except DefinitionError as error:
        found["refused"] += 1
        _places(error, text, found)
        return
    found["loaded"] += 1
    check(document)
    match document:
        case WorkflowDocument():
            _compiled(document, text, found)
        case TemplatesDocument():
            for name in document.content:
                _compiled(document.workflow(name), text, found, canonical=False)
        case _:
            EngineSettings.from_document(document.content, "fuzz.yaml")
            assert load(format_document(document), "again.yaml").content == document.content


def _compiled(document: WorkflowDocument, text: bytes, found: dict[str, Any], *, canonical: bool = True) -> None:
    try:
        plan, _ = compile_workflow(document)
    except DefinitionError as error:
        _places(error, text, found)
        return
    found["compiled"] += 1
    assert faults(plan) == (), faults(plan)
    if canonical:
        again = load(format_document(document), "again.yaml")
        assert isinstance(again, WorkflowDocument)
        assert compile_workflow(again)[0] == plan, "the canonical form is another plan"


def _places(error: DefinitionError, text: bytes, found: dict[str, Any]) -> None:
    """Every problem has a place inside the file, a code and words, and can be shown."""
    lines = text.count(b"\n") + text.count(b"\r") + 1
    assert error.problems
    for problem in error.problems:
        assert 1 <= problem.line <= lines, problem
        assert problem.column >= 1, problem
        assert problem.code.startswith("KOS"), problem
        assert problem.message, problem
        assert render(problem).startswith(f"fuzz.yaml:{problem.line}:{problem.column}: error[")
    found["problems"] += len(error.problems)


def _changed(chance: random.Random, text: bytes) -> bytes:
    """Return a file with a few bytes changed, doubled, taken out or put in."""
    data = bytearray(text)
    for _ in range(chance.randint(1, 3)):
        at = chance.randrange(len(data))
        match chance.randrange(5):
            case 0:
                data[at] = chance.choice(_BYTES)
            case 1:
                del data[at : at + chance.randint(1, 30)]
            case 2:
                data[at:at] = bytes([chance.choice(_BYTES)]) * chance.randint(1, 3)
            case 3:
                data[at:at] = data[at : at + chance.randint(1, 200)]
            case _:
                data[at:at] = chance.choice(_VALUES).encode()
    return bytes(data)


def _moved(chance: random.Random, files: list[bytes]) -> bytes:
    """Return a file with lines moved, doubled, indented, or taken from another."""
    lines = chance.choice(files).split(b"\n")
    for _ in range(chance.randint(1, 5)):
        at, other = chance.randrange(len(lines)), chance.choice(files).split(b"\n")
        match chance.randrange(5):
            case 0:
                lines.insert(at, chance.choice(other))
            case 1:
                lines[at] = b"  " * chance.randint(0, 3) + lines[at].lstrip()
            case 2:
                lines.pop(at)
                lines = lines or [b""]
            case 3:
                lines.insert(at, lines[chance.randrange(len(lines))])
            case _:
                word = chance.choice(_KEYS).encode()
                lines[at] = (
                    lines[at].partition(b":")[0] + b": " + chance.choice((word, chance.choice(_VALUES).encode()))
                )
    return b"\n".join(lines)


def _grown(chance: random.Random) -> bytes:
    """Return a file grown from the language's own words."""
    lines = ["workflow:", "  id: w"] if chance.random() < 0.8 else []
    _grow(chance, lines, "  " if lines else "", chance.randint(1, 4))
    if chance.random() < 0.7:
        lines += ["  steps:"]
        for name in ("a", "b", "c")[: chance.randint(1, 3)]:
            lines.append(f"    - id: {name}")
            lines.extend(["      agent: k", "      action: x"] if chance.random() < 0.7 else [])
            _grow(chance, lines, "      ", 2)
    return "\n".join(lines).encode("utf-8", "surrogatepass")


def _grow(chance: random.Random, lines: list[str], indent: str, depth: int) -> None:
    for _ in range(chance.randint(0, 3)):
        key = chance.choice(_KEYS)
        match chance.randrange(4) if depth else 0:
            case 0 | 1:
                lines.append(f"{indent}{key}: {chance.choice(_VALUES)}")
            case 2:
                lines.append(f"{indent}{key}:")
                _grow(chance, lines, indent + "  ", depth - 1)
            case _:
                lines.append(f"{indent}{key}:")
                for _ in range(chance.randint(1, 3)):
                    lines.append(f"{indent}  - {chance.choice(_KEYS)}: {chance.choice(_VALUES)}")
                    _grow(chance, lines, indent + "    ", depth - 1)
