"""Whether a history of operations on something shared can have taken place one after the other.

After Wing and Gong, "Testing and Verifying Concurrent Objects" (JPDC 17, 1993), with Lowe's memory of what was tried
("Testing for Linearizability", 2017), as Porcupine and etcd's robustness tests do it. An operation of which nobody knows
whether it happened has no return: it may have taken place at any time behind its call, or never.
"""

from collections.abc import Callable, Hashable, Sequence
from typing import Any, Final, NamedTuple

#: The return of an operation that nobody heard the end of.
NEVER: Final = 1 << 62


class Operation(NamedTuple):
    """``result`` is None where nobody knows it."""

    call: int
    back: int
    client: int
    what: Any
    result: Any


#: What an operation makes of a state, if its result is one that the state allows: the next state, else None.
Step = Callable[[Any, Operation], Hashable | None]


def contradiction(history: Sequence[Operation], first: Hashable, step: Step) -> str:
    """Return which operation no order of all explains, or nothing."""
    ops = sorted(history, key=lambda op: (op.call, op.back))
    wanted = sum(1 << place for place, op in enumerate(ops) if op.back != NEVER)
    tried: set[tuple[int, Hashable]] = set()
    furthest = 0
    stack: list[tuple[int, Hashable]] = [(0, first)]
    while stack:
        done, state = stack.pop()
        if done & wanted == wanted:
            return ""
        if (done, state) in tried:
            continue
        tried.add((done, state))
        furthest = max(furthest, done & wanted, key=int.bit_count)
        # Nothing may come before what had returned when it was called.
        earliest = NEVER
        place = _first_open(done)
        while place < len(ops) and ops[place].call <= earliest:
            if not done >> place & 1:
                earliest = min(earliest, ops[place].back)
                following = step(state, ops[place])
                if following is not None:
                    stack.append((done | 1 << place, following))
            place += 1
    left = next(op for place, op in enumerate(ops) if not furthest >> place & 1 and op.back != NEVER)
    return f"no order explains {left.what} of client {left.client} at {left.call}, which gave {left.result}"


def _first_open(done: int) -> int:
    """Return the place of the first operation that is not done."""
    return (~done & (done + 1)).bit_length() - 1
