"""Time as values: whole milliseconds, no clock."""

from typing import Final, NewType

#: Milliseconds since 1970-01-01T00:00:00Z, as the log's own clock tells them.
Instant = NewType("Instant", int)
#: Milliseconds.
Duration = NewType("Duration", int)

SECOND: Final = Duration(1_000)
MINUTE: Final = Duration(60_000)
HOUR: Final = Duration(3_600_000)
DAY: Final = Duration(86_400_000)

_UNITS: Final = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000}
_MAX_TEXT: Final = 64
_MAX_MS: Final = 100 * 366 * 86_400_000


def parse_duration(text: str) -> Duration:
    """Read a duration such as ``24h``, ``5m``, ``1h30m`` or ``250ms``.

    Returns:
        Milliseconds, from 0 to a hundred years.

    Raises:
        ValueError: The text is no duration; the message says what one looks like.

    >>> parse_duration("1h30m")
    5400000
    """
    rest, total = text.strip(), 0.0
    if not rest or len(rest) > _MAX_TEXT:
        raise ValueError(f"not a duration: {text[:_MAX_TEXT]!r}; write for example 30s, 5m, 24h or 1h30m")
    while rest:
        end = 0
        while end < len(rest) and (rest[end] in "0123456789" or rest[end] == "."):
            end += 1
        unit_end = end
        while unit_end < len(rest) and rest[unit_end].isascii() and rest[unit_end].isalpha():
            unit_end += 1
        number, unit = rest[:end], rest[end:unit_end]
        if not number or number.count(".") > 1 or number == "." or unit not in _UNITS:
            raise ValueError(f"not a duration: {text!r}; write for example 30s, 5m, 24h or 1h30m")
        total += float(number) * _UNITS[unit]
        rest = rest[unit_end:]
    if total > _MAX_MS:
        raise ValueError(f"too long a duration: {text!r}; at most a hundred years")
    return Duration(round(total))


def format_duration(ms: int) -> str:
    """Write a duration in the language's own form, shortest first: ``90000`` is ``1m30s``."""
    if ms == 0:
        return "0s"
    parts: list[str] = []
    for unit in ("d", "h", "m", "s", "ms"):
        count, ms = divmod(ms, _UNITS[unit])
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts)


def utc_text(ms: int) -> str:
    """Write an instant in UTC, to the minute or as exact as it is: ``2026-03-29T01:00Z``.

    >>> utc_text(1_774_746_000_000)
    '2026-03-29T01:00Z'
    """
    days, rest = divmod(ms, DAY)
    # Civil date of a day number; Hinnant, "chrono-Compatible Low-Level Date Algorithms", civil_from_days.
    era, day_of_era = divmod(days + 719_468, 146_097)
    year_of_era = (day_of_era - day_of_era // 1_460 + day_of_era // 36_524 - day_of_era // 146_096) // 365
    day_of_year = day_of_era - (365 * year_of_era + year_of_era // 4 - year_of_era // 100)
    shifted = (5 * day_of_year + 2) // 153
    day = day_of_year - (153 * shifted + 2) // 5 + 1
    month = shifted + 3 if shifted < 10 else shifted - 9
    year = year_of_era + era * 400 + (month <= 2)
    seconds, exact = divmod(rest, SECOND)
    text = f"{year:04d}-{month:02d}-{day:02d}T{seconds // 3_600:02d}:{seconds // 60 % 60:02d}"
    if seconds % 60 or exact:
        text += f":{seconds % 60:02d}" + (f".{exact:03d}" if exact else "")
    return f"{text}Z"


def parse_instant(text: str) -> Instant:
    """Read an instant in ISO 8601, such as ``2030-01-31T09:00:00+01:00``; without a zone it is in UTC.

    Raises:
        ValueError: The text is no instant; the message says what one looks like.

    >>> parse_instant("2026-03-29T01:00Z"), parse_instant("1970-01-02")
    (1774746000000, 86400000)
    """
    wrong = f"not an instant: {text[:_MAX_TEXT]!r}; write for example 2030-01-31T09:00:00Z"
    rest = text.strip().upper()
    if len(rest) > _MAX_TEXT or not rest.isascii():
        raise ValueError(wrong)
    date, _, clock = rest.replace(" ", "T", 1).partition("T")
    offset = 0
    if clock.endswith("Z"):
        clock = clock[:-1]
    elif (sign := max(clock.rfind("+"), clock.rfind("-"))) > 0:
        zone = clock[sign + 1 :].replace(":", "")
        if len(zone) not in {2, 4} or not zone.isdecimal():
            raise ValueError(wrong)
        offset = (int(zone[:2]) * HOUR + int(zone[2:] or 0) * MINUTE) * (1 if clock[sign] == "+" else -1)
        clock = clock[:sign]
    days = [int(part) for part in date.split("-") if part.isdecimal()]
    clock, _, fraction = clock.partition(".")
    times = [int(part) for part in clock.split(":") if part.isdecimal()] if clock else []
    if len(date) != len("2030-01-31") or len(days) != 3 or len(times) != len(clock.split(":") if clock else ()):
        raise ValueError(wrong)
    if (fraction and (not fraction.isdecimal() or len(times) != 3)) or len(times) not in {0, 2, 3}:
        raise ValueError(wrong)
    year, month, day = days
    hour, minute, second = (*times, 0, 0, 0)[:3]
    leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    lengths = (31, 29 if leap else 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
    if not (year >= 1970 and 1 <= month <= 12 and 1 <= day <= lengths[month - 1]):
        raise ValueError(wrong)
    if hour > 23 or minute > 59 or second > 59:
        raise ValueError(wrong)
    # Days from civil; Hinnant, "chrono-Compatible Low-Level Date Algorithms".
    shifted = year - (month <= 2)
    day_of_year = (153 * ((month + 9) % 12) + 2) // 5 + day - 1
    number = shifted * 365 + shifted // 4 - shifted // 100 + shifted // 400 + day_of_year - 719_468
    ms = int((fraction + "000")[:3])
    return Instant(number * DAY + hour * HOUR + minute * MINUTE + second * SECOND + ms - offset)
