"""Three who read the same findings with other eyes. Each votes, and says why."""

from typing import Any, Final

from agents import Agent, action

from .severity import RANKS, SEVERITIES

#: What the members of the panel look at, in the order of their names.
SUBJECTS: Final = ("correctness", "style", "safety")
#: A repository of which more than one line in so many is a warning or worse is not in good style.
LINES_A_WARNING: Final = 25

Finding = dict[str, Any]
Ballot = dict[str, str]


class Reviewer(Agent):
    @action
    def weigh(self, who: str, dispute: Finding) -> Ballot:
        """Say how grave something is of which others have said different things."""
        says: dict[str, str] = dispute["says"]
        subject = subject_of(who)
        best = max(says, key=lambda author: RANKS[author])
        worst = max(says, key=lambda author: SEVERITIES.index(says[author]))
        mildest = min(says, key=lambda author: SEVERITIES.index(says[author]))
        if subject == "correctness":
            return _ballot(says[best], f"{best} knows more of what happens here than the others")
        if subject == "style":
            return _ballot(says[mildest], f"{mildest} does not think that it is worse")
        if any(_is_security(code) for code in dispute["codes"]):
            return _ballot(says[worst], f"it is about security, and {worst} takes it most seriously")
        return _ballot(says[best], f"no matter of security; {best} is nearest to what runs")

    @action
    def judge(self, who: str, findings: list[Finding], lines: int) -> Ballot:
        """Say whether the repository passes."""
        subject = subject_of(who)
        if subject == "correctness":
            bad = [one for one in findings if one["severity"] == "error" and one["tools"] != "ruff"]
            return _verdict(bad, "shown to be wrong by a test or by types", "nothing is shown to be wrong")
        if subject == "style":
            bad = [one for one in findings if one["severity"] in {"warning", "error"}]
            if len(bad) * LINES_A_WARNING <= lines:
                return _ballot("pass", f"{len(bad)} warnings or worse in {lines} lines are few enough")
            return _ballot("fail", f"{len(bad)} warnings or worse in {lines} lines are too many")
        bad = [
            one for one in findings
            if one["severity"] in {"warning", "error"} and any(_is_security(code) for code in one["rules"].split())
        ]  # fmt: skip
        return _verdict(bad, "against a rule of security", "no rule of security is broken")

    @action
    def tell(self, verdict: dict[str, Any]) -> dict[str, Any]:
        """Return the verdict with who said what, and why."""
        votes = [
            {"reviewer": subject_of(vote["elector"]), "says": " ".join(vote["choices"]), "because": vote["reason"]}
            for vote in verdict["votes"]
        ]
        return {"votes": votes, "verdict": verdict["outcome"]}


def subject_of(who: str) -> str:
    """Return what a peer looks at: ``panel-1`` is the first."""
    return SUBJECTS[(int(who.rpartition("-")[2]) - 1) % len(SUBJECTS)]


def _is_security(code: str) -> bool:
    return code.startswith("S") and code[1:].isdigit()


def _verdict(bad: list[Finding], what: str, nothing: str) -> Ballot:
    if not bad:
        return _ballot("pass", nothing)
    return _ballot("fail", f"{what}: {bad[0]['place']}" + (f" and {len(bad) - 1} more" if len(bad) > 1 else ""))


def _ballot(choice: str, reason: str) -> Ballot:
    return {"choice": choice, "reason": reason}
