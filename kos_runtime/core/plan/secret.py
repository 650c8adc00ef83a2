"""Secrets in values: a name that stays a name until the agent's process resolves it.

A secret may be a whole value, ``$secrets.NAME``, or a piece of a text, ``Bearer ${{ $secrets.NAME }}``. Nothing can be
computed from one, since whoever computes does not know it.
"""

from kos_runtime.core.expression import (
    ComputedValue,
    ListValue,
    MapValue,
    Reference,
    ReferenceValue,
    TemplateNode,
    TextValue,
)
from kos_runtime.core.expression.syntax import Read


def secret_name(reference: Reference) -> str:
    """Return the name of a secret that a reference leads to, empty when it is no such reference."""
    path = reference.path
    return path[0] if reference.root == "secrets" and len(path) == 1 and isinstance(path[0], str) else ""


def secret_of(part: str | ComputedValue) -> str:
    """Return the name of the secret that a piece of a text is, empty when it is something else."""
    if isinstance(part, str):
        return ""
    tree = part.expression.tree
    return secret_name(tree.reference) if isinstance(tree, Read) else ""


def secrets_in(node: TemplateNode) -> list[str]:
    """Return the names of all secrets in a value that stand where one may, each as often as it stands there."""
    match node:
        case ReferenceValue(reference=reference):
            name = secret_name(reference)
            return [name] if name else []
        case TextValue(parts=parts):
            return [name for part in parts if (name := secret_of(part))]
        case ListValue(items=items):
            return [name for item in items for name in secrets_in(item)]
        case MapValue(items=entries):
            return [name for _, item in entries for name in secrets_in(item)]
        case _:
            return []
