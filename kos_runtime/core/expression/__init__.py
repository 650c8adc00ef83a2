"""The bounded expressions of the workflow language: conditions, and values that refer to others or are computed.

No clock, no chance, no attributes of Python objects, no regular expressions; bounded in length, depth, size of numbers
and texts, and work. ``docs/expressions.md`` is the language; this room is its only implementation.
"""

from kos_runtime.core.expression.compile import Environment
from kos_runtime.core.expression.errors import (
    EvaluationError,
    ExpressionError,
    ExpressionSyntaxError,
    MissingReference,
    NeedsData,
    Path,
)
from kos_runtime.core.expression.evaluate import Expression, parse_expression
from kos_runtime.core.expression.functions import FUNCTIONS
from kos_runtime.core.expression.lexer import MAX_LENGTH, looks_cut
from kos_runtime.core.expression.meter import BUDGET
from kos_runtime.core.expression.parser import MAX_DEPTH, MAX_NODES
from kos_runtime.core.expression.reference import parse_reference
from kos_runtime.core.expression.syntax import DEFAULT_ROOTS, Reference
from kos_runtime.core.expression.template import (
    ComputedValue,
    ListValue,
    LiteralValue,
    MapValue,
    ReferenceValue,
    Template,
    TemplateNode,
    TemplateWarning,
    TextValue,
    evaluate_template,
)
from kos_runtime.core.expression.template_reader import parse_template
from kos_runtime.core.expression.values import Value, follow

__all__ = [
    "BUDGET",
    "DEFAULT_ROOTS",
    "FUNCTIONS",
    "MAX_DEPTH",
    "MAX_LENGTH",
    "MAX_NODES",
    "ComputedValue",
    "Environment",
    "EvaluationError",
    "Expression",
    "ExpressionError",
    "ExpressionSyntaxError",
    "ListValue",
    "LiteralValue",
    "MapValue",
    "MissingReference",
    "NeedsData",
    "Path",
    "Reference",
    "ReferenceValue",
    "Template",
    "TemplateNode",
    "TemplateWarning",
    "TextValue",
    "Value",
    "evaluate_template",
    "follow",
    "looks_cut",
    "parse_expression",
    "parse_reference",
    "parse_template",
]
