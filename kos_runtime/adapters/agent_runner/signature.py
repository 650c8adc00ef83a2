"""What an action takes and gives, read from its annotations once and compiled."""

import inspect
from collections.abc import Callable
from functools import lru_cache
from types import UnionType
from typing import Any, Final, Literal, NotRequired, Union, get_args, get_origin, get_type_hints

from pydantic import ConfigDict, PydanticUserError, TypeAdapter, ValidationError
from pydantic_core import PydanticSerializationError, SchemaError
from typing_extensions import TypedDict

from kos_runtime.adapters.agent_runner.plain import plain_of
from kos_runtime.adapters.agent_runner.problems import is_other_kind, problems_of
from kos_runtime.core.failure import ErrorType
from kos_runtime.core.nearest import nearest
from kos_runtime.ports.agent import ActionFailed, ActionMark, Agent, Context

#: Results of these annotations are walked, and not validated besides.
_ANYTHING: Final = (Any, object, None)


class Signature:
    """A compiled action of a class. ``context`` names the parameter that is given the attempt's context, if any.

    Raises:
        ValueError: Its annotations cannot be read or checked, or its parameters cannot be given by name.
    """

    def __init__(self, cls: type[Agent], attribute: str, mark: ActionMark) -> None:
        self.mark = mark
        self.where = f"{cls.kind or cls.__name__}.{mark.name}"
        self.context: str | None = None
        self.parameters: dict[str, inspect.Parameter] = {}
        self.hints: dict[str, Any] = {}
        self.takes_any = False
        function = inspect.getattr_static(cls, attribute)
        bound = not isinstance(function, staticmethod)
        method: Callable[..., Any] = getattr(cls, attribute)
        hints = _hints(method, self.where)
        given = list(inspect.signature(method).parameters.items())
        for name, parameter in given[1:] if bound and not isinstance(function, classmethod) else given:
            self._parameter(name, parameter, hints.get(name, Any))
        #: What the action says that it returns; ``Any`` when it says nothing.
        self.returns = hints.get("return", Any)
        self._inputs = _adapter(self._inputs_type(), self.where) if self.parameters else None
        untyped = any(self.returns is any_ for any_ in _ANYTHING)
        self._result = None if untyped else _adapter(self.returns, self.where)

    def _parameter(self, name: str, parameter: inspect.Parameter, hint: Any) -> None:
        match parameter.kind:
            case inspect.Parameter.VAR_KEYWORD:
                self.takes_any = True
            case inspect.Parameter.VAR_POSITIONAL:
                pass
            case inspect.Parameter.POSITIONAL_ONLY:
                raise ValueError(f"{self.where} takes {name!r} by position only; inputs are given by name")
            case _ if is_context(hint):
                self.context = name
            case _:
                self.parameters[name] = parameter
                self.hints[name] = hint

    def _inputs_type(self) -> Any:
        given = {
            name: self.hints[name] if is_required(parameter) else NotRequired[self.hints[name]]
            for name, parameter in self.parameters.items()
        }
        typed: Any = TypedDict
        made = typed(f"{self.mark.name}_inputs", given)
        extra: Literal["allow", "forbid"] = "allow" if self.takes_any else "forbid"
        made.__pydantic_config__ = ConfigDict(extra=extra, arbitrary_types_allowed=True)
        return made

    def arguments(self, given: dict[str, Any], *, lenient: bool) -> dict[str, Any]:
        """Return the keyword arguments for a set of inputs. ``lenient`` drops those that the action does not declare.

        Raises:
            ActionFailed: They do not fit; not recoverable, since the same inputs would come again.
        """
        if lenient and not self.takes_any:
            known = self.parameters
            given = {name: value for name, value in given.items() if name in known}
        if self._inputs is None:
            if given and not self.takes_any:
                raise self._unknown(next(iter(given)))
            return given
        try:
            found: dict[str, Any] = self._inputs.validator.validate_python(given, strict=True)
        except ValidationError as error:
            return self._read(given, error)
        except Exception as error:
            raise _wrong(f"invalid input for {self.where}: {type(error).__name__}: {error}") from error
        return found

    def _read(self, given: dict[str, Any], strictly: ValidationError) -> dict[str, Any]:
        assert self._inputs is not None
        for name in given:
            if name not in self.parameters and not self.takes_any:
                raise self._unknown(name) from strictly
        if is_other_kind(strictly, given):
            raise _wrong(f"invalid input for {self.where}: {problems_of(strictly)}") from strictly
        try:
            found: dict[str, Any] = self._inputs.validator.validate_python(given)
        except ValidationError as error:
            raise _wrong(f"invalid input for {self.where}: {problems_of(error)}") from error
        return found

    def _unknown(self, name: str) -> ActionFailed:
        known = tuple(self.parameters)
        near = nearest(name, known)
        hint = f"did you mean {near!r}?" if near else f"it takes {', '.join(known) or 'nothing'}"
        return _wrong(f"invalid input for {self.where}: it has no {name!r}; {hint}")

    def plain_result(self, value: Any) -> tuple[Any, int]:
        """Return a result as plain data that fits the action's annotation, and a lower bound of its size in bytes.

        Raises:
            ActionFailed: It does not fit; another attempt may do better.
        """
        try:
            if self._result is not None:
                value = self._fitting(self._result, value)
            return plain_of(value)
        except MemoryError:
            raise
        except ValidationError as error:
            reason = problems_of(error)
        except PydanticSerializationError as error:
            reason = str(error).replace("\n", " ")[:400]
        except RecursionError:
            reason = "it is nested too deep, or contains itself"
        except BaseException as error:
            # What an agent returned may raise anything while it is looked at.
            reason = _reason(error)
        raise ActionFailed(ErrorType.VALIDATION, f"invalid output from {self.where}: {reason}")

    @staticmethod
    def _fitting(adapter: TypeAdapter[Any], value: Any) -> Any:
        try:
            value = adapter.validator.validate_python(value, strict=True)
        except ValidationError as strictly:
            if is_other_kind(strictly, value):
                raise
            value = adapter.validator.validate_python(value)
        try:
            # A model may hold what its fields do not allow, since nobody checks an assignment; writing it out does.
            return adapter.serializer.to_python(value, mode="python", warnings="error")
        except PydanticSerializationError:
            adapter.validator.validate_python(adapter.serializer.to_python(value, mode="python", warnings=False))
            raise


@lru_cache(maxsize=4_096)
def signature_of(cls: type[Agent], attribute: str, mark: ActionMark) -> Signature:
    """Return a compiled action of a class, made once a process.

    Raises:
        ValueError: It cannot be called by what it declares.
    """
    return Signature(cls, attribute, mark)


def is_required(parameter: inspect.Parameter) -> bool:
    """Say whether an action cannot do without a parameter."""
    return parameter.default is inspect.Parameter.empty


def is_context(annotation: Any) -> bool:
    """Say whether a parameter is where an attempt's context goes: ``Context`` or ``Context | None``."""
    if get_origin(annotation) in {Union, UnionType}:
        return Context in get_args(annotation)
    return annotation is Context


def _hints(method: Callable[..., Any], where: str) -> dict[str, Any]:
    try:
        return get_type_hints(method, include_extras=True)
    except Exception as error:
        raise ValueError(f"the annotations of {where} cannot be read: {error}") from error


def _adapter(annotation: Any, where: str) -> TypeAdapter[Any]:
    try:
        return TypeAdapter(annotation)
    except (PydanticUserError, SchemaError, TypeError) as error:
        first = str(error).split("\n", 1)[0]
        try:
            return TypeAdapter(annotation, config=ConfigDict(arbitrary_types_allowed=True))
        except Exception:
            raise ValueError(f"the annotations of {where} cannot be checked: {first}") from error


def _wrong(message: str) -> ActionFailed:
    return ActionFailed(ErrorType.VALIDATION, message, recoverable=False)


def _reason(error: BaseException) -> str:
    try:
        text = str(error)
    except BaseException:
        text = "(its message cannot be read)"
    return text if isinstance(error, ValueError) and text else f"{type(error).__name__}: {text}"
