"""``kos replay`` and ``diff``: a run's state folded again, and two runs side by side. Nothing is carried out."""

from typing import Annotated, Any

from kos_runtime.cli.common import Common, Named, flag, span
from kos_runtime.cli.describe import describe
from kos_runtime.cli.outcome import FAILED, OK
from kos_runtime.cli.visible import visible


def replay(
    run: Annotated[str, Named] = "@latest",
    /,
    *,
    at: int | None = None,
    check: Annotated[bool, flag("--check")] = False,
    common: Common | None = None,
) -> int:
    """Fold a run's state from its log again; nothing of it is carried out.

    Args:
        run: A run id, unique prefix, name, @latest or @failed; - reads it from standard input.
        at: Stop after this event (seq).
        check: Compare the stored snapshot with what the log says, and say the first difference.
    """
    from kos_runtime.client import folding
    from kos_runtime.core.workflow.waiting import waits_for

    common = common or Common()
    reading = common.reading()
    row = common.rows(reading, [run])[0]
    state = folding.folded(reading, row.run, at)
    snapshot = folding.snapshot_of(reading, row.run)
    difference = folding.compared(reading, row.run) if check else ""
    statuses: dict[str, int] = {}
    for step in state.steps.values():
        statuses[str(step.status)] = statuses.get(str(step.status), 0) + 1
    told = {
        "run": row.run,
        "seq": state.position,
        "status": str(state.status),
        "steps": statuses,
        "waits_for": waits_for(state),
        "digest": folding.digest(reading, state),
        "snapshot": snapshot.position if snapshot is not None else None,
        "difference": difference,
    }
    if common.is_data:
        common.emit([told], {}, one=True)
    else:
        print(visible(_words(told, check)))
    return FAILED if difference else OK


def _words(told: dict[str, Any], check: bool) -> str:
    counts = ", ".join(f"{count} {status}" for status, count in told["steps"].items()) or "none yet"
    lines = [
        f"run {told['run']} after seq {told['seq']}: {told['status']}",
        f"steps   {counts}",
        f"state   sha256 {told['digest']}",
    ]
    if told["waits_for"]:
        lines.append(f"waits   {', '.join(told['waits_for'][:8])}" + (" …" if len(told["waits_for"]) > 8 else ""))
    if check and told["difference"]:
        lines.append(f"✘ {told['difference']}")
    elif check:
        kept = (
            f"the snapshot at seq {told['snapshot']} is" if told["snapshot"] else "there is no snapshot; the log folds"
        )
        lines.append(f"✔ {kept} what the log says" if told["snapshot"] else f"✔ {kept}")
    return "\n".join(lines)


def diff(
    left: Annotated[str, Named],
    right: Annotated[str, Named],
    /,
    *,
    common: Common | None = None,
) -> int:
    """Compare two runs, or one at two times: inputs, steps, and the first event in which they part.

    Args:
        left: A run id, unique prefix, name, @latest or @failed; RUN@SEQ is the run as it was after that event.
        right: The same.
    """
    from kos_runtime.client import differing

    common = common or Common()
    reading = common.reading()
    one, other = differing.side(reading, left), differing.side(reading, right)
    given = [{"name": n, "left": a, "right": b, "same": a == b} for n, a, b in differing.inputs(reading, one, other)]
    pairs = list(differing.steps(one, other))
    part = differing.parting(reading, one, other)
    same = part is None
    if common.is_data:
        event = None if part is None else {"left": _event(part.left), "right": _event(part.right)}
        rows = [
            {
                "step": pair.step, "left": pair.status[0], "right": pair.status[1], "left_ms": pair.duration[0],
                "right_ms": pair.duration[1], "left_output": pair.output[0], "right_output": pair.output[1],
                "same": pair.same,
            }
            for pair in pairs
        ]  # fmt: skip
        told = {
            "left": one.label,
            "right": other.label,
            "same": same,
            "inputs": given,
            "steps": rows,
            "parts_at": event,
        }
        common.emit([told], {}, one=True, name="left")
        return OK
    print(visible(f"{one.label}  {one.view.status}   {other.label}  {other.view.status}"))
    for value in given:
        if not value["same"]:
            print(visible(f"input {value['name']}: {value['left']!r:.60}   {value['right']!r:.60}"))
    rows = [
        {
            "step": ("  " if pair.same else "≠ ") + pair.step, "left": _side(pair, 0), "right": _side(pair, 1),
            "output": "" if pair.output[0] == pair.output[1] else _outputs(pair),
        }
        for pair in pairs
    ]  # fmt: skip
    common.emit(rows, {"step": "  STEP", "left": "LEFT", "right": "RIGHT", "output": "OUTPUTS"})
    if part is None:
        print("no event differs, apart from moments and hands")
        return OK
    print("they part at")
    for label, line in ((one.label, part.left), (other.label, part.right)):
        print(visible(f"  {label}: " + ("nothing more" if line is None else describe(line))))
    return OK


def _event(line: Any) -> dict[str, Any] | None:
    return None if line is None else {"seq": line.seq, "type": line.type, "data": line.data}


def _side(pair: Any, which: int) -> str:
    spent = pair.duration[which]
    return f"{pair.status[which] or '-'}" + ("" if spent is None else f" {span(spent)}")


def _outputs(pair: Any) -> str:
    one, other = pair.output
    if one is None or other is None:
        return "only " + ("right" if one is None else "left")
    names = [name for name in {**one, **other} if one.get(name) != other.get(name)]
    return ", ".join(names) + " differ" if len(names) > 1 else f"{names[0]} differs"
