"""The two corpora that the agents are tried on, with ten topics each."""

import shutil
from pathlib import Path
from typing import Final

from tests.agents.pdf_writer import pdf_of

SHIPPED: Final = Path(__file__).parent / "corpora"

ALMANAC_TOPICS: Final = (
    "honeybee colony",
    "ocean tides",
    "glacier ice",
    "lighthouse optics",
    "sourdough bread",
    "bicycle gears",
    "printing with movable type",
    "coffee roasting",
    "chess endgames",
    "stages of sleep",
)
RAY_TOPICS: Final = (
    "fault tolerance of actors",
    "placement groups",
    "object store memory and spilling",
    "autoscaling a cluster",
    "serving models with deployments",
    "hyperparameter tuning schedulers",
    "reading parquet files into a dataset",
    "runtime environment dependencies",
    "checkpointing a training run",
    "logging and metrics",
)


def lay_out(folder: Path) -> Path:
    """Put the almanac into a folder: text, Markdown, HTML, Python source and one PDF; return where it is."""
    root = folder / "almanac"
    shutil.copytree(SHIPPED / "almanac", root)
    (root / "nature" / "sleep.pdf").write_bytes(pdf_of((SHIPPED / "sleep.txt").read_text()))
    return root
