"""What linking records of an action: what it takes and gives, in the language's words."""

import dataclasses
from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from enum import Enum
from types import NoneType, UnionType
from typing import Annotated, Any, Final, Literal, NewType, Union, get_args, get_origin, get_type_hints, is_typeddict

from pydantic import BaseModel, RootModel
from typing_extensions import is_typeddict as is_extended_typeddict

from kos_runtime.adapters.agent_runner.signature import Signature, is_required
from kos_runtime.core.plan.link import ActionLink, FieldLink, ParameterLink
from kos_runtime.ports.agent import MARK, Agent

#: In this order: a boolean is an integer to Python, and a text is iterable.
_WORDS: Final = ((bool, "boolean"), (int, "integer"), (float, "number"), (str, "string"), (Mapping, "object"))
#: What was described before: compiling annotations takes a millisecond an action.
_described: Final[dict[tuple[type[Agent], str], ActionLink]] = {}
_MOST: Final = 1_000
_NO_ARRAYS: Final = (AbstractSet, bytes, bytearray)


def describe_action(cls: type[Agent], attribute: str) -> ActionLink:
    """Return what linking records of an action, from its annotations.

    Raises:
        ValueError: They cannot be read or checked, or the action cannot be called or spread as it says.
    """
    known = _described.get((cls, attribute))
    if known is None:
        if len(_described) >= _MOST:
            _described.clear()
        known = _described[cls, attribute] = _describe(cls, attribute)
    return known


def _describe(cls: type[Agent], attribute: str) -> ActionLink:
    signature = Signature(cls, attribute, getattr(getattr(cls, attribute), MARK))
    mark = signature.mark
    parameters = tuple(
        ParameterLink(name=name, required=is_required(parameter), type=word_of(signature.hints[name]))
        for name, parameter in signature.parameters.items()
    )
    if mark.over:
        _check_over(signature.where, mark.over, parameters, takes_any=signature.takes_any)
    return ActionLink(
        parameters=parameters,
        takes_any=signature.takes_any,
        over=mark.over,
        gather=mark.gather,
        fields=fields_of(signature.returns),
        idempotent=mark.idempotent,
        isolated=mark.isolated,
    )


def _check_over(where: str, over: str, parameters: tuple[ParameterLink, ...], *, takes_any: bool) -> None:
    first, _, rest = over.partition(".")
    found = next((parameter for parameter in parameters if parameter.name == first), None)
    if found is None and not takes_any:
        raise ValueError(f"{where} is spread over {over!r}, but takes no {first!r}")
    if found is not None and found.type not in {"any", "object" if rest else "array"}:
        raise ValueError(f"{where} is spread over {over!r}, but {first!r} is declared as {found.type}")


def word_of(annotation: Any) -> str:
    """Return the language's word for an annotation; ``any`` when it cannot be told."""
    origin = get_origin(annotation)
    if origin is Annotated:
        return word_of(get_args(annotation)[0])
    if origin is Literal:
        # One of a few words is more than a text, and the language has no name for it here.
        return "any"
    if origin in {Union, UnionType}:
        return _common(argument for argument in get_args(annotation) if argument is not NoneType)
    if isinstance(annotation, NewType):
        return word_of(annotation.__supertype__)
    kind = origin or annotation
    if not isinstance(kind, type):
        return "any"
    if issubclass(kind, Enum):
        return _common(type(member.value) for member in kind)
    for base, word in _WORDS:
        if issubclass(kind, base):
            return word
    if issubclass(kind, BaseModel):
        return word_of(kind.model_fields["root"].annotation) if issubclass(kind, RootModel) else "object"
    if _is_typed_dict(kind) or dataclasses.is_dataclass(kind):
        return "object"
    return "array" if issubclass(kind, Iterable) and not issubclass(kind, _NO_ARRAYS) else "any"


def _common(annotations: Iterable[Any]) -> str:
    words = {word_of(annotation) for annotation in annotations}
    return words.pop() if len(words) == 1 else "any"


def fields_of(annotation: Any) -> tuple[FieldLink, ...] | None:
    """Return the keys that a result is sure to have, or None when they are not known."""
    if not isinstance(annotation, type):
        return None
    if issubclass(annotation, BaseModel):
        if issubclass(annotation, RootModel) or annotation.model_config.get("extra") == "allow":
            return None
        # What has a default is written out as well, so it is there in every result.
        declared = {name: field.annotation for name, field in annotation.model_fields.items()}
        computed = {name: field.return_type for name, field in annotation.model_computed_fields.items()}
        return tuple(FieldLink(name=name, type=word_of(kind)) for name, kind in (declared | computed).items())
    if _is_typed_dict(annotation):
        required: frozenset[str] = annotation.__required_keys__  # type: ignore[attr-defined]
        return tuple(
            FieldLink(name=name, type=word_of(kind), required=name in required)
            for name, kind in get_type_hints(annotation).items()
        )
    if dataclasses.is_dataclass(annotation):
        hints = get_type_hints(annotation)
        return tuple(FieldLink(name=f.name, type=word_of(hints[f.name])) for f in dataclasses.fields(annotation))
    return None


def _is_typed_dict(kind: Any) -> bool:
    return is_typeddict(kind) or is_extended_typeddict(kind)
