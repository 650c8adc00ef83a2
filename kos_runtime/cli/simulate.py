"""``kos simulate``: a workflow in a world under one seed, where everything goes wrong, without Ray and without waiting."""

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from kos_runtime.cli.common import Common, Typed, flag
from kos_runtime.cli.outcome import BY_STATUS, FAILED, OK, USAGE, Exit
from kos_runtime.cli.run import _inputs

#: So many failing seeds are told one by one.
_TOLD = 5


def simulate(
    file: Annotated[str, Typed],
    /,
    *,
    p: Annotated[list[str] | None, Parameter(name=["--param", "-p"], consume_multiple=False, negative="")] = None,
    inputs_file: Annotated[str | None, Parameter(name=["--inputs", "-f"])] = None,
    seed: int | None = None,
    runs: int | None = None,
    fault: Annotated[list[str] | None, Parameter(name="--fault", consume_multiple=False, negative="")] = None,
    at_once: int | None = None,
    partitions: int | None = None,
    shrink: Annotated[bool, flag("--shrink")] = False,
    trace: Annotated[bool, flag("--trace")] = False,
    plot: str | None = None,
    common: Common | None = None,
) -> int:
    """Run a workflow in a simulated world, and check everything that it wrote.

    Args:
        file: A definition, FILE#TEMPLATE for a template, or the file of a scenario.
        p: An input, NAME=VALUE; the value is read as JSON where it is some, else as text.
        inputs_file: A YAML or JSON file of inputs; - for standard input.
        seed: All chance comes from it; 1 unless given. The same seed is the same run.
        runs: So many seeds, from that one on. More than one, and faults are drawn for each unless --fault is given.
        fault: What goes wrong: a kind, KIND=RATE, all, none, or STEP:KIND@ATTEMPT.
        at_once: So many runs in each world.
        partitions: So many partitions in each world.
        shrink: Make the first failing case as small as it can be.
        trace: Print what happened in the world, line by line.
        plot: Draw it into this file, as SVG: one seed as work over time, several as numbers over seeds.
    """
    from kos_runtime.testing.scenario import checked, faults_from

    common = common or Common()
    scenario, document = _scenario(file)
    inputs = {**scenario.inputs, **_inputs(p or [], inputs_file, document)}
    changes: dict[str, Any] = {
        name: value
        for name, value in (("seed", seed), ("runs", runs), ("at_once", at_once), ("partitions", partitions))
        if value is not None
    }
    scenario = replace(scenario, inputs=inputs, **changes)
    if fault:
        scenario = replace(scenario, faults=faults_from(fault, "--fault"))
    elif scenario.runs > 1 and not scenario.faults:
        scenario = replace(scenario, faults=None)
    scenario = checked(scenario)
    if trace and scenario.runs > 1:
        raise Exit(USAGE, "error: --trace is for one seed; leave out --runs")
    picture = _picture(plot) if plot is not None else None
    return _Simulating(common, scenario, document, shrink=shrink, trace=trace, plot=picture).run(file)


def _picture(plot: str) -> Path:
    """Return the file for a picture; it is refused before anything is simulated."""
    path = Path(plot)
    if path.suffix.lower() != ".svg":
        raise Exit(USAGE, f"error: --plot draws SVG; write a name such as {path.with_suffix('.svg').name}")
    if not path.parent.is_dir():
        raise Exit(USAGE, f"error: --plot: there is no folder {path.parent}")
    return path


def _scenario(file: str) -> tuple[Any, Any]:
    """Return the scenario that a file is or stands for, and the workflow of it."""
    from kos_runtime.client.engine import read_definition, read_file
    from kos_runtime.testing.scenario import Scenario, is_scenario, read_scenario

    if "#" not in file and file != "-" and is_scenario(read_file(file), file):
        scenario = read_scenario(Path(file))
        return scenario, read_definition(scenario.workflow)
    return Scenario(file), read_definition(file)


class _Simulating:
    """One command."""

    def __init__(
        self, common: Common, scenario: Any, document: Any, *, shrink: bool, trace: bool, plot: Path | None
    ) -> None:
        self.common, self.scenario, self.document, self.shrink, self.trace = common, scenario, document, shrink, trace
        self.plot = plot

    def run(self, file: str) -> int:
        import tempfile

        from kos_runtime.composition.location import find_store
        from kos_runtime.composition.simulating import Workshop

        common = self.common
        store = find_store(common.store)
        with tempfile.TemporaryDirectory(prefix="kos-simulate-") as folder:
            # What agents build once is taken from the store where there is one, else built once for all seeds.
            cache = store / "cache" if (store / "cache").is_dir() else Path(folder)
            definition = self._prepared(str(cache), file)
            return self._all(definition, Workshop(str(cache)))

    def _prepared(self, cache: str, file: str) -> Any:
        from kos_runtime.composition.catalogue import catalogue_of
        from kos_runtime.core.errors import InvalidDefinition
        from kos_runtime.core.plan.types import complete_inputs
        from kos_runtime.testing.simulation import prepare

        catalogue = catalogue_of(self.document, self.common.catalogue_folder)
        definition = prepare(self.document, self.common.settings(), catalogue=catalogue, cache_dir=cache)
        _, wrong = complete_inputs(definition.plan, self.scenario.inputs)
        if wrong:
            listed = "\n".join(f"  - {text}" for text in wrong)
            shown = " ".join(f"-p {spec.name}=…" for spec in definition.plan.inputs if spec.required)
            raise InvalidDefinition(
                f"workflow {definition.plan.workflow!r} cannot start:\n{listed}\n  write for example: kos simulate {file} {shown}".rstrip()
            )
        return definition

    def _all(self, definition: Any, workshop: Any) -> int:
        from kos_runtime.testing.scenario import worlds

        rows: list[dict[str, Any]] = []
        failed: list[Any] = []
        sometimes: Counter[str] = Counter()
        for result in worlds(self.scenario, definition, workshop, keep=self.trace):
            rows.append(self._row(result))
            sometimes.update(result.sometimes)
            if self.trace:
                print("".join(result.trace), end="")
            if result.violations:
                failed.append(result)
        single = self.scenario.runs == 1
        if self.plot is not None:
            self._draw(self.plot, result, rows)
        if self.common.is_data:
            self.common.emit(rows, {}, one=single, name="trace_hash")
        elif single:
            self._tell(rows[0])
        else:
            self._sum_up(rows, sometimes)
        for result in failed[:_TOLD]:
            self._tell_failed(result)
        if failed and self.shrink:
            self._shrink(definition, workshop, failed[0])
        if failed:
            return FAILED
        return BY_STATUS.get(str(rows[0]["status"]), OK) if single else OK

    def _draw(self, path: Path, last: Any, rows: list[dict[str, Any]]) -> None:
        from kos_runtime.testing import plot

        name, first = Path(self.scenario.workflow).name, rows[0]["seed"]
        if len(rows) == 1:
            svg = plot.world(last, f"{name}, seed {first}: {rows[0]['status']}")
        else:
            svg = plot.seeds(rows, f"{name}, {len(rows)} seeds from {first} on")
        try:
            plot.save(svg, path)
        except OSError as error:
            raise Exit(FAILED, f"error: {path}: {error.strerror}") from error
        self.common.say(f"drawn into {path}")

    def _row(self, result: Any) -> dict[str, Any]:
        statuses = sorted(set(result.statuses.values()))
        return {
            "seed": result.seed,
            "status": statuses[0] if len(statuses) == 1 else "mixed",
            "trace_hash": result.trace_hash,
            "runs": result.statuses,
            "errors": result.errors,
            "faults": result.faults,
            "happened": dict(sorted(result.sometimes.items())),
            "violations": result.violations,
            "findings": [str(found) for found in result.findings],
            "metrics": result.metrics.as_dict(),
        }

    # --- for people

    def _tell(self, row: dict[str, Any]) -> None:
        from kos_runtime.testing.metrics import COLUMNS, told

        mark = "✔" if not row["violations"] and row["status"] == "completed" else "✘"
        metrics = row["metrics"]
        print(
            f"{mark} {row['status']}   virtual time {metrics['virtual_ms'] / 1_000:.1f} s   seed {row['seed']}   trace {row['trace_hash'][:16]}"
        )
        for run, error in row["errors"].items():
            print(f"  {run}: {error}")
        shown = {name: told(name, metrics[name]) for name in COLUMNS}
        self.common.emit([shown], {name: heading for name, (heading, _) in COLUMNS.items()})
        self._tell_happened(Counter(row["happened"]))
        for finding in row["findings"]:
            print(f"finding: {finding}")
        if self.scenario.faults is not None and not self.scenario.faults:
            self.common.say("Nothing went wrong. Try random faults: --runs 200; or some: --fault crash --fault loss")

    def _tell_happened(self, happened: Counter[str]) -> None:
        if happened:
            self.common.emit(
                [{"what": what, "times": times} for what, times in happened.most_common()],
                {"what": "HAPPENED", "times": "TIMES"},
            )

    def _sum_up(self, rows: list[dict[str, Any]], sometimes: Counter[str]) -> None:
        from kos_runtime.testing.metrics import COLUMNS, spread, told

        statuses = Counter(status for row in rows for status in row["runs"].values())
        bad = sum(bool(row["violations"]) for row in rows)
        mark = "✘" if bad else "✔"
        ends = ", ".join(f"{count} {status}" for status, count in statuses.most_common())
        print(f"{mark} {len(rows)} worlds: {ends}; {bad} with violations")
        table = []
        for name, (heading, _) in COLUMNS.items():
            least, median, most = spread([row["metrics"][name] for row in rows])
            numbers = {"least": told(name, least), "median": told(name, median), "p95": told(name, most)}
            table.append({"what": heading.lower(), **numbers})
        self.common.emit(table, {"what": "METRIC", "least": "LEAST", "median": "MEDIAN", "p95": "P95"})
        self._tell_happened(sometimes)
        findings = Counter(finding.split(": ")[1] for row in rows for finding in row["findings"])
        for kind, count in findings.most_common():
            print(f"finding: {kind}, {count} times")

    def _tell_failed(self, result: Any) -> None:
        from kos_runtime.simulator.faults import Faults

        for text in result.violations[:_TOLD]:
            self.common.say(f"✘ seed {result.seed}: {text}")
        self.common.say(f"  repeat it:  {self._command(self.scenario, result.seed, Faults.parse(result.faults))}")

    def _command(self, scenario: Any, seed: int, faults: Any) -> str:
        """Return the line that repeats one world, with its inputs."""
        import json
        import shlex

        inputs = [f"-p {shlex.quote(f'{name}={json.dumps(value)}')}" for name, value in scenario.inputs.items()]
        return " ".join([scenario.command(seed, faults), *inputs])

    def _shrink(self, definition: Any, workshop: Any, failed: Any) -> None:
        from kos_runtime.testing.scenario import shrink

        smaller, faults, result = shrink(self.scenario, definition, workshop, failed, self.common.say)
        self.common.say(f"smallest: {'; '.join(result.violations[:1])}")
        self.common.say(f"  repeat it:  {self._command(smaller, result.seed, faults)}")
