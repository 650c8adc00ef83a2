"""A disk that forgets what was not synced, and tears what was being written.

What was written is seen by every process at once, as through a page cache. When the power goes, each write since the
last ``sync`` is kept, dropped or torn by chance: some of its sectors are there, the others hold zeros.
"""

from random import Random

#: What a disk writes in one piece, in bytes.
SECTOR = 512


class SimulatedDisk:
    """One file that grows. See the module."""

    def __init__(self) -> None:
        self._durable = bytearray()
        self._pending: list[bytes] = []
        #: Writes that a loss of power dropped, and tore.
        self.dropped = 0
        self.torn = 0

    def read(self) -> bytes:
        """Return what a process sees."""
        return bytes(self._durable) + b"".join(self._pending)

    def write(self, data: bytes) -> None:
        """Append; not durable yet."""
        self._pending.append(data)

    def sync(self) -> None:
        """Make durable whatever was written."""
        for data in self._pending:
            self._durable += data
        self._pending.clear()

    def truncate(self, size: int) -> None:
        """Cut off everything behind a size. Durable at once."""
        self.sync()
        del self._durable[size:]

    def lose_power(self, draw: Random) -> None:
        """Become what is found when the power is back."""
        pending, self._pending = self._pending, []
        for data in pending:
            chance = draw.random()
            if chance < 0.4:
                self._durable += data
            elif chance < 0.7:
                self.dropped += 1
                self._durable += bytes(len(data))
            else:
                self.torn += 1
                self._durable += _torn(data, draw)


def _torn(data: bytes, draw: Random) -> bytes:
    kept = bytearray(data)
    sectors = range(0, len(data), SECTOR)
    lost = draw.sample(sectors, draw.randint(1, len(sectors)))
    for sector in lost:
        end = min(sector + SECTOR, len(data))
        # Within its only sector it breaks off somewhere.
        begin = sector + (draw.randrange(end - sector) if len(sectors) == 1 else 0)
        kept[begin:end] = bytes(end - begin)
    return bytes(kept)
