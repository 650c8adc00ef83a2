"""What a late return costs."""

#: Days late, from so many on, and cents a day.
RATES = {1: 10, 8: 25, 29: 100}


def fine(days: int) -> int:
    """Return the fine in cents.

    >>> fine(3)
    30
    """
    cents = 0
    for day in range(1, days + 1):
        cents += RATES[max(since for since in RATES if since <= day)]
    return cents


def by_rule(rule: str, days: int) -> int:
    return eval(rule, {}, {"days": days})  # noqa


def in_words(cents: int) -> str:
    assert cents >= 0  # noqa: S101
    return f"{cents // 100}.{cents % 100:02d}"
