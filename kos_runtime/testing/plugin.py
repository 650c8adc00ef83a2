"""A fixture for tests of one's own workflows: ``pytest_plugins = ["kos_runtime.testing.plugin"]`` in ``conftest.py``.

::

    def test_it_survives_whatever_happens(simulated):
        result = simulated("research.kos.yaml", seed=7, faults=["crash", "loss"], topic="durable agents")
        assert set(result.statuses.values()) == {"completed"}
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from kos_runtime.composition.simulating import Definition, Workshop
    from kos_runtime.definition import EngineSettings
    from kos_runtime.testing.simulation import Result


class Simulator:
    """Runs definitions in worlds of their own. Each is compiled and linked once, and what agents build is built once."""

    def __init__(self, cache_dir: str, beside: Path) -> None:
        self._cache_dir = cache_dir
        self._beside = beside
        self._definitions: dict[tuple[str, str], Definition] = {}
        self._workshop: Workshop | None = None

    def at(self, beside: Path) -> "Simulator":
        """Return the same, looking for files in another folder first."""
        other = Simulator(self._cache_dir, beside)
        other._definitions, other._workshop = self._definitions, self._made()
        return other

    def _made(self) -> "Workshop":
        from kos_runtime.composition.simulating import Workshop

        if self._workshop is None:
            self._workshop = Workshop(self._cache_dir)
        return self._workshop

    def __call__(
        self,
        file: str | Path,
        *,
        seed: int = 1,
        faults: Sequence[str] | None = (),
        at_once: int = 1,
        partitions: int = 1,
        inputs: dict[str, Any] | None = None,
        settings: "EngineSettings | None" = None,
        **more: Any,
    ) -> "Result":
        """Run a definition under a seed; fail with the line that repeats it when the oracle finds anything.

        Args:
            file: A workflow's file, beside the test or in the working directory.
            seed: All chance comes from it.
            faults: As for ``kos simulate --fault``; None: drawn from the seed.
            at_once: So many runs in one world.
            partitions: So many partitions.
            inputs: Of each run; keywords that are no arguments of this call are inputs too.
            settings: The engine's.

        Raises:
            InvalidDefinition: It cannot run here.
            AssertionError: Something that must hold did not.
        """
        from kos_runtime.testing.scenario import Scenario, checked, faults_from, one

        said = None if faults is None else faults_from(list(faults), "faults")
        scenario = checked(
            Scenario(
                str(file),
                {**(inputs or {}), **more},
                seed=seed,
                at_once=at_once,
                partitions=partitions,
                faults=said,
            )
        )
        definition = self._definition(str(file), settings)
        result = one(scenario, definition, self._made(), seed, scenario.faults_of(seed))
        if result.violations:
            repeat = replace(scenario, faults=None).command(seed, scenario.faults_of(seed))
            raise AssertionError("\n".join([*result.violations, f"repeat it:  {repeat}"]))
        return result

    def _definition(self, file: str, settings: "EngineSettings | None") -> "Definition":
        from kos_runtime.core.errors import InvalidDefinition, NotFound
        from kos_runtime.definition import WorkflowDocument, load
        from kos_runtime.testing.simulation import prepare

        beside = self._beside / file
        path = beside if beside.exists() else Path(file)
        key = (str(path.resolve()), repr(settings))
        if key not in self._definitions:
            try:
                text = path.read_bytes()
            except OSError as error:
                raise NotFound(f"{path}: {error.strerror}") from error
            document = load(text, str(path))
            if not isinstance(document, WorkflowDocument):
                raise InvalidDefinition(f"{path} is no workflow")
            self._definitions[key] = prepare(document, settings, cache_dir=self._cache_dir)
        return self._definitions[key]


@pytest.fixture(scope="session")
def kos_simulator(tmp_path_factory: pytest.TempPathFactory) -> Simulator:
    """What the whole session shares."""
    folder = tmp_path_factory.getbasetemp() / "kos-simulator"
    folder.mkdir(exist_ok=True)
    return Simulator(str(folder), Path())


@pytest.fixture
def simulated(kos_simulator: Simulator, request: pytest.FixtureRequest) -> Simulator:
    """Run workflows in worlds under a seed."""
    return kos_simulator.at(Path(request.path).parent)
