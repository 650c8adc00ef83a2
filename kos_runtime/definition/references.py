"""The texts of a definition: conditions and values, parsed, and every reference in them looked up."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from kos_runtime.core.expression import (
    DEFAULT_ROOTS,
    ExpressionError,
    LiteralValue,
    Reference,
    looks_cut,
    parse_expression,
    parse_template,
)
from kos_runtime.core.plan.model import Requirement
from kos_runtime.core.plan.secret import secret_name, secrets_in
from kos_runtime.definition.names import Names
from kos_runtime.definition.problems import Path
from kos_runtime.definition.shapes import Check

_WORKFLOW: Final = ("run_id", "id", "version", "name")
_CUT: Final = "it was cut by YAML: put the whole expression in quotes"


@dataclass(frozen=True, slots=True)
class Use:
    """A reference to another step's data. ``guarded``: it can do without."""

    target: str
    guarded: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """What can be seen where a text stands.

    ``names`` are the steps of its body, ``prefix`` is the path of that body (``refine/``). ``items`` says that it is
    inside a ``for_each``, ``turns`` are the steps of the loop that it is in.
    """

    names: Names
    roots: frozenset[str] = DEFAULT_ROOTS
    prefix: str = ""
    outer: "Scope | None" = None
    items: bool = False
    turns: Names | None = None

    def around(self) -> Iterator["Scope"]:
        """Go from this body outwards."""
        at: Scope | None = self
        while at is not None:
            yield at
            at = at.outer


class Texts:
    """Parses texts and checks what they refer to; what is wrong goes to ``check``."""

    def __init__(self, check: Check, inputs: Iterable[str] | None, variables: Iterable[str] | None) -> None:
        """``inputs`` and ``variables`` None: any name may be there."""
        self.check = check
        self.inputs = None if inputs is None else tuple(inputs)
        self.variables = None if variables is None else frozenset(variables)
        #: Where secrets are asked for.
        self.requires: list[tuple[Requirement, Path]] = []

    def condition(self, text: str, path: Path, scope: Scope, *, signal: bool = False) -> list[Use]:
        """Return which steps a condition reads."""
        try:
            expression = parse_expression(text, roots=scope.roots)
        except ExpressionError as error:
            self._broken(error, path, text)
            return []
        return self._uses(expression.references, path, scope, signal=signal)

    def template(self, value: Any, path: Path, scope: Scope, *, secrets: bool = False) -> list[Use]:
        """Return which steps a value reads, however deep. ``secrets``: it goes to where an action runs, and may name some."""
        try:
            template = parse_template(value, roots=scope.roots)
        except ExpressionError as error:
            self._broken(error, (*path, *error.where), error.source or "")
            return []
        for warning in template.warnings:
            self.check.warn((*path, *warning.where), "KOS212", warning.message)
        uses = []
        standing = len(secrets_in(template.node)) if secrets else 0
        for where, reference in template.places:
            if secrets and reference.root == "secrets":
                standing -= 1
                if standing < 0 or not secret_name(reference):
                    self._secret((*path, *where), reference, allowed=True)
                continue
            uses += self._uses((reference,), (*path, *where), scope)
        return uses

    def _secret(self, path: Path, reference: Reference, *, allowed: bool) -> None:
        message = (
            "$secrets is known only in the inputs of an action"
            if not allowed
            else f"nothing is computed from {reference}"
        )
        hint = (
            "write it alone, $secrets.NAME, or in a text, ${{ $secrets.NAME }}"
            if allowed
            else "it is resolved where the action runs"
        )
        self.check.fail(path, "KOS207", message, hint, offset=self._offset(path, reference.position))

    def reads(self, value: Any, root: str, scope: Scope) -> bool:
        """Say whether a value refers to a root; no for one that is broken, which ``template`` tells."""
        try:
            return any(reference.root == root for reference in parse_template(value, roots=scope.roots).references)
        except ExpressionError:
            return False

    def literal(self, value: Any, path: Path) -> Any:
        """Return a value that stands for itself; None when it refers to something, or is broken."""
        try:
            template = parse_template(value)
        except ExpressionError as error:
            self._broken(error, (*path, *error.where), error.source or "")
            return value
        return template.node.value if isinstance(template.node, LiteralValue) else None

    def _broken(self, error: ExpressionError, path: Path, text: str) -> None:
        hint = _CUT if looks_cut(text) else ""
        self.check.fail(path, "KOS202", error.message, hint, offset=self._offset(path, error.position))

    def _offset(self, path: Path, position: int | None) -> int:
        """Return how far a position in a text is from where its value begins in the file, 0 when that is not one line."""
        source = self.check.source
        mark = source.values.get(path)
        if mark is None or not position or mark.line >= len(source.lines):
            return 0
        line = source.lines[mark.line]
        begins = line[mark.column : mark.column + 1]
        if begins in {"|", ">"}:
            return 0
        return position + (1 if begins in {"'", '"'} else 0)

    def _uses(self, references: Iterable[Reference], path: Path, scope: Scope, *, signal: bool = False) -> list[Use]:
        uses = []
        for reference in references:
            offset = self._offset(path, reference.position)
            problem = self._misplaced(reference, scope, signal=signal)
            if problem is not None:
                self.check.fail(path, *problem, offset=offset)
            elif reference.root == "secrets":
                self._secret(path, reference, allowed=False)
            elif reference.root == "steps":
                use = self._step(reference, path, scope, offset)
                uses += [] if use is None else [use]
        return uses

    def _step(self, reference: Reference, path: Path, scope: Scope, offset: int) -> Use | None:
        if not reference.path or not isinstance(reference.path[0], str):
            self.check.fail(path, "KOS203", "$steps is followed by a step's id", offset=offset)
            return None
        target = reference.path[0]
        found = next((at.names for at in scope.around() if at.names.holder(target) is not None), None)
        if found is None:
            hint = self.check.hint(target, (name for at in scope.around() for name in at.names))
            self.check.fail(path, "KOS201", f"no step {target!r} can be seen from here", hint, offset=offset)
            return None
        problem = found.misnamed(target, reference.path[1:])
        if problem is not None:
            self.check.fail(path, "KOS204", *problem, offset=offset)
        return Use(target, guarded=reference.guarded)

    def _misplaced(self, reference: Reference, scope: Scope, *, signal: bool) -> tuple[str, str, str] | None:
        """Return code, message and hint when a root is not known here, or leads to no such name."""
        first = reference.path[0] if reference.path else None
        match reference.root:
            case "inputs" if self.inputs is not None and isinstance(first, str):
                return self._missing("input", first, self.inputs, "is declared")
            case "vars" if self.variables is not None and isinstance(first, str):
                return self._missing("variable", first, sorted(self.variables), "is declared or set")
            case "workflow" if isinstance(first, str):
                return self._missing("name", first, _WORKFLOW, "is there below $workflow")
            case "item" | "index" if not scope.items:
                return "KOS207", f"${reference.root} is known only inside a for_each", ""
            case "loop" if scope.turns is None:
                return "KOS207", "$loop is known only inside a loop", ""
            case "loop" if isinstance(first, str) and first not in {"index", "previous"}:
                return self._missing("name", first, ("index", "previous"), "is there below $loop")
            case "loop" if first == "previous" and len(reference.path) > 1 and isinstance(reference.path[1], str):
                return self._previous(scope.turns, reference)
            case "signal" if not signal:
                return "KOS207", "$signal is known only in the match of a wait_for", ""
            case _:
                return None

    def _previous(self, turns: Names | None, reference: Reference) -> tuple[str, str, str] | None:
        assert turns is not None
        step = str(reference.path[1])
        if step not in turns:
            hint = self.check.hint(step, turns, f"its steps are {', '.join([*turns][:24])}")
            return "KOS201", f"the loop has no step {step!r}", hint
        problem = turns.misnamed(step, reference.path[2:])
        return None if problem is None else ("KOS204", *problem)

    def _missing(self, what: str, name: str, known: Iterable[str], is_there: str) -> tuple[str, str, str] | None:
        choices = tuple(known)
        if name in choices:
            return None
        hint = self.check.hint(name, choices, f"there are {', '.join(choices[:24]) or 'none'}")
        return "KOS205", f"no {what} {name!r} {is_there}", hint
