"""Every single-bit flip in every stored column of a log, and structural edits: all found, the first bad record named.

Flips are checked incrementally, in the commit that they are in, by the same walk that verifies a whole log, so that two
million of them take a minute. Edits (a record taken out, put in, exchanged, doubled, the newest cut off) are checked by
the verification of the whole log, with a head that was written down before.
"""

import random
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from kos_runtime.adapters.event_store.memory_evidence import MemoryEvidence
from kos_runtime.core.chain import batch_link, batch_root
from kos_runtime.core.evidence import RememberedHead
from kos_runtime.core.verify import Walk, verify_partition
from kos_runtime.testing.log_builder import LogBuilder, salt_of

Row = tuple[Any, ...]
_COLUMNS = (
    "offset",
    "stream",
    "position",
    "epoch",
    "time",
    "names",
    "causation",
    "correlation",
    "payload",
    "digest",
    "hash",
)


def run(records: int, edits: int, seed: int, share: float = 1.0) -> dict[str, Any]:
    """Flip every bit (or a share of them) of a log of so many records, and make so many edits.

    Returns:
        ``flips``, ``edits``, how many of both were ``detected``, and of how many the first bad record was named exactly
        (``exact_first_bad``); ``missed`` shows up to ten that were not.
    """
    draw = random.Random(seed)
    rows, links, salts = build(records, draw)
    found: dict[str, Any] = {"flips": 0, "edits": 0, "detected": 0, "exact_first_bad": 0, "missed": []}
    _flip_all(rows, links, salts, draw, share, found)
    _edit(rows[: min(len(rows), 120)], draw, edits, found)
    return found


def build(records: int, draw: random.Random) -> tuple[list[Row], list[Row], dict[str, object]]:
    """Return rows, links and salts of a log with commits of one to four records of a few streams."""
    builder = LogBuilder()
    rows: list[Row] = []
    links: list[Row] = []
    salts: dict[str, object] = {}
    while len(rows) < records:
        entries = [
            (f"run/{draw.randrange(12)}", draw.randbytes(draw.randrange(8, 60))) for _ in range(draw.randint(1, 4))
        ]
        batch = builder.batch(*entries)
        assert batch.link is not None
        rows += [tuple(getattr(record, column) for column in _COLUMNS) for record in batch.records]
        link = batch.link
        links.append((link.first_offset, link.count, link.epoch, link.root, link.link))
        salts.update({stream: salt_of(stream) for stream, _ in batch.streams})
    return rows, links, salts


# --- flips --------------------------------------------------------------------------------------


def _flip_all(
    rows: list[Row],
    links: list[Row],
    salts: dict[str, object],
    draw: random.Random,
    share: float,
    found: dict[str, Any],
) -> None:
    walk = Walk("store-1", 0, salts.get)
    taken = {row[0] for row in rows}
    for link in links:
        first, count = link[0], link[1]
        mine = rows[first - 1 : first - 1 + count]
        rest = rows[first - 1 + count : first + count + 3]
        for place, row in enumerate(mine):
            for column, value in enumerate(row):
                for flipped in _flips(value):
                    if share < 1.0 and draw.random() >= share:
                        continue
                    if column == 0 and flipped in taken:
                        continue  # the key is unique: a store cannot hold it
                    changed = [*mine[:place], (*row[:column], flipped, *row[column + 1 :]), *mine[place + 1 :]]
                    if column == 0:
                        changed = sorted([*changed, *rest], key=lambda r: r[0])
                    found["flips"] += 1
                    finding = walk.copy().commit(link, iter(changed))
                    expected = min(row[0], flipped) if column == 0 else row[0]
                    if expected < first and finding is not None and finding.offset in {expected, first}:
                        # A record that moved before the log's beginning: it is named itself, or the gap that it left.
                        expected = finding.offset
                    _count(finding, expected, found, (row[0], _COLUMNS[column]))
        for column, value in enumerate(link):
            for flipped in _flips(value):
                if share < 1.0 and draw.random() >= share:
                    continue
                found["flips"] += 1
                changed_link = (*link[:column], flipped, *link[column + 1 :])
                finding = walk.copy().commit(changed_link, iter([*mine, *rest]))
                if finding is None and column in {3, 4}:
                    raise AssertionError("a link that was altered cannot pass")
                expected = min(first, flipped) if column == 0 else first
                _count(finding, expected, found, (first, "commit"), within=first + count - 1)
        if (wrong := walk.commit(link, iter(mine))) is not None:
            raise AssertionError(f"the log itself is bad: {wrong}")


def _flips(value: Any) -> Iterator[Any]:
    """Return a value with each of its bits turned, as a store would hold it."""
    if isinstance(value, int):
        for bit in range(63):
            yield value ^ (1 << bit)
    elif isinstance(value, str):
        data = value.encode()
        for bit in range(len(data) * 8):
            turned = _turned(data, bit)
            try:
                yield turned.decode()
            except UnicodeDecodeError:
                yield turned
    else:
        for bit in range(len(value) * 8):
            yield _turned(value, bit)


def _turned(data: bytes, bit: int) -> bytes:
    return data[: bit // 8] + bytes([data[bit // 8] ^ (1 << (bit % 8))]) + data[bit // 8 + 1 :]


def _count(finding: Any, expected: int, found: dict[str, Any], what: Any, *, within: int = 0) -> None:
    if finding is None:
        found["missed"] = [*found["missed"], f"{what} was not found"][:10]
        return
    found["detected"] += 1
    last = max(within, expected)
    if finding.offset <= expected and finding.until >= min(expected, last):
        found["exact_first_bad"] += 1
    else:
        found["missed"] = [*found["missed"], f"{what}: {finding}, expected at {expected}"][:10]


# --- edits --------------------------------------------------------------------------------------

Edit = Callable[[list[Row], list[Row], random.Random], tuple[list[Row], list[Row], int]]


def _edit(rows: list[Row], draw: random.Random, edits: int, found: dict[str, Any]) -> None:
    builder_rows, links, salts = build(len(rows), random.Random(draw.randrange(1 << 30)))
    evidence = MemoryEvidence("store-1", 0, builder_rows, links, salts)
    whole = verify_partition(evidence)
    assert whole.ok, whole.first_bad
    head = RememberedHead(whole.head_offset, whole.head_link)
    kinds: tuple[Edit, ...] = (_delete, _insert, _exchange, _double, _cut, _cut_and_write_on)
    for number in range(edits):
        changed, changed_links, expected = kinds[number % len(kinds)](list(builder_rows), list(links), draw)
        found["edits"] += 1
        verdict = verify_partition(replace(evidence, rows=changed, links=changed_links), head=head)
        _count(verdict.first_bad, expected, found, kinds[number % len(kinds)].__name__)


def _delete(rows: list[Row], links: list[Row], draw: random.Random) -> tuple[list[Row], list[Row], int]:
    place = draw.randrange(len(rows))
    del rows[place]
    return rows, links, place + 1


def _insert(rows: list[Row], links: list[Row], draw: random.Random) -> tuple[list[Row], list[Row], int]:
    """A record of somebody's own is put in, everything behind it moves up by one."""
    place = draw.randrange(len(rows))
    made = (*rows[place][:8], draw.randbytes(20), *rows[place][9:])
    moved = [(row[0] + 1, *row[1:]) for row in rows[place:]]
    return [*rows[:place], made, *moved], links, place + 1


def _exchange(rows: list[Row], links: list[Row], draw: random.Random) -> tuple[list[Row], list[Row], int]:
    a, b = sorted(draw.sample(range(len(rows)), 2))
    rows[a], rows[b] = (rows[a][0], *rows[b][1:]), (rows[b][0], *rows[a][1:])
    return rows, links, a + 1


def _double(rows: list[Row], links: list[Row], draw: random.Random) -> tuple[list[Row], list[Row], int]:
    """A record is there once more, at the end."""
    return [*rows, (len(rows) + 1, *draw.choice(rows)[1:])], links, len(rows) + 1


def _cut(rows: list[Row], links: list[Row], draw: random.Random) -> tuple[list[Row], list[Row], int]:
    """The newest commits are gone, whole: the rest is good by itself, and the head remembers more."""
    kept = links[: draw.randrange(1, len(links))]
    last = kept[-1][0] + kept[-1][1] - 1
    return rows[:last], kept, last + 1


def _cut_and_write_on(rows: list[Row], links: list[Row], draw: random.Random) -> tuple[list[Row], list[Row], int]:
    """The newest commit is gone, and another of the same size was written in its place, with true hashes."""
    first, count, epoch, _, _ = links[-1]
    rows, kept = rows[: first - 1], links[:-1]
    before = {row[1]: (row[2], row[10]) for row in rows}
    builder = LogBuilder(offset=first - 1, link=kept[-1][4], tips=before)
    batch = builder.batch(*(("run/1", draw.randbytes(12)) for _ in range(count)))
    made = [tuple(getattr(record, column) for column in _COLUMNS) for record in batch.records]
    root = batch_root([row[10] for row in made])
    link = batch_link(kept[-1][4], epoch, first, count, root)
    return [*rows, *made], [*kept, (first, count, epoch, root, link)], first + count - 1
