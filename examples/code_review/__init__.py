"""The agents of ``code-review.yaml``: they look at a repository, run its tools, settle what these disagree about, and judge.

kos run examples/code-review.yaml -p repository=path/to/yours
"""

from .arbiter import Arbiter
from .inspector import Inspector
from .reviewer import Reviewer
from .surveyor import Surveyor

__all__ = ["Arbiter", "Inspector", "Reviewer", "Surveyor"]
