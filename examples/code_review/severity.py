"""How grave something is, and whose word counts for more."""

from typing import Final

#: From mild to grave.
SEVERITIES: Final = ("waived", "note", "warning", "error")
#: What ran knows more than what was proven, and that more than what looks wrong; the author comes last.
RANKS: Final = {"pytest": 3, "mypy": 2, "ruff": 1, "owner": 0}
