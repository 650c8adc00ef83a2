"""Puts claims side by side, and settles those that do not go together.

What a tool says of a line is a *version* of what is wrong there. An author's comment that waives a rule by its name knows what it
waives, so its version replaces the tool's. One that names nothing does not, and two tools know nothing of each other: then the
versions are in conflict, and what settles each field is said beforehand.
"""

from collections.abc import Iterable
from itertools import groupby
from typing import Any, Final

from agents import Agent, action
from coordination.conflict import Resolution, Version, resolve, settle

from .severity import RANKS, SEVERITIES
from .tools import Claim

STRATEGIES: Final = {"severity": "vote", "codes": "or_set", "message": "priority"}
#: The panel votes on so many places, the gravest first; further ones are settled by rank.
MAX_DISPUTES: Final = 40


class Arbiter(Agent):
    @action
    def compare(self, claims: list[Claim]) -> dict[str, Any]:
        """Return the places about which there is more than one mind, each with what is said of it."""
        disputes = []
        for (file, line), versions in _places(claims):
            resolution = resolve(versions, STRATEGIES)
            if "severity" in resolution.open:
                _, values = resolution.open["severity"]
                disputes.append(
                    {
                        "file": file,
                        "line": line,
                        "says": {author: severity for severity, authors in values for author in authors},
                        "codes": list(resolution.fields["codes"].kept["added"]),
                        "message": resolution.fields["message"].kept,
                    }
                )
        disputes.sort(key=lambda one: (-max(map(SEVERITIES.index, one["says"].values())), one["file"], one["line"]))
        return {"disputes": disputes[:MAX_DISPUTES]}

    @action
    def settle(self, claims: list[Claim], disputes: list[dict[str, Any]], results: list[Any]) -> dict[str, Any]:
        """Return a finding for each place: how grave it is, and how that was settled. ``results`` are the votes."""
        votes = {(one["file"], one["line"]): result for one, result in zip(disputes, results, strict=True)}
        findings = []
        for (file, line), versions in _places(claims):
            how, resolution = _settled(versions, votes.get((file, line)))
            fields = resolution.fields
            findings.append(
                {
                    "severity": fields["severity"].kept,
                    "place": f"{file}:{line}",
                    "tools": "+".join(sorted({version.author for version in versions} - {"owner"})),
                    "rules": " ".join(fields["codes"].kept["added"]),
                    "message": " ".join(fields["message"].kept.split()),
                    "settled_by": how,
                }
            )
        findings.sort(key=lambda one: -SEVERITIES.index(one["severity"]))
        return {"findings": findings}


def _places(claims: list[Claim]) -> Iterable[tuple[tuple[str, int], list[Version]]]:
    ordered = sorted(claims, key=_place)
    for place, there in groupby(ordered, key=_place):
        yield place, list(_versions(list(there)))


def _place(claim: Claim) -> tuple[str, int]:
    return claim["file"], claim["line"]


def _versions(claims: list[Claim]) -> Iterable[Version]:
    """Return each tool's version of a place, and the author's where a comment waives something there."""
    waived = [claim for claim in claims if claim["waived"]]
    for tool in sorted({claim["tool"] for claim in claims}):
        mine = [claim for claim in claims if claim["tool"] == tool]
        stands = [claim for claim in mine if not claim["waived"]]
        # What a comment has seen is the tool's first version; with what it does not waive there is a second.
        yield _version(tool, {tool: 2 if waived and stands else 1}, stands or mine)
    if waived:
        knows = {"ruff": 1} if all(claim["waived"] == "named" for claim in waived) else {}
        said = [
            {**claim, "severity": "waived", "message": f"waived by the author: {claim['message']}"} for claim in waived
        ]
        yield _version("owner", {**knows, "owner": 1}, said)


def _version(author: str, seen: dict[str, int], claims: list[Claim]) -> Version:
    worst = max(claims, key=lambda claim: SEVERITIES.index(claim["severity"]))
    codes = {claim["code"]: [author] for claim in claims}
    fields = {"severity": worst["severity"], "message": worst["message"], "codes": {"added": codes, "removed": []}}
    return Version(author, seen, fields, RANKS[author])


def _settled(versions: list[Version], vote: Any) -> tuple[str, Resolution]:
    """Return how the severity of a place was settled, and the whole of it."""
    resolution = resolve(versions, STRATEGIES)
    if "severity" not in resolution.open:
        if resolution.superseded:
            return "comment that names the rule", resolution
        return ("agreement" if len(versions) > 1 else "no other view"), resolution
    _, values = resolution.open["severity"]
    if vote and vote["accepted"] and any(vote["outcome"] == severity for severity, _ in values):
        for_it = sum(1 for ballot in vote["votes"] if ballot["choices"] == [vote["outcome"]])
        how, resolution = (
            f"vote, {for_it} of {len(vote['votes'])}",
            settle(resolution, "severity", vote["outcome"], "vote"),
        )
    else:
        highest = max(versions, key=lambda version: version.rank)
        kept = highest.fields["severity"]
        how, resolution = f"rank of {highest.author}", settle(resolution, "severity", kept, "priority")
    dropped = resolution.fields["severity"].discarded
    return f"{how}; {', '.join(f'{author} said {severity}' for author, severity in dropped)}", resolution
