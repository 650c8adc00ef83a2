"""What the entry points of ``kos_runtime.machines`` name: each protocol with the invariants by which a host checks it."""

from typing import Final

from coordination.authority import Authorities
from coordination.ballot_box import BallotBox
from coordination.consensus import ConsensusPeer
from coordination.invariants import assignment, authority, ballots, consensus, load
from coordination.load import Balancer
from coordination.tasks import Assigning
from kos_runtime.core.machine import Registered

CONSENSUS: Final = Registered(ConsensusPeer(), consensus.INVARIANTS)
BALLOTS: Final = Registered(BallotBox(), ballots.INVARIANTS)
ASSIGNMENT: Final = Registered(Assigning(), assignment.INVARIANTS)
LOAD: Final = Registered(Balancer(), load.INVARIANTS)
AUTHORITY: Final = Registered(Authorities(), authority.INVARIANTS)
