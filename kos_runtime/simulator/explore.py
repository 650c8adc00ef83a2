"""Every state that a small protocol can reach, one after the other."""

from collections import deque
from collections.abc import Callable, Hashable, Iterable
from typing import Generic, NamedTuple, TypeVar

S = TypeVar("S", bound=Hashable)


class Explored(NamedTuple, Generic[S]):
    """What a search found: how many states there are, or the first that is wrong with the way that led there."""

    states: int
    problem: str = ""
    #: The states from the beginning to the one that is wrong.
    path: tuple[S, ...] = ()


def explore(
    first: S, successors: Callable[[S], Iterable[S]], problem: Callable[[S], str], *, most: int = 1_000_000
) -> Explored[S]:
    """Search breadth first, so that what is found is the shortest way.

    Raises:
        OverflowError: There are more than ``most`` states; nothing is known then.
    """
    before: dict[S, S | None] = {first: None}
    todo = deque([first])
    while todo:
        state = todo.popleft()
        found = problem(state)
        if found:
            path, at = [], state
            while True:
                path.append(at)
                earlier = before[at]
                if earlier is None:
                    return Explored(len(before), found, tuple(reversed(path)))
                at = earlier
        for following in successors(state):
            if following not in before:
                if len(before) >= most:
                    raise OverflowError(f"more than {most} states")
                before[following] = state
                todo.append(following)
    return Explored(len(before))
