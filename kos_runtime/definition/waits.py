"""The forms that wait: for time, for a signal, for people."""

from collections.abc import Mapping
from typing import Any, Final

from kos_runtime.core.instant import parse_duration, parse_instant
from kos_runtime.core.plan import model
from kos_runtime.core.plan.types import misfit
from kos_runtime.definition.problems import Path
from kos_runtime.definition.references import Scope, Texts, Use
from kos_runtime.definition.shapes import Check

#: What an approval says of itself, beside its form's fields.
OF_APPROVAL: Final = ("approved", "decided_by", "decided_at", "result")
Compiled = tuple[model.Form, list[Use]]


class Waits:
    """Compiles ``wait``, ``wait_for`` and ``approval``."""

    def __init__(self, check: Check, texts: Texts) -> None:
        self.check = check
        self.texts = texts

    def compile(self, raw: Mapping[str, Any], kind: str, path: Path, scope: Scope) -> Compiled:
        match kind:
            case "wait":
                return self._wait(raw, path, scope)
            case "wait_for":
                return self._wait_for(raw, path, scope)
            case _:
                return self._approval(raw, path, scope)

    def _wait(self, raw: Mapping[str, Any], path: Path, scope: Scope) -> Compiled:
        if "until" not in raw:
            return model.Wait(for_ms=_span(raw.get("for"))), []
        until, at = raw["until"], (*path, "until")
        uses = self.texts.template(until, at, scope)
        literal = until if isinstance(until, str) and "$" not in until else None
        if literal is None and until is not None and not isinstance(until, str):
            self.check.fail(
                at, "KOS103", f"until: {until!r:.60} is no instant", "write for example 2030-01-31T09:00:00Z"
            )
        elif literal is not None:
            try:
                parse_instant(literal)
            except ValueError as error:
                self.check.fail(at, "KOS103", f"until: {error}")
        return model.Wait(until=until, has_until=True), uses

    def _wait_for(self, raw: Mapping[str, Any], path: Path, scope: Scope) -> Compiled:
        uses = []
        if "match" in raw:
            uses = self.texts.condition(raw["match"], (*path, "match"), scope, signal=True)
        form = model.WaitFor(
            signal=raw.get("signal", "?"),
            match=raw.get("match", ""),
            timeout_ms=_span(raw.get("timeout")),
            on_timeout=raw.get("on_timeout", "fail"),
        )
        return form, uses

    def _approval(self, raw: Mapping[str, Any], path: Path, scope: Scope) -> Compiled:
        uses = self.texts.template(raw.get("prompt"), (*path, "prompt"), scope)
        uses += self.texts.template(raw.get("show"), (*path, "show"), scope)
        approvers = tuple(raw.get("approvers") or ())
        for index, name in enumerate(approvers):
            if not name.startswith(("user:", "role:")) or name[5:].strip() != name[5:] or not name[5:]:
                self.check.fail(
                    (*path, "approvers", index), "KOS103", f"no approver: {name!r:.60}", "write user:NAME or role:NAME"
                )
        people = [name for name in dict.fromkeys(approvers) if name.startswith("user:")]
        quorum = raw.get("quorum", 1)
        if approvers and len(people) == len(set(approvers)) and quorum > len(people):
            self.check.fail(
                (*path, "quorum"), "KOS106", f"quorum: {quorum} of {len(people)} people can never be reached"
            )
        fields = tuple(
            self._field(name, said or {}, (*path, "form", name)) for name, said in (raw.get("form") or {}).items()
        )
        form = model.Approval(
            prompt=raw.get("prompt", ""),
            show=raw.get("show"),
            approvers=approvers,
            quorum=quorum,
            fields=fields,
            timeout_ms=_span(raw.get("timeout")),
            on_timeout=raw.get("on_timeout", "fail"),
        )
        return form, uses

    def _field(self, name: str, raw: Mapping[str, Any], path: Path) -> model.Field:
        kind, values = raw.get("type", "any"), tuple(raw.get("values") or ())
        if name in OF_APPROVAL:
            self.check.fail(path, "KOS111", f"{name!r} is what an approval says by itself", "call the field otherwise")
        if kind == "enum" and not values:
            self.check.fail(path, "KOS101", f"field {name!r} is an enum and needs values")
        problem = misfit(raw["default"], kind, values) if raw.get("default") is not None else None
        if problem:
            self.check.fail((*path, "default"), "KOS103", f"default of field {name!r}: {problem}")
        return model.Field(
            name=name,
            type=kind,
            required=raw.get("required", True) and "default" not in raw,
            default=raw.get("default"),
            has_default="default" in raw,
            values=values,
        )


def _span(text: str | None) -> int:
    return 0 if text is None else parse_duration(text)
