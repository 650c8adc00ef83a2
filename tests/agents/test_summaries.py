"""A summary is made of sentences that can be looked up."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from agents import citations
from agents.material import passages_of
from agents.models import Source
from agents.sentences import is_readable, split
from agents.text import normal
from kos_runtime.core.failure import ErrorType
from kos_runtime.ports.agent import ActionFailed
from tests.agents.desk import Desk

Corpus = tuple[Desk, tuple[str, ...]]


def parts(summary: str) -> tuple[list[str], list[str]]:
    """Return the lines before and after the head of the list of sources."""
    body, _, tail = summary.partition(f"\n\n{citations.HEAD}\n")
    return [line for line in body.splitlines() if line], tail.splitlines()


def test_each_sentence_ends_in_its_citation_and_the_list_of_sources_follows(corpus: Corpus) -> None:
    desk, topics = corpus
    for topic in topics:
        sentences, sources = parts(desk.research(topic))
        assert len(sentences) >= 4, topic
        cited = [int(match.group(1)) for line in sentences if (match := re.search(r"[.!] \[(\d+)\]$", line))]
        assert len(cited) == len(sentences)
        listed = [int(match.group(1)) for line in sources if (match := re.match(r"\[(\d+)\] \S.*:\d+", line))]
        assert listed == list(range(1, len(sources) + 1))
        assert list(dict.fromkeys(cited)) == listed


def test_each_sentence_stands_word_for_word_in_the_passage_it_cites_and_in_no_other(corpus: Corpus) -> None:
    desk, topics = corpus
    index = desk.reviewer.index(desk.context)
    for topic in topics:
        document = citations.read(desk.research(topic, "deep"))
        texts = {}
        for entry in document.entries:
            passage = index.at(entry.path, entry.line)
            assert passage is not None, entry
            texts[entry.number] = normal(passage.text)
        assert len({entry.id for entry in document.entries}) == len(document.entries)
        for sentence in document.sentences:
            holding = tuple(number for number, text in texts.items() if normal(sentence.text) in text)
            assert holding == sentence.cites, sentence


def test_sentences_are_readable_and_not_repeated(corpus: Corpus) -> None:
    desk, topics = corpus
    for topic in topics:
        sentences = [sentence.text for sentence in citations.read(desk.research(topic)).sentences]
        assert len({normal(sentence) for sentence in sentences}) == len(sentences)
        for sentence in sentences:
            assert is_readable(sentence), sentence
            assert split(sentence) == [sentence]


def test_a_deep_summary_is_longer_than_a_shallow_one(corpus: Corpus) -> None:
    desk, topics = corpus
    lengths = {
        depth: sum(len(parts(desk.research(topic, depth))[0]) for topic in topics) for depth in ("shallow", "deep")
    }
    assert lengths["deep"] > lengths["shallow"] * 1.3


def test_the_name_of_the_templates_does_the_same_work(folder_desk: Desk) -> None:
    found = folder_desk.gather(folder_desk.plan("ocean tides")).model_dump()
    made = folder_desk.reviewer.create_summary(folder_desk.context, found["data"], found["sources"])
    assert made.summary == folder_desk.research("ocean tides")


def test_nothing_found_is_nothing_to_summarize(folder_desk: Desk) -> None:
    with pytest.raises(ActionFailed, match="no passage was found") as caught:
        folder_desk.reviewer.synthesize_findings(folder_desk.context, [], [])
    assert caught.value.kind is ErrorType.PERMANENT


def test_passages_without_a_sentence_are_nothing_to_quote(folder_desk: Desk) -> None:
    with pytest.raises(ActionFailed, match="none of the 2 passages has a sentence"):
        folder_desk.reviewer.synthesize_findings(folder_desk.context, ["x = 1", "{}"], [])


def test_what_a_person_entered_is_summarized_and_can_be_checked(folder_desk: Desk) -> None:
    data = [
        "The old harbour was dredged twice in the last century because sand drifts in with every winter storm.",
        {
            "text": "Ferries leave the harbour on every weekday as soon as the pilot has come on board.",
            "source": "diary:12",
        },
    ]
    summary = folder_desk.reviewer.synthesize_findings(folder_desk.context, data, ["letters", "diary"]).summary
    assert "[1] letters" in summary
    assert "[2] diary:12" in summary
    checked = folder_desk.reviewer.validate_summary(folder_desk.context, summary, "harbour", data, ["letters", "diary"])
    unchecked = folder_desk.reviewer.validate_summary(folder_desk.context, summary, "harbour")
    assert checked.parts["traced"] == 1.0
    assert unchecked.parts["traced"] == 0.0


def test_data_that_is_no_passage_is_refused_by_its_place(folder_desk: Desk) -> None:
    with pytest.raises(ActionFailed, match=r"data\[1\] is no passage") as caught:
        folder_desk.reviewer.synthesize_findings(folder_desk.context, ["fine", 7], [])
    assert caught.value.kind is ErrorType.VALIDATION
    assert caught.value.recoverable is False


def test_sources_of_strange_shapes_do_not_hinder() -> None:
    found = passages_of([{"text": "a", "source": "x:1"}, {"text": "b"}], [None, {"no": "id"}, 3])
    assert [source.id for _, source in found] == ["x:1", "data[1]"]


@pytest.mark.parametrize("name", ["notes: part 1 — draft.md", "a b:7:x.txt", "[3] odd.md"])
def test_a_document_is_read_as_it_was_written_whatever_its_files_are_called(name: str) -> None:
    source = Source(id=f"{name}:12", path=name, line=12, heading="On Things")
    document = citations.read(
        citations.write([[("A sentence that stands here.", source)], [("And one more here!", source)]])
    )
    assert [(s.text, s.cites) for s in document.sentences] == [
        ("A sentence that stands here.", (1,)),
        ("And one more here!", (1,)),
    ]
    assert [(entry.path, entry.line) for entry in document.entries] == [(name, 12)]


_SCRIPT = """
import sys
from tests.agents.desk import Desk
desk = Desk(sys.argv[1], sys.argv[2])
plan = desk.plan("ocean tides", "deep")
print(plan.model_dump_json())
summary = desk.summarize(desk.gather(plan))
print(summary)
print(desk.review(summary, "ocean tides").model_dump_json())
"""


def test_the_same_corpus_and_topic_give_the_same_bytes_in_every_process(almanac: Path, tmp_path: Path) -> None:
    outputs = set()
    for seed in ("1", "77"):
        environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(Path(__file__).parents[2])}
        command = [sys.executable, "-c", _SCRIPT, str(almanac), str(tmp_path / seed)]
        outputs.add(subprocess.run(command, env=environment, capture_output=True, check=True).stdout)
    assert len(outputs) == 1
