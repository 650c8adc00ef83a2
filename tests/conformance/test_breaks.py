"""The lines by which rows 3 to 14 are broken on purpose stand where they are looked for, three or more for each row."""

import re
from collections import Counter

import pytest

from tests.conformance.breaks import BREAKS, HERE, Break


@pytest.mark.parametrize("broken", BREAKS, ids=lambda broken: f"{broken.row}-{broken.says}")
def test_its_line_stands_once_and_the_change_compiles(broken: Break) -> None:
    compile(broken.mutant().source(), broken.module, "exec")


def test_each_row_has_three() -> None:
    rows = Counter(broken.row for broken in BREAKS)
    assert set(rows) == set(range(3, 15))
    assert min(rows.values()) >= 3
    for row in (1, 2, 15, 16, 17, 18):
        (file,) = HERE.glob(f"test_{row:02}_*.py")
        assert re.search(r"\bBreak\b|monkeypatch", file.read_text()), f"nobody breaks row {row}"
