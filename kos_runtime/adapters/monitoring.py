"""What followers of the log write beside it: metrics for Prometheus, and an audit trail as lines of JSON.

Both can be deleted at any time: they are made again from the log. Neither is read by anything that decides.
"""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import generate_latest
from prometheus_client.registry import Collector, CollectorRegistry

from kos_runtime.core.projection.metrics import BOUNDS, Metrics

#: In the store's folder: the text that Prometheus's node exporter takes in (``--collector.textfile``), and where that stands.
METRICS_TEXT: Final = "metrics.prom"
METRICS_STATE: Final = "metrics.json"
AUDIT: Final = "audit.jsonl"
_MODE: Final = 0o600
#: So much of a file's end is looked at first.
_TAIL: Final = 1 << 20
_HELP: Final = {
    "runs": "Runs, by how they ended; created counts each once.",
    "attempts": "Attempts of steps, by what became of them.",
    "steps": "Steps that came to something else than a completed attempt.",
}


class _Collector(Collector):
    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def collect(self) -> Iterator[Metric]:
        for what, words in _HELP.items():
            family = CounterMetricFamily(f"kos_{what}", words, labels=("workflow", "outcome"))
            for (counted, how, workflow), count in sorted(self._metrics.counts.items()):
                if counted == what:
                    family.add_metric((workflow, how), count)
            yield family
        for what in ("attempt", "run"):
            histogram = HistogramMetricFamily(f"kos_{what}_seconds", f"How long a {what} took.", labels=("workflow",))
            for (timed, workflow), durations in sorted(self._metrics.durations.items()):
                if timed == what:
                    histogram.add_metric((workflow,), _buckets(durations.counts), durations.total)
            yield histogram


def _buckets(counts: list[int]) -> list[tuple[str, float]]:
    found, below = [], 0
    for bound, count in zip([*map(str, BOUNDS), "+Inf"], counts, strict=True):
        below += count
        found.append((bound, float(below)))
    return found


def metrics_text(metrics: Metrics) -> str:
    """Write metrics in Prometheus's text format."""
    registry = CollectorRegistry()
    registry.register(_Collector(metrics))
    return generate_latest(registry).decode()


def replace_file(path: Path, text: str) -> None:
    """Write a file as a whole: a reader finds the one before or this one."""
    part = path.with_name(path.name + ".part")
    with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, _MODE), "w", encoding="utf-8") as out:
        out.write(text)
    part.replace(path)


class AuditFile:
    """The audit trail as lines of JSON, one an event, in the order of the log."""

    def __init__(self, path: Path) -> None:
        self._file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, _MODE), "r+b")
        #: Up to which offset of the log it is written.
        self.offset = self._settle()

    def _settle(self) -> int:
        """Cut off what was not written to its end, up to the last record that is whole; return its offset."""
        size = self._file.seek(0, os.SEEK_END)
        window = _TAIL
        while True:
            begin = max(size - window, 0)
            last, end = self._last_whole(begin)
            if end or not begin:
                break
            window *= 8
        self._file.seek(end)
        self._file.truncate()
        return last

    def _last_whole(self, begin: int) -> tuple[int, int]:
        """Return the offset of the last whole record behind a place in the file, and where it ends; 0 and 0 for none."""
        last, end = 0, 0
        at = self._file.seek(begin)
        if begin:
            # Somewhere in a line.
            at += len(self._file.readline())
        for line in self._file:
            at += len(line)
            try:
                said = json.loads(line)
                offset, place, of = int(said["offset"]), said["place"], said["of"]
            except (ValueError, KeyError, TypeError):
                break
            if not line.endswith(b"\n"):
                break
            if place == of:
                last, end = offset, at
        return last, end

    def write(self, lines: Sequence[Mapping[str, Any]]) -> None:
        """Write the events of whole records, durably."""
        text = "".join(json.dumps(line, ensure_ascii=False, default=str) + "\n" for line in lines)
        self._file.write(text.encode("utf-8", "surrogatepass"))
        self._file.flush()
        os.fdatasync(self._file.fileno())
        self.offset = int(lines[-1]["offset"])

    def close(self) -> None:
        self._file.close()
