from pathlib import Path

from kos_runtime.testing.store_contract import EventStoreContract
from tests.adapters.store_worlds import SqliteWorld


class TestSqliteEventStore(EventStoreContract):
    def world(self, folder: Path) -> SqliteWorld:
        return SqliteWorld(folder)
