"""The score means something, and what is wrong is found by name."""

import random
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from agents import citations
from agents.models import Finding
from agents.sentences import split_text
from agents.study import study
from kos_runtime.ports.agent import ActionFailed
from tests.agents.almanac import ALMANAC_TOPICS, RAY_TOPICS
from tests.agents.desk import Desk
from tests.agents.test_summaries import parts

Corpus = tuple[Desk, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Page:
    """A summary taken apart: its sentences with their marks, and its list of sources."""

    sentences: tuple[str, ...]
    sources: tuple[str, ...]

    @classmethod
    def of(cls, summary: str) -> "Page":
        sentences, sources = parts(summary)
        return cls(tuple(sentences), tuple(sources))

    def __str__(self) -> str:
        return "\n".join(self.sentences) + f"\n\n{citations.HEAD}\n" + "\n".join(self.sources)


def bare(sentence: str) -> str:
    return re.sub(r"\s*\[\d+\]$", "", sentence)


def number(sentence: str) -> int:
    match = re.search(r"\[(\d+)\]$", sentence)
    assert match is not None
    return int(match.group(1))


def renumbered(page: Page, by: int) -> Page:
    return Page(
        tuple(f"{bare(sentence)} [{number(sentence) + by}]" for sentence in page.sentences),
        tuple(re.sub(r"^\[(\d+)\]", lambda m: f"[{int(m.group(1)) + by}]", line) for line in page.sources),
    )


def a_third_replaced(page: Page, other: Page, chance: random.Random) -> list[Page]:
    """A third of the sentences from a page on another topic: under the old marks, and with their own right ones."""
    places = chance.sample(range(len(page.sentences)), -(-len(page.sentences) // 3))
    foreign = renumbered(other, 1_000)
    kept, proper = list(page.sentences), list(page.sentences)
    for turn, place in enumerate(places):
        taken = foreign.sentences[turn % len(foreign.sentences)]
        kept[place] = f"{bare(taken)} [{number(page.sentences[place])}]"
        proper[place] = taken
    return [Page(tuple(kept), page.sources), Page(tuple(proper), page.sources + foreign.sources)]


def random_pages(desk: Desk, page: Page, others: list[Page], chance: random.Random) -> list[Page]:
    """Sentences drawn from the whole corpus: rightly cited, cited at random, not cited; and from other summaries."""
    index = desk.reviewer.index(desk.context)
    sentences: list[str] = []
    sources: list[str] = []
    while len(sentences) < len(page.sentences):
        row = index._rows("SELECT path, line, text FROM passages WHERE id = ?", (chance.randint(1, index.size),))[0]
        found = [sentence for sentence in split_text(row[2]) if sentence.endswith((".", "!"))]
        if found:
            sentences.append(chance.choice(found))
            sources.append(f"[{len(sources) + 1}] {row[0]}:{row[1]}")
    foreign = [bare(sentence) for other in others for sentence in other.sentences]
    drawn = chance.sample(foreign, min(len(page.sentences), len(foreign)))
    return [
        Page(tuple(f"{text} [{place}]" for place, text in enumerate(sentences, 1)), tuple(sources)),
        Page(tuple(f"{text} [{chance.randint(1, len(page.sources))}]" for text in sentences), page.sources),
        Page(tuple(sentences), page.sources),
        Page(tuple(f"{text} [1]" for text in drawn), page.sources),
    ]


def test_as_written_beats_a_third_replaced_beats_random_beats_empty_for_every_topic(corpus: Corpus) -> None:
    desk, topics = corpus
    chance = random.Random(20)
    pages = {topic: Page.of(desk.research(topic)) for topic in topics}
    for topic in topics:
        written, replaced, at_random, empty = scores(desk, topic, pages, chance)
        assert written > max(replaced), topic
        assert min(replaced) > max(at_random), topic
        assert min(at_random) > empty == 0.0, topic
        assert 0.5 < written <= 1.0, topic


def scores(
    desk: Desk, topic: str, pages: dict[str, Page], chance: random.Random
) -> tuple[float, list[float], list[float], float]:
    """Return the scores as written, with a third replaced, of random sentences, and of nothing."""
    page = pages[topic]
    others = [other for name, other in pages.items() if name != topic]

    def score(made: object) -> float:
        return desk.review(str(made), topic).score

    replaced = [score(made) for other in chance.sample(others, 6) for made in a_third_replaced(page, other, chance)]
    at_random = [score(made) for _ in range(3) for made in random_pages(desk, page, others, chance)]
    return score(page), replaced, at_random, score("")


def test_a_corpus_on_other_matters_is_said_to_have_nothing_or_hardly_anything_on_a_topic(foreign_desk: Desk) -> None:
    refused, thin = [], []
    for topic in (*ALMANAC_TOPICS, *RAY_TOPICS):
        if study(foreign_desk.planner.index(foreign_desk.context), topic).is_empty:
            with pytest.raises(ActionFailed, match=r"has nothing about .*; it does not have"):
                foreign_desk.plan(topic)
            refused.append(topic)
            continue
        plan = foreign_desk.plan(topic)
        assert "python:hypothesis hardly speaks of" in plan.note
        review = foreign_desk.review(foreign_desk.summarize(foreign_desk.gather(plan)), topic)
        assert only(review.findings, "thin_corpus").message == plan.note
        thin.append(topic)
    assert {"honeybee colony", "chess endgames", "autoscaling a cluster"} <= set(refused)
    assert {"fault tolerance of actors", "printing with movable type"} <= set(thin)


def test_what_a_corpus_speaks_of_is_not_said_to_be_thin(corpus: Corpus) -> None:
    desk, topics = corpus
    for topic in topics:
        assert desk.plan(topic).note == ""


def test_a_corpus_that_lacks_a_word_of_the_topic_says_which(folder_desk: Desk) -> None:
    plan = folder_desk.plan("tides of zymurgy")
    assert "hardly speaks of 'tides of zymurgy': its best passage has" in plan.note
    assert "it does not have 'zymurgy'" in plan.note


def test_a_summary_as_written_has_no_finding_against_a_sentence(corpus: Corpus) -> None:
    desk, topics = corpus
    for topic in topics:
        found = [finding for finding in desk.review(desk.research(topic), topic).findings if finding.sentence]
        assert [finding for finding in found if finding.check != "off_topic"] == []
        assert len(found) <= 1, found


def test_a_changed_citation_is_found_by_number_text_and_place_for_every_sentence(corpus: Corpus) -> None:
    desk, topics = corpus
    for topic in topics:
        page = Page.of(desk.research(topic))
        before = desk.review(str(page), topic).score
        for place, sentence in enumerate(page.sentences):
            right = number(sentence)
            wrong = right % len(page.sources) + 1
            if wrong == right:
                continue
            changed = list(page.sentences)
            changed[place] = f"{bare(sentence)} [{wrong}]"
            review = desk.review(str(Page(tuple(changed), page.sources)), topic)
            finding = only(review.findings, "citation")
            assert finding.sentence == place + 1
            assert finding.text == bare(sentence)
            assert finding.message.startswith(f"sentence {place + 1} “{bare(sentence)[:40]}")
            cited, actual = (page.sources[at - 1].split(" — ")[0] for at in (wrong, right))
            assert f"it cites {cited}, but it stands in {actual}" in finding.message
            assert review.score < before


def only(findings: list[Finding], check: str) -> Finding:
    found = [finding for finding in findings if finding.check == check]
    assert len(found) == 1, findings
    return found[0]


@pytest.fixture
def tides(folder_desk: Desk) -> Page:
    return Page.of(folder_desk.research("ocean tides"))


Change = Callable[[Page], Page]


@pytest.mark.parametrize(
    ("check", "change", "says"),
    [
        (
            "uncited",
            lambda p: Page((bare(p.sentences[0]), *p.sentences[1:]), p.sources),
            "cites no source; it stands in [1]",
        ),
        (
            "citation",
            lambda p: Page((f"{bare(p.sentences[0])} [77]", *p.sentences[1:]), p.sources),
            "[77], which is not in the list",
        ),
        (
            "untraceable",
            lambda p: Page(("The tides are made by whales that breathe together. [1]", *p.sentences[1:]), p.sources),
            "it stands nowhere in the corpus",
        ),
        (
            "untraceable",
            lambda p: Page((p.sentences[0].replace("slow", "sudden"), *p.sentences[1:]), p.sources),
            "it stands nowhere in the corpus",
        ),
        (
            "duplicate_source",
            lambda p: Page(p.sentences, (*p.sources, p.sources[0].replace("[1]", "[50]"))),
            "as [1] and [50]",
        ),
        ("duplicate_source", lambda p: Page(p.sentences, (*p.sources, p.sources[0])), "the number [1] is listed twice"),
        (
            "unused_source",
            lambda p: Page(p.sentences, (*p.sources, "[50] nature/glaciers.md:3")),
            "no sentence cites it",
        ),
        (
            "unknown_source",
            lambda p: Page(p.sentences, (*p.sources, "[50] nature/unicorns.md:3")),
            "is not in the corpus",
        ),
        ("repeated", lambda p: Page((*p.sentences, p.sentences[0]), p.sources), "it says what sentence 1 says"),
    ],
)
def test_what_is_wrong_is_found_and_costs_something(
    folder_desk: Desk, tides: Page, check: str, change: Change, says: str
) -> None:
    before = folder_desk.review(str(tides), "ocean tides")
    after = folder_desk.review(str(change(tides)), "ocean tides")
    assert says in only(after.findings, check).message
    assert check not in [finding.check for finding in before.findings]
    if check not in {"unused_source", "unknown_source"}:
        assert after.score < before.score


def test_words_of_the_topic_that_are_not_spoken_of_are_named(folder_desk: Desk, tides: Page) -> None:
    review = folder_desk.review(str(tides), "ocean tides and zymurgy")
    assert "'zymurgy'" in only(review.findings, "coverage").message


def test_a_sentence_from_elsewhere_in_the_corpus_is_said_to_be_off_the_topic(folder_desk: Desk, tides: Page) -> None:
    other = renumbered(Page.of(folder_desk.research("chess endgames")), 100)
    made = Page((*tides.sentences, other.sentences[0]), tides.sources + other.sources)
    finding = only(folder_desk.review(str(made), "ocean tides").findings, "off_topic")
    assert finding.sentence == len(made.sentences)


@pytest.mark.parametrize("shape", [lambda text: text, lambda text: {"mime": "text/markdown", "text": text}])
def test_a_document_may_be_a_text_or_an_object_and_is_handed_on_as_it_came(
    folder_desk: Desk, tides: Page, shape: Callable[[str], Any]
) -> None:
    document = shape(str(tides))
    review = folder_desk.review(document, "ocean tides")
    assert review.summary == document
    assert review.parts["traced"] == 1.0


def test_layout_does_not_matter(folder_desk: Desk, tides: Page) -> None:
    flowing = (
        "# Tides\n\n" + " ".join(tides.sentences) + "\n\n## Sources\n\n" + "\n".join(f"- {s}" for s in tides.sources)
    )
    moved = (
        "\n".join(f"{bare(s)[:-1]} [{number(s)}]." for s in tides.sentences)
        + "\n\nSources:\n"
        + "\n".join(tides.sources)
    )
    expected = folder_desk.review(str(tides), "ocean tides").score
    assert folder_desk.review(flowing, "ocean tides").score == expected
    assert folder_desk.review(moved, "ocean tides").score == expected


@pytest.mark.parametrize(
    "document",
    [
        "",
        "   \n\n",
        "[1] [2]",
        "Sources:",
        None,
        7,
        [],
        {},
        {"text": None},
        {"mime": "text/plain"},
        "\x00",
        "# only a title",
    ],
)
def test_what_holds_no_sentence_scores_nothing_and_says_so(folder_desk: Desk, document: Any) -> None:
    review = folder_desk.review(document, "ocean tides")
    assert review.score == 0.0
    assert only(review.findings, "empty").message == "the summary has no sentence"


@pytest.mark.parametrize("topic", ["", "zymurgy", '" OR *', "\x00"])
def test_a_topic_that_says_nothing_still_lets_citations_be_checked(folder_desk: Desk, tides: Page, topic: str) -> None:
    review = folder_desk.review(str(tides), topic)
    assert review.parts["traced"] == 1.0
    assert 0 <= review.score <= 1


@pytest.mark.parametrize(
    "text",
    [
        "word " * 200_000,
        "[1]" * 20_000,
        "A sentence. [1] " * 3_000,
        "[" * 50_000,
        "\n".join(f"[{n}] a:{n}" for n in range(3_000)),
        'He said "it" OR 1=1; -- [1]\n\nSources:\n[1] " OR ":3',
    ],
)
def test_a_hostile_document_is_reviewed_like_any_other(folder_desk: Desk, text: str) -> None:
    assert 0 <= folder_desk.review(text, "ocean tides").score < 0.1
