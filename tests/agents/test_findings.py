"""Passages are found in real files, with the place where they stand."""

from pathlib import Path

import pytest

from agents.executor import kExecutor
from agents.models import Findings, Question
from agents.text import words
from kos_runtime.core.failure import ErrorType
from kos_runtime.ports.agent import ActionFailed
from tests.agents.desk import Desk, DeskContext

Corpus = tuple[Desk, tuple[str, ...]]


def test_a_passage_begins_at_the_line_of_its_source(folder_desk: Desk, almanac: Path) -> None:
    checked = 0
    for topic in ("honeybee colony", "ocean tides", "lighthouse optics", "bicycle gears", "coffee roasting"):
        for passage in folder_desk.gather(folder_desk.plan(topic, "deep")).data:
            lines = (almanac / passage.path).read_text().splitlines()
            beginning = words(" ".join(lines[passage.line - 1 : passage.line + 2]))
            assert passage.text.split()[0].lower().strip(".,:") in beginning, passage
            assert passage.source == f"{passage.path}:{passage.line}"
            checked += 1
    assert checked > 20


def test_every_kind_of_file_is_found_in(folder_desk: Desk) -> None:
    found = {
        source.path.rsplit(".")[-1]
        for topic in ("honeybee colony", "ocean tides", "lighthouse optics", "bicycle gears", "stages of sleep")
        for source in folder_desk.gather(folder_desk.plan(topic)).sources
    }
    assert found >= {"md", "txt", "html", "py", "pdf"}


def test_what_is_no_text_of_a_page_is_not_found(folder_desk: Desk) -> None:
    index = folder_desk.executor.index(folder_desk.context)
    for hidden in ("never shown", "hydration", "int beam", "climb 0 8", "return 48", "draft false"):
        assert index.count_phrase(hidden) == 0, hidden
    assert index.count_phrase("constituents measured by a gauge") == 1


def test_parts_of_a_plan_find_together_what_the_whole_finds(corpus: Corpus) -> None:
    desk, topics = corpus
    for topic in topics[:4]:
        plan = desk.plan(topic, "deep")
        whole = desk.gather(plan)
        data, sources = [], []
        for question in plan.plan:
            part = desk.executor.execute_research_plan(desk.context, [question])
            data += part.data
            sources += part.sources
        assert data == whole.data
        assert list({source.id: source for source in sources}.values()) == whole.sources


def test_no_source_comes_twice(corpus: Corpus) -> None:
    desk, topics = corpus
    for topic in topics:
        ids = [source.id for source in desk.gather(desk.plan(topic, "deep")).sources]
        assert len(ids) == len(set(ids))


def test_the_plan_may_be_written_by_hand(folder_desk: Desk) -> None:
    found = folder_desk.executor.execute_research_plan(
        folder_desk.context,
        ["How does a forager tell the direction of flowers?", Question(question="spring tides", want=1)],
    )
    assert found.data[0].path == "nature/honeybees.md"
    assert [passage.path for passage in found.data if passage.about == "spring tides"] == ["nature/tides.txt"]


def test_a_question_that_finds_nothing_adds_nothing(folder_desk: Desk) -> None:
    assert folder_desk.executor.execute_research(folder_desk.context, ["zymurgy"]) == Findings(data=[], sources=[])
    assert folder_desk.executor.execute_research(folder_desk.context, []) == Findings(data=[], sources=[])


def test_a_cancelled_attempt_stops_between_questions(folder_desk: Desk) -> None:
    context = DeskContext(folder_desk.context.cache_dir, cancelled=True)
    assert folder_desk.executor.execute_research_plan(context, ["ocean tides"]).data == []


def test_a_corpus_that_changed_after_it_was_linked_is_refused(tmp_path: Path) -> None:
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    (corpus / "one.txt").write_text("Owls hunt at night and hear a mouse beneath the snow.")
    executor = kExecutor(kExecutor.link_settings({"corpus": str(corpus)}, ""))
    (corpus / "one.txt").write_text("Owls sleep.")
    with pytest.raises(ActionFailed, match="has changed since the run was linked") as caught:
        executor.execute_research_plan(DeskContext(str(tmp_path / "cache")), ["owls"])
    assert caught.value.kind is ErrorType.PERMANENT


def test_a_corpus_that_changed_after_it_was_indexed_is_still_what_the_run_saw(tmp_path: Path) -> None:
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    (corpus / "one.txt").write_text("Owls hunt at night and hear a mouse beneath the snow.")
    executor = kExecutor(kExecutor.link_settings({"corpus": str(corpus)}, ""))
    context = DeskContext(str(tmp_path / "cache"))
    before = executor.execute_research_plan(context, ["owls"])
    (corpus / "one.txt").unlink()
    assert executor.execute_research_plan(context, ["owls"]) == before
    assert before.data[0].text.startswith("Owls hunt")


def test_a_cache_that_cannot_be_written_is_a_failure_of_resources(tmp_path: Path, almanac: Path) -> None:
    (tmp_path / "corpus").write_text("a file where the folder should be")
    executor = kExecutor(kExecutor.link_settings({"corpus": str(almanac)}, ""))
    with pytest.raises(ActionFailed, match="cannot be kept in") as caught:
        executor.execute_research_plan(DeskContext(str(tmp_path)), ["tides"])
    assert caught.value.kind is ErrorType.RESOURCE
