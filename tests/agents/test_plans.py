"""A plan is made of sub-questions in the corpus's own words."""

from itertools import combinations

import pytest

from agents.corpus.index import Index
from agents.models import Question
from agents.planner import QUESTIONS
from agents.study import study
from agents.text import stems, words
from agents.topic import search
from kos_runtime.core.failure import ErrorType
from kos_runtime.ports.agent import ActionFailed
from tests.agents.desk import Desk

Corpus = tuple[Desk, tuple[str, ...]]


def index_of(desk: Desk) -> Index:
    return desk.planner.index(desk.context)


def test_each_question_holds_a_term_that_the_corpus_has_and_the_topic_has_not(corpus: Corpus) -> None:
    desk, topics = corpus
    index = index_of(desk)
    for topic in topics:
        for question in desk.plan(topic, "deep").plan:
            assert question.terms
            for term in question.terms:
                assert term in question.question
                assert not set(stems(term)) & set(stems(topic)), (topic, term)
                assert index.count_phrase(term) > 0
            assert set(words(topic)) <= set(words(question.question))


def test_each_question_finds_a_passage_that_holds_its_term(corpus: Corpus) -> None:
    desk, topics = corpus
    for topic in topics:
        for question in desk.plan(topic, "deep").plan:
            found = desk.executor.execute_research_plan(desk.context, [question])
            assert found.data, question
            for passage in found.data:
                held = set(stems(f"{passage.heading} {passage.text}".replace("_", " ")))
                assert set(stems(question.terms[0])) <= held | set(stems(passage.path))


def test_two_topics_give_different_plans(corpus: Corpus) -> None:
    desk, topics = corpus
    terms = {topic: {term for question in desk.plan(topic).plan for term in question.terms} for topic in topics}
    for one, other in combinations(topics, 2):
        assert terms[one] != terms[other], (one, other)


def test_deep_asks_more_than_moderate_and_moderate_more_than_shallow(corpus: Corpus) -> None:
    desk, topics = corpus
    for topic in topics:
        assert len(desk.plan(topic, "shallow").plan) == QUESTIONS["shallow"]
        assert len(desk.plan(topic, "moderate").plan) == QUESTIONS["moderate"]
        assert len(desk.plan(topic, "deep").plan) == QUESTIONS["deep"]


def test_a_plan_is_the_same_each_time(corpus: Corpus) -> None:
    desk, topics = corpus
    first = desk.plan(topics[0]).model_dump_json()
    index_of(desk).memory.clear()
    assert desk.plan(topics[0]).model_dump_json() == first


def test_the_questions_of_a_rich_corpus_do_not_find_the_same_passages(ray_desk: Desk) -> None:
    found = ray_desk.gather(ray_desk.plan("placement groups", "deep"))
    assert len(found.sources) == len(found.data)


def test_the_name_of_the_templates_does_the_same_work(folder_desk: Desk) -> None:
    plan = folder_desk.planner.create_research_plan(folder_desk.context, "ocean tides")
    assert plan == folder_desk.plan("ocean tides")


@pytest.mark.parametrize("topic", ["zymurgy", "medieval falconry in Tuscany", "zzz qqq xxx"])
def test_a_topic_that_the_corpus_has_nothing_about_says_so_and_what_to_do(folder_desk: Desk, topic: str) -> None:
    with pytest.raises(ActionFailed) as caught:
        folder_desk.plan(topic)
    assert caught.value.kind is ErrorType.PERMANENT
    assert "nothing about" in caught.value.message
    assert "--set agents.kExecutor.corpus=" in caught.value.message


def test_a_misspelt_topic_is_told_the_word_that_the_corpus_has(folder_desk: Desk) -> None:
    with pytest.raises(ActionFailed, match="'glacier'"):
        folder_desk.plan("glacuer")


@pytest.mark.parametrize("topic", ["", "   ", "?!", "\x00\x01", "…—", "🙂🙃"])
def test_a_topic_without_words_is_refused(folder_desk: Desk, topic: str) -> None:
    with pytest.raises(ActionFailed) as caught:
        folder_desk.plan(topic)
    assert caught.value.kind is ErrorType.PERMANENT


@pytest.mark.parametrize(
    "topic",
    [
        'tides" OR "moon',
        "tides AND NOT moon",
        "NEAR(tides moon, 2)",
        "tides*",
        "text : tides",
        "-tides +moon ^sea",
        "(tides",
        "tides'; DROP TABLE passages; --",
        "tides\x00moon",
        "TIDES {moon} [sea]",
        "tides\ud800",
        "ｔｉｄｅｓ tides",
        "tides " * 5_000,
        "t" * 100_000 + " tides",
    ],
)
def test_what_is_syntax_to_the_index_is_only_words_in_a_topic(folder_desk: Desk, topic: str) -> None:
    plan = folder_desk.plan(topic, "shallow")
    assert plan.plan
    found = folder_desk.gather(plan)
    assert any(source.path == "nature/tides.txt" for source in found.sources)


def test_a_question_of_function_words_alone_is_searched_by_all_of_them(folder_desk: Desk) -> None:
    index = index_of(folder_desk)
    topic = study(index, "when they do").topic
    assert topic.weights
    assert search(index, topic, limit=3)


def test_a_long_topic_is_cut_in_the_question(folder_desk: Desk) -> None:
    question: Question = folder_desk.plan("how the tides of the ocean follow the moon and the sun " * 6).plan[0]
    assert len(question.question) < 200
