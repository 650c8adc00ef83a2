"""Expressions: read once, computed as often as needed."""

from dataclasses import dataclass, field

from kos_runtime.core.expression.compile import Compute, Environment, compile_tree
from kos_runtime.core.expression.errors import ExpressionError
from kos_runtime.core.expression.meter import BUDGET, Meter
from kos_runtime.core.expression.parser import Parser
from kos_runtime.core.expression.syntax import DEFAULT_ROOTS, Reference, Syntax
from kos_runtime.core.expression.values import Value, checked_number


@dataclass(frozen=True, slots=True)
class Expression:
    """A parsed expression, ready to be computed any number of times.

    ``source`` is the text that positions count in, ``text`` the expression itself; they differ when it stands inside a
    longer string. ``references`` are all that it may read, in the order of the text.
    """

    source: str
    text: str
    tree: Syntax
    references: tuple[Reference, ...]
    compute: Compute = field(repr=False, compare=False)

    def evaluate(self, env: Environment, *, budget: int = BUDGET) -> Value:
        """Compute the value.

        Args:
            env: Where references lead to.
            budget: What it may cost: one for each node computed, element touched and ten characters touched.

        Raises:
            EvaluationError: It cannot be computed, or costs more. ``position`` and ``source`` say where.
            NeedsData: As the environment raised it.
        """
        return self.charge(env, Meter(budget))

    def charge(self, env: Environment, meter: Meter) -> Value:
        """Compute the value at the cost of a meter that several expressions share."""
        try:
            value = self.compute(env, meter)
            if type(value) is float:
                checked_number(value, self.tree.position)
        except ExpressionError as error:
            if error.source is None:
                error.source = self.source
            raise
        return value


def parse_expression(text: str, roots: frozenset[str] = DEFAULT_ROOTS) -> Expression:
    """Read an expression that stands alone, such as a condition.

    Args:
        text: At most 4,096 characters.
        roots: What references may begin with; add the ``as`` names of the loops around to ``DEFAULT_ROOTS``.

    Raises:
        ExpressionSyntaxError: It is no expression, or too long, too deep or too large.
    """
    if not isinstance(text, str):
        raise TypeError("an expression is a text")
    return _finished(Parser(text, roots), 0)[0]


def parse_embedded(source: str, start: int, roots: frozenset[str]) -> tuple[Expression, int]:
    """Read an expression that stands in ``source`` from ``start`` up to ``}}``.

    Returns:
        The expression, and the offset behind the closing braces.
    """
    expression, end = _finished(Parser(source, roots, start, embedded=True), start)
    return expression, end + 2


def _finished(parser: Parser, start: int) -> tuple[Expression, int]:
    tree = parser.parse()
    source, end = parser.source, parser.end
    compute = compile_tree(tree, source)
    return Expression(source, source[start:end].strip(), tree, tuple(parser.references), compute), end
