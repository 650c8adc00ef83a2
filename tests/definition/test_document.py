"""The reference page of the language: everything that it shows loads, or is refused as it says."""

import re
from pathlib import Path

import pytest

from kos_runtime.definition import (
    DefinitionError,
    EngineDocument,
    EngineSettings,
    WorkflowDocument,
    compile_workflow,
    load,
)

PAGE = (Path(__file__).parents[2] / "docs" / "language.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```yaml\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
PROBLEMS = re.compile(r"KOS\d{3}")


def _whole(block: str) -> str:
    """Return a block as a file: steps alone are put into a workflow."""
    if not block.startswith("steps:"):
        return block
    return "workflow:\n  id: shown\n" + "".join(f"  {line}\n" if line else "\n" for line in block.splitlines())


@pytest.mark.parametrize("number", range(len(BLOCKS)))
def test_what_the_page_shows_loads(number: int) -> None:
    document = load(_whole(BLOCKS[number]), "language.md")
    if isinstance(document, WorkflowDocument):
        compile_workflow(document)


def test_the_page_shows_every_kind_of_thing() -> None:
    assert len(BLOCKS) >= 7


def test_the_page_shows_the_defaults_of_the_configuration() -> None:
    (block,) = [block for block in BLOCKS if block.startswith("engine:")]
    document = load(block, "language.md")
    assert isinstance(document, EngineDocument)
    shown = EngineSettings.from_document({"engine": document.content["engine"]}, "page")
    assert {n: getattr(shown, n) for n in EngineSettings.__slots__ if n != "sources"} == {
        n: getattr(EngineSettings(), n) for n in EngineSettings.__slots__ if n != "sources"
    }


def test_the_refusal_that_the_page_shows_is_the_one_that_comes() -> None:
    found = re.search(r"^```yaml refused\n(.*?)^```\n\n```text\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    assert found is not None
    with pytest.raises(DefinitionError) as caught:
        load(found.group(1), "research.yaml")
    assert str(caught.value) + "\n" == found.group(2)


def test_every_code_is_in_the_pages_table() -> None:
    ranges = [(int(a), int(b or a)) for a, b in re.findall(r"^\| KOS(\d{3})(?:–KOS(\d{3}))? \|", PAGE, re.MULTILINE)]
    room = Path(__file__).parents[2] / "kos_runtime" / "definition"
    used = {int(code[3:]) for path in room.glob("*.py") for code in PROBLEMS.findall(path.read_text(encoding="utf-8"))}
    assert used
    assert [code for code in sorted(used) if not any(low <= code <= high for low, high in ranges)] == []
