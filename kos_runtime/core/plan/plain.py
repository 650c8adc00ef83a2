"""Plans and links as plain data, and back. Only what differs from a field's default is written."""

from dataclasses import MISSING, fields, is_dataclass
from typing import Any, Final, TypeVar

from kos_runtime.core.plan import link, model

_TAG: Final = "$"
_CLASSES: Final[dict[str, type]] = {
    cls.__name__: cls
    for cls in (
        model.Backoff, model.Policy, model.Action, model.Hierarchical, model.Decision, model.Break, model.Loop, model.Consensus, model.ForEach, model.Group,
        model.Inlined, model.Child, model.Coordination, model.Mastery, model.Need, model.Root, model.Authority,
        model.SetVariables, model.Emit, model.Fail, model.Join, model.Wait, model.WaitFor, model.Field, model.Approval, model.OtherForm, model.Compensation, model.Cache, model.Step, model.Body,
        model.InputSpec, model.OutputSpec, model.Pool, model.Limit, model.Requirement, model.Plan,
        link.ParameterLink, link.FieldLink, link.ActionLink, link.AgentLink, link.ChildLink, link.Link,
    )
}  # fmt: skip
_T = TypeVar("_T")


def to_plain(value: Any) -> Any:
    """Return plain data (dicts, lists, scalars) for a plan, a link or any part of one."""
    if is_dataclass(value) and not isinstance(value, type):
        plain: dict[str, Any] = {_TAG: type(value).__name__}
        for f in fields(value):
            content = getattr(value, f.name)
            if f.default is not MISSING and content == f.default and type(content) is type(f.default):
                continue
            if f.default_factory is not MISSING and content == f.default_factory():
                continue
            plain[f.name] = content if f.metadata.get("plain") else to_plain(content)
        return plain
    if isinstance(value, (tuple, list)):
        return [to_plain(item) for item in value]
    if isinstance(value, dict):
        return {key: to_plain(item) for key, item in value.items()}
    return value


def from_plain(plain: Any, expected: type[_T]) -> _T:
    """Return what ``to_plain`` was given.

    Raises:
        ValueError: This is not plain data of an ``expected``, or it was written by a newer version.
    """
    try:
        value = _build(plain)
    except (KeyError, TypeError) as error:
        raise ValueError(f"not a stored {expected.__name__}: {error}") from error
    if not isinstance(value, expected):
        raise ValueError(f"not a stored {expected.__name__}: a {type(value).__name__}")  # noqa: TRY004 - of data, not of an argument
    return value


def _build(plain: Any) -> Any:
    if isinstance(plain, dict):
        if _TAG in plain:
            cls = _CLASSES[plain[_TAG]]
            kept = {f.name for f in fields(cls) if f.metadata.get("plain")}
            arguments = {
                name: content if name in kept else _build(content) for name, content in plain.items() if name != _TAG
            }
            return cls(**arguments)
        return {key: _build(item) for key, item in plain.items()}
    if isinstance(plain, list):
        return tuple(_build(item) for item in plain)
    return plain
