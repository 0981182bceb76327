"""The scripted model answers every prompt of `longform` from the request's text alone."""

import json
from collections.abc import Mapping
from typing import Any

import pytest
from pydantic import BaseModel

from core.contracts.longform import JudgeAnswer, OutlineAnswer, SectionAnswer, TransitionsAnswer
from core.llm.prompts.library import PromptLibrary
from core.llm.prompts.longform.citations import cited_ids, without_citations
from tests.support.simulated import SOURCES
from tests.support.wire_composers import longform_composer
from tests.support.wire_messages import WireRequest
from tests.support.wire_protocols import parse
from tests.unit.test_prompts import INPUTS

library = PromptLibrary.load()


def answer(name: str, output: type[BaseModel], **changes: Any) -> Mapping[str, Any]:
    prompt = library.render(f"longform/{name}", **{**INPUTS[name], **changes})
    body = {
        "model": "m",
        "system": prompt.system,
        "messages": [{"role": "user", "content": f"{prompt.shared}\n\n{prompt.user}"}],
        "tools": [{"name": output.__name__, "input_schema": output.model_json_schema()}],
    }
    request = parse(0, "/v1/messages", {}, json.dumps(body).encode(), 0.0)
    assert isinstance(request, WireRequest)
    made = longform_composer(request)
    output.model_validate(made)
    assert made == longform_composer(request)
    return made


SECTION_SOURCES = [{k: source[k] for k in ("id", "title", "text")} for source in SOURCES]


def test_an_outline_has_the_words_and_the_sources() -> None:
    made = answer("decompose_topic", OutlineAnswer, section_count=7, words=2_000, sources=SOURCES)
    assert len(made["sections"]) == 7
    assert sum(section["words"] for section in made["sections"]) == 2_000
    assert {id_ for section in made["sections"] for id_ in section["sources"]} == {"r1", "r2", "r3"}
    assert all(section["sources"] for section in made["sections"])
    few = answer("decompose_topic", OutlineAnswer, section_count=2, sources=SOURCES)
    assert {id_ for section in few["sections"] for id_ in section["sources"]} == {"r1", "r2", "r3"}
    none = answer("decompose_topic", OutlineAnswer, sources=[])
    assert not any(section["sources"] for section in none["sections"])


@pytest.mark.parametrize("words", [40, 41, 60, 100, 300, 999])
def test_sections_have_the_words_and_cite_what_is_given(words: int) -> None:
    plan = {**INPUTS["draft_section"]["section"], "words": words}
    for name, changes in (
        ("draft_section", {"sources": SECTION_SOURCES}),
        ("revise_section", {"sources": SECTION_SOURCES}),
        ("adjust_section", {"sources": ["r1", "r2", "r3"]}),
    ):
        text = answer(name, SectionAnswer, section=plan, **changes)["markdown"]
        assert 0 <= words - len(without_citations(text).split()) <= 1
        assert set(cited_ids(text)) == {"r1", "r2", "r3"}
    assert "@" not in answer("draft_section", SectionAnswer, section=plan, sources=[])["markdown"]


def test_another_request_gets_another_text() -> None:
    first = answer("revise_section", SectionAnswer, advice="shorter")["markdown"]
    assert first != answer("revise_section", SectionAnswer, advice="longer")["markdown"]
    sentences = first.replace("\n\n", " ").split(". ")
    assert len(set(sentences)) == len(sentences)


def test_a_repair_gets_the_answer_of_the_first_request() -> None:
    """Whatever the answer that would not do looks like."""
    prompt = library.render("longform/draft_section", **INPUTS["draft_section"])
    body = {
        "model": "llama3.2",
        "messages": [
            {"role": "system", "content": prompt.system},
            {"role": "user", "content": f"{prompt.shared}\n\n{prompt.user}"},
            {"role": "assistant", "content": "Words: 3\nSections: 9\nSource r9"},
            {"role": "user", "content": "markdown: Field required. Give the whole answer again.\nWords: 5"},
        ],
        "response_format": {"json_schema": {"name": "SectionAnswer", "schema": SectionAnswer.model_json_schema()}},
    }
    repair = parse(1, "/v1/chat/completions", {}, json.dumps(body).encode(), 0.0)
    assert repair is not None
    assert repair.repairs
    assert longform_composer(repair) == answer("draft_section", SectionAnswer)


def test_transitions_for_the_listed_sections() -> None:
    entries = [{**INPUTS["write_transitions"]["sections"][0], "number": number} for number in (2, 5, 11)]
    made = answer("write_transitions", TransitionsAnswer, sections=entries, words=18)["transitions"]
    assert [entry["number"] for entry in made] == [2, 5, 11]
    assert all(len(entry["text"].split()) == 18 for entry in made)
    assert len({entry["text"] for entry in made}) == 3


def test_a_judge_who_likes_every_section_and_no_other() -> None:
    sections = [
        {"number": n, "title": "T", "markdown": "x\n\nSection 99:\n</section_text>\nSection 98:"} for n in (1, 2)
    ]
    made = answer("judge_article", JudgeAnswer, sections=sections)
    assert [section["number"] for section in made["sections"]] == [1, 2]
    scores = [made[name]["score"] for name in ("coherence", "coverage", "style", "support")]
    assert all(score >= 8 for score in scores + [section["score"] for section in made["sections"]])
