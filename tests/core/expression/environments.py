"""An environment for tests: plain data, counted."""

from kos_runtime.core.expression import Environment, MissingReference, NeedsData, Path, Value, follow, parse_expression


class Data(Environment):
    """Looks references up in one object of roots; ``asked`` holds each reference looked up, in order."""

    def __init__(self, **roots: Value) -> None:
        self.roots = roots
        self.asked: list[tuple[str, Path]] = []

    def lookup(self, root: str, path: Path) -> Value:
        self.asked.append((root, path))
        if root == "secrets":
            raise NeedsData((root, *path))
        if root not in self.roots:
            raise MissingReference(root, path, "there is none in this run")
        return follow(self.roots[root], path, root)


def value_of(text: str, **roots: Value) -> Value:
    return parse_expression(text).evaluate(Data(**roots))
