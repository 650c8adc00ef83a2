"""What is run, and what is made of what it says: a claim about a line of a file, in the same form for each tool.

ruff and mypy are stricter here than most repositories are with themselves: ruff follows the rules below, and is asked twice,
with and without the comments (``noqa``) by which an author waives a rule. pytest is run as the repository says.
"""

import json
import re
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final
from xml.etree import ElementTree as ET

from agents import ActionFailed

from .processes import Ended

#: ``{tool, file, line, code, message, severity, waived}``; waived is empty, ``named`` (the comment names the rule) or ``bare``.
Claim = dict[str, Any]
Run = Callable[[str, list[str]], Awaitable[Ended]]

_RULES: Final = [
    "--select",
    "E,W,F,B,S,UP,C4,RUF,SIM,PERF",
    "--ignore",
    "E501,RUF100",
    "--per-file-ignores",
    "test_*.py:S101",
]
#: By the beginning of a rule's name, the first that fits; what is none of these is a note.
_RUFF: Final = (
    ("F8", "error"),
    ("E9", "error"),
    ("invalid-syntax", "error"),
    ("F", "warning"),
    ("B", "warning"),
    ("S", "warning"),
)
#: What mypy says under ``--strict`` of code that may well be right.
_NOT_TYPED: Final = frozenset(
    {"no-untyped-def", "no-untyped-call", "no-any-return", "no-any-unimported", "type-arg", "unused-ignore",
     "import-untyped", "import-not-found", "untyped-decorator", "misc"}
)  # fmt: skip
_PLACE: Final = re.compile(r"^([^\s:][^:]*\.py):(\d+): ", re.MULTILINE)
_NOQA: Final = re.compile(r"#\s*noqa(?::\s*(?P<codes>[A-Z]+[0-9]+(?:[,\s]+[A-Z]+[0-9]+)*))?", re.IGNORECASE)


async def ruff(run: Run, root: Path, files: list[str], cache: Path) -> list[Claim]:
    del cache
    asked = ["check", "--isolated", "--no-cache", "--exit-zero", "--output-format", "json", *_RULES]
    told = await run("ruff", [*asked, "--ignore-noqa", "--", *files])
    heeded = await run("ruff", [*asked, "--", *files])
    stands = {(line["filename"], line["code"], line["location"]["row"]) for line in _json("ruff", heeded)}
    claims = []
    for line in _json("ruff", told):
        code, row = line["code"] or "invalid-syntax", line["location"]["row"]
        waived = "" if (line["filename"], line["code"], row) in stands else _waiver(line)
        severity = next((severity for begin, severity in _RUFF if code.startswith(begin)), "note")
        claims.append(_claim("ruff", _inside(root, line["filename"]), row, code, line["message"], severity, waived))
    return claims


async def mypy(run: Run, root: Path, files: list[str], cache: Path) -> list[Claim]:
    ended = await run(
        "mypy", ["--strict", "--output", "json", "--no-error-summary", "--cache-dir", str(cache), "--", *files]
    )
    claims = []
    for text in ended.out.decode(errors="replace").splitlines():
        if not text.startswith("{"):
            continue
        line = json.loads(text)
        code = line["code"] or "mypy"
        # Of a file that is only imported, whoever has it in its share speaks.
        if line["severity"] == "error" and _inside(root, line["file"]) in files:
            severity = "warning" if code in _NOT_TYPED else "error"
            claims.append(_claim("mypy", _inside(root, line["file"]), line["line"], code, line["message"], severity))
    if ended.code > 1 and not claims:
        raise _broken("mypy", ended)
    return claims


async def pytest(run: Run, root: Path, files: list[str], cache: Path) -> list[Claim]:
    del cache
    with TemporaryDirectory() as folder:
        report = f"{folder}/report.xml"
        asked = ["-q", "--tb=short", "-p", "no:cacheprovider", "-p", "no:randomly", "-o", "junit_family=xunit1"]
        ended = await run("pytest", [*asked, f"--junit-xml={report}", "--", *files])
        if ended.code == 5:  # no test in these files
            return []
        if ended.code > 2:
            raise _broken("pytest", ended)
        try:
            cases = list(ET.parse(report).iter("testcase"))  # noqa: S314  # by the process that just ran these tests
        except (OSError, ET.ParseError):
            raise _broken("pytest", ended) from None
    bad = [(case, part) for case in cases for part in case if part.tag in {"failure", "error"}]
    return [_failed(root, case, part) for case, part in bad]


def _failed(root: Path, case: ET.Element, bad: ET.Element) -> Claim:
    """Return the claim of a test that failed: about the last line of the repository that ran, where there is one."""
    name = f"{case.get('classname', '')}.{case.get('name', '')}".strip(".")
    ran = [(_inside(root, file), int(line)) for file, line in _PLACE.findall(bad.text or "")]
    ours = [(file, line) for file, line in ran if not file.startswith("..") and (root / file).is_file()]
    file, line = (
        ours[-1] if ours else (case.get("file") or f"{name.replace('.', '/')}.py", int(case.get("line") or 0) + 1)
    )
    said = (bad.get("message") or "it failed").splitlines()[0]
    return _claim("pytest", file, line, "test", f"{said} (in {name})", "error")


def _waiver(line: Mapping[str, Any]) -> str:
    row = line.get("noqa_row") or line["location"]["row"]
    text = Path(line["filename"]).read_text(encoding="utf-8", errors="replace").splitlines()[row - 1]
    found = _NOQA.search(text)
    return "named" if found and found["codes"] and line["code"] in re.split(r"[,\s]+", found["codes"]) else "bare"


def _claim(tool: str, file: str, line: int, code: str, message: str, severity: str, waived: str = "") -> Claim:
    return {
        "tool": tool, "file": file, "line": line, "code": code, "message": message[:500], "severity": severity,
        "waived": waived,
    }  # fmt: skip


def _inside(root: Path, file: str) -> str:
    path = Path(root, file)
    return str(path.relative_to(root)) if path.is_relative_to(root) else f"../{path.name}"


def _json(tool: str, ended: Ended) -> list[dict[str, Any]]:
    try:
        found: list[dict[str, Any]] = json.loads(ended.out)
    except ValueError:
        raise _broken(tool, ended) from None
    return found


def _broken(tool: str, ended: Ended) -> ActionFailed:
    said = (ended.error.strip() or ended.out.decode(errors="replace").strip() or "nothing")[-600:]
    return ActionFailed("dependency", f"{tool} ended with code {ended.code} and said: {said}", recoverable=False)


TOOLS: Final = {"ruff": ruff, "mypy": mypy, "pytest": pytest}
