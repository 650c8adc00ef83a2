"""One action as a callable: its inputs and its result checked by its own annotations, once compiled."""

import inspect
from collections.abc import Callable
from typing import Any, get_type_hints

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, create_model

from kos_runtime.adapters.codec import check_plain
from kos_runtime.core.failure import ErrorType
from kos_runtime.core.nearest import nearest
from kos_runtime.ports.agent import ActionFailed, ActionMark, Agent, Context

_STRICT = ConfigDict(strict=False, extra="forbid", arbitrary_types_allowed=True)


class Call:
    """A compiled action. ``context`` names the parameter that is given the attempt's context, if there is one."""

    def __init__(self, agent: Agent, attribute: str, mark: ActionMark) -> None:
        self.mark = mark
        self.where = f"{type(agent).kind or type(agent).__name__}.{mark.name}"
        self.method: Callable[..., Any] = getattr(agent, attribute)
        self.is_async = inspect.iscoroutinefunction(self.method)
        hints = _hints(self.method)
        self.context: str | None = None
        self.parameters: dict[str, inspect.Parameter] = {}
        self.takes_any = False
        fields: dict[str, Any] = {}
        for name, parameter in inspect.signature(self.method).parameters.items():
            if parameter.kind is inspect.Parameter.VAR_KEYWORD:
                self.takes_any = True
                continue
            if is_context(hints.get(name)):
                self.context = name
                continue
            self.parameters[name] = parameter
            default = ... if parameter.default is inspect.Parameter.empty else parameter.default
            fields[f"p_{len(fields)}"] = (hints.get(name, Any), Field(default, alias=name))
        self._names = {f"p_{index}": name for index, name in enumerate(self.parameters)}
        self._untyped = all(hints.get(name, Any) is Any for name in self.parameters)
        self._inputs: type[BaseModel] = create_model(f"{mark.name}_inputs", __config__=_STRICT, **fields)
        returns = hints.get("return", Any)
        self._result = None if returns in {Any, object} else TypeAdapter(returns)

    def arguments(self, given: dict[str, Any], *, lenient: bool) -> dict[str, Any]:
        """Return the keyword arguments for a set of inputs.

        Raises:
            ActionFailed: They do not fit; not recoverable, since the same inputs would come again.
        """
        known = self.parameters
        if not self.takes_any:
            unknown = [name for name in given if name not in known]
            if unknown and lenient:
                given = {name: value for name, value in given.items() if name in known}
            elif unknown:
                near = nearest(unknown[0], tuple(known))
                hint = f"; did you mean {near!r}?" if near else f"; it takes {', '.join(known) or 'nothing'}"
                raise _wrong(f"invalid input for {self.where}: it has no {unknown[0]!r}{hint}")
        if self._untyped:
            missing = [
                name for name, p in known.items() if name not in given and p.default is inspect.Parameter.empty
            ]
            if missing:
                raise _wrong(f"invalid input for {self.where}: {missing[0]!r} is missing")
            return dict(given)
        extra = {name: value for name, value in given.items() if name not in known}
        try:
            model = self._inputs.model_validate({name: v for name, v in given.items() if name in known})
        except ValidationError as error:
            raise _wrong(f"invalid input for {self.where}: {first_problem(error)}") from error
        found = {name: getattr(model, field) for field, name in self._names.items() if field in model.model_fields_set}
        found.update(extra)
        return found

    def plain_result(self, value: Any) -> Any:
        """Return a result as plain data that fits the action's annotation.

        Raises:
            ActionFailed: It does not fit; another attempt may do better.
        """
        try:
            if self._result is not None:
                value = self._result.validate_python(value)
                value = self._result.dump_python(value, mode="python", warnings=False)
            value = _plain(value, 0)
            check_plain(value, "result")
        except ValidationError as error:
            raise ActionFailed(ErrorType.VALIDATION, f"invalid output from {self.where}: {first_problem(error)}") from error
        except (ValueError, TypeError, RecursionError) as error:
            raise ActionFailed(ErrorType.VALIDATION, f"invalid output from {self.where}: {error}") from error
        except Exception as error:
            message = f"invalid output from {self.where}: {type(error).__name__}: {error}"
            raise ActionFailed(ErrorType.VALIDATION, message) from error
        return value


def _hints(method: Callable[..., Any]) -> dict[str, Any]:
    try:
        return get_type_hints(method)
    except (NameError, TypeError, AttributeError) as error:
        raise ValueError(f"the annotations of {method.__qualname__} cannot be read: {error}") from error


def is_context(annotation: Any) -> bool:
    return annotation is Context


def _wrong(message: str) -> ActionFailed:
    return ActionFailed(ErrorType.VALIDATION, message, recoverable=False)


def first_problem(error: ValidationError) -> str:
    """Return what is wrong in words: ``score: expected number, got 'great'``."""
    problems = []
    for item in error.errors(include_url=False)[:3]:
        place = ".".join(str(part) for part in item["loc"])
        problems.append(f"{place}: {item['msg']}, got {item.get('input')!r:.80}" if place else f"{item['msg']}, got {item.get('input')!r:.80}")
    more = error.error_count() - len(problems)
    return "; ".join(problems) + (f"; and {more} more" if more > 0 else "")


def _plain(value: Any, depth: int) -> Any:
    """Turn what Python code returns into plain data: models, dataclasses' dicts, tuples, sets are not guessed at."""
    if depth > 64:  # noqa: PLR2004 - as in the codec
        raise ValueError("it is nested deeper than 64, or contains itself")
    kind = type(value)
    if value is None or kind in {bool, int, float, str, bytes}:
        return value
    if kind is dict:
        return {_key(key): _plain(item, depth + 1) for key, item in value.items()}
    if kind in {list, tuple}:
        return [_plain(item, depth + 1) for item in value]
    if isinstance(value, BaseModel):
        return _plain(value.model_dump(mode="python"), depth + 1)
    if isinstance(value, str):
        return str.__str__(value) if not hasattr(value, "value") else str(value.value)
    raise ValueError(f"{kind.__name__} is no plain data")


def _key(key: Any) -> str:
    if isinstance(key, str):
        return str(key)
    raise ValueError(f"the key {key!r:.60} is no text")
