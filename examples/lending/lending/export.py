"""Lists for other programs."""

import json
import os

from lending.loans import Loan


def as_json(loans, pretty=False) -> str:
    rows = [{"isbn": loan.book.isbn, "member": loan.member, "due": loan.due.isoformat()} for loan in loans]
    return json.dumps(rows, indent=2 if pretty else None)


def members(loans: list[Loan]) -> list[str]:
    return sorted(set([loan.member for loan in loans]))
