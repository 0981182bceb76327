"""What the simulator makes of `longform`: outlines, sections and transitions of an article worth reading."""

import re
from collections import Counter
from itertools import product
from typing import Any

import pytest
from markdown_it import MarkdownIt

from core.contracts.longform import Outline, SectionAnswer, SectionPlan, TransitionsAnswer
from core.documents.text import count_words
from core.llm.prompts.longform import sentences as longform_sentences
from core.llm.prompts.longform.citations import cite, cited_ids, without_citations
from core.llm.prompts.longform.phrases import LANGUAGES, bank_for
from core.llm.prompts.longform.subject import quotable, read_subject, short_title
from tests.support.simulated import (
    SOURCES,
    TOPICS,
    article,
    ask,
    outline_of,
    planned,
    section_inputs,
    sentences_of,
    transition_inputs,
)

BRIEF = (
    "Our city council wants to close the old town to cars and asks what other cities learned. We need a report that "
    "covers residents, retailers, emergency services, logistics, accessibility, financing and evaluation.\n\n"
)
MARKUP = "# $100 * _why_ <b>HTML</b> `code` > \\ [x](http://y) | a & b ~c~ {p} {{ s }}"
HARD_TOPICS = {
    "brief": (BRIEF * 40)[:8_000],
    "one word": "Tea",
    "japanese": "日本の茶の湯の歴史と、それが現代の生活にどのような影響を与えているかについての長い説明文です。",
    "arabic": "تاريخ القهوة",
    "markup": MARKUP,
    "signs": "***",
    "one long word": "x" * 8_000,
    "controls": "a\x00b\u202ec\r\nd\ttopic",
    "list": "- one\n- two\n1. three",
    "table": "| a | b |\n| - | - |",
}


async def section(plan: Outline, topic: str, at: int, sources: Any = (), **changes: Any) -> str:
    inputs = section_inputs(plan, topic, "en", at, sources) | changes
    return (await ask("draft_section", SectionAnswer, **inputs)).markdown


async def small(topic: str = "Tea", count: int = 3, words: int = 1_200) -> Outline:
    return planned(await outline_of(topic, "en", words, count), topic, "en", words)


@pytest.mark.parametrize(("language", "words"), [*product(LANGUAGES, [300, 1_000, 5_000]), ("fr", 20_000)])
async def test_lengths_hold_and_no_sentence_comes_twice(language: str, words: int) -> None:
    made = await article(TOPICS[language], language, words, SOURCES if words in (1_000, 20_000) else ())
    for text, given in zip(made.texts, made.inputs, strict=True):
        asked = given["section"]["words"]
        assert abs(longform_sentences.count_words(text) - asked) <= max(2, 0.05 * asked)
        assert abs(count_words(text) - asked) <= max(2, 0.15 * asked)
        # The same rule in both places.
        assert longform_sentences.count_words(text) == count_words(text)
    led = len([at for at in range(len(made.texts)) if made.outline.lead_in(at)])
    assert len(made.transitions) == led
    whole = [*made.texts, *made.transitions.values()]
    assert abs(sum(map(count_words, whole)) - words) <= 0.1 * words
    said = Counter(sentence for text in whole for sentence in sentences_of(text))
    assert [sentence for sentence, times in said.items() if times > 1] == []
    sections = made.outline.sections
    assert len({plan.title for plan in sections}) == len(sections)
    assert len({point for plan in sections for point in plan.key_points}) >= 2 * len(sections)


@pytest.mark.parametrize("language", LANGUAGES)
async def test_sections_cite_what_they_are_given_and_nothing_else(language: str) -> None:
    made = await article(TOPICS[language], language, 3_000, SOURCES)
    cited = set[str]()
    for text, given in zip(made.texts, made.inputs, strict=True):
        ids = {source["id"] for source in given["sources"]}
        assert set(cited_ids(text)) == ids
        cited |= ids
    assert cited == {"r1", "r2", "r3"}
    assert "“Heat pump field trial”" in "".join(made.texts) or language not in ("en", "pt")
    assert not any("[@" in text or "[" in text for text in made.transitions.values())


async def test_a_long_section_comes_back_to_its_sources() -> None:
    outline = planned(await outline_of("Tea", "en", 1_200, 3, SOURCES), "Tea", "en", 1_200, SOURCES)
    given = section_inputs(outline, "Tea", "en", 1, SOURCES)
    text = await section(outline, "Tea", 1, SOURCES, section={**given["section"], "words": 2_000})
    assert len(cited_ids(text)) > 2 * len(given["sources"]) > 0


async def test_no_source_no_citation() -> None:
    made = await article("Tea", "en", 1_500)
    assert not any("[@" in text for text in made.texts)


@pytest.mark.parametrize("words", [60, 100, 300])
async def test_many_sources_are_cited_even_where_few_can_be_named(words: int) -> None:
    sources = [{"id": f"r{n}", "title": "Untitled", "text": "x", "priority": "low"} for n in range(1, 7)]
    outline = await small()
    given = section_inputs(outline, "Tea", "en", 1)
    given["section"]["words"] = words
    given["sources"] = [{k: s[k] for k in ("id", "title", "text")} for s in sources]
    text = (await ask("draft_section", SectionAnswer, **given)).markdown
    assert set(cited_ids(text)) == {s["id"] for s in sources}
    assert abs(longform_sentences.count_words(text) - words) <= 0.05 * words


async def test_an_outline_gives_each_source_a_section_and_shares_out_the_words() -> None:
    answer = await outline_of("Tea", "en", 3_000, 10, SOURCES)
    used = [set(plan.sources) for plan in answer.sections]
    assert set().union(*used) == {"r1", "r2", "r3"}
    assert all(used)
    # Priorities: high comes back, low stands where it has to.
    assert sum("r2" in ids for ids in used) > sum("r1" in ids for ids in used) > sum("r3" in ids for ids in used) == 1
    assert sum(plan.words for plan in answer.sections) == 3_000
    assert len({plan.words for plan in answer.sections}) > 1
    assert all(240 <= plan.words <= 360 for plan in answer.sections)
    assert any("“Municipal energy report”" in point for plan in answer.sections for point in plan.key_points)


async def test_more_sources_than_sections() -> None:
    sources = [{"id": f"r{n}", "title": f"Book {n}", "text": "x", "priority": "normal"} for n in range(1, 21)]
    answer = await outline_of("Tea", "en", 300, 3, sources)
    assert {id_ for plan in answer.sections for id_ in plan.sources} == {source["id"] for source in sources}


@pytest.mark.parametrize(("count", "words"), [(3, 900), (10, 3_000)])
async def test_an_outline_that_was_sent_back_changes(count: int, words: int) -> None:
    first = await outline_of("Tea", "en", words, count)
    previous = [
        {"number": n, "title": s.title, "purpose": s.purpose, "words": s.words}
        for n, s in enumerate(first.sections, start=1)
    ]
    again = await outline_of("Tea", "en", words, count, previous=previous, instructions="More about samovars")
    assert {s.title for s in first.sections}.isdisjoint(s.title for s in again.sections)
    assert len(again.sections) == count
    assert "“More about samovars”" in " ".join(point for s in again.sections for point in s.key_points)
    long = "Please write a good deal more about the samovars that people used in railway stations"
    other = await outline_of("Tea", "en", words, count, previous=previous, instructions=long)
    assert "“samovars”" in " ".join(point for s in other.sections for point in s.key_points)


async def test_a_full_outline_can_still_be_made_again() -> None:
    first = await outline_of("Tea", "en", 20_000, 40)
    previous = [{"number": 1, "title": s.title, "purpose": s.purpose, "words": 500} for s in first.sections]
    again = await outline_of("Tea", "en", 20_000, 40, previous=previous, instructions="again")
    titles = [s.title for s in again.sections]
    assert len(set(titles)) == 40
    assert titles != [s.title for s in first.sections]


@pytest.mark.parametrize("topic", HARD_TOPICS.values(), ids=HARD_TOPICS)
@pytest.mark.parametrize("language", ["en", "fr", "ja"])
async def test_any_topic_gives_a_valid_document(topic: str, language: str) -> None:
    made = await article(topic, language, 1_800, SOURCES)
    assert len(made.outline.title) <= 200
    for text, given in zip(made.texts, made.inputs, strict=True):
        assert abs(count_words(text) - given["section"]["words"]) <= 0.1 * given["section"]["words"]
        tokens = MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(text)
        kinds = {token.type for token in tokens} | {c.type for t in tokens for c in t.children or ()}
        assert not kinds & {"html_block", "html_inline", "link_open", "image", "heading_open", "em_open", "strong_open"}
        assert not kinds & {"code_inline", "s_open", "code_block", "hr"}
        assert not re.search(r"[\x00-\x08\x0b-\x1f\u202e]", text)
    said = Counter(sentence for text in made.texts for sentence in sentences_of(text))
    assert max(said.values()) == 1


async def test_markup_in_a_topic_is_shown_as_it_is() -> None:
    made = await article(MARKUP, "en", 1_200)
    tokens = [token for text in made.texts for token in MarkdownIt("commonmark").parse(text)]
    read = "".join(child.content for token in tokens for child in token.children or ())
    assert "$100 * _why_ <b>HTML</b>" in read


async def test_the_sections_differ_in_form() -> None:
    made = await article(TOPICS["en"], "en", 2_400)
    whole = "\n".join(made.texts)
    assert re.search(r"^- ", whole, re.MULTILINE)
    assert re.search(r"^1\. ", whole, re.MULTILINE)
    assert re.search(r"^\| --- ", whole, re.MULTILINE)
    assert re.search(r"^> ", whole, re.MULTILINE)
    assert "```" not in whole
    assert not re.search(r"^#", whole, re.MULTILINE)
    lengths = {count_words(p) // 10 for p in whole.split("\n\n") if p[:1].isalpha()}
    assert len(lengths) >= 4


async def test_code_only_where_it_fits() -> None:
    made = await article("Testing Python code in small teams", "en", 1_800)
    assert "```text\n" in "\n".join(made.texts)


@pytest.mark.parametrize("language", ["xx", "ja", "en-GB", "en"])
async def test_other_languages_fall_back_to_english(language: str) -> None:
    answer = await outline_of("Slow reading", language, 900, 3)
    assert answer.title.startswith("Slow Reading")
    assert "slow reading" in answer.thesis or "“Slow reading”" in answer.thesis


async def test_region_subtags_keep_their_language() -> None:
    answer = await outline_of("Wasser", "de-AT", 900, 3)
    assert answer.thesis == (await outline_of("Wasser", "de-AT", 900, 3)).thesis
    assert "„Wasser“" in answer.thesis


async def test_titles_are_headings_of_the_topic() -> None:
    answer = await outline_of("Write an article about heat pumps in old houses: what works", "en", 1_500, 5)
    assert answer.title.startswith("Heat Pumps in Old Houses: ")
    assert any("Heat Pumps in Old Houses" in plan.title for plan in answer.sections)
    for plan in answer.sections:
        assert not re.search(r"\d|^Section", plan.title)
        assert len(plan.title.split()) <= 9


async def test_a_long_brief_lends_its_words_to_the_key_points() -> None:
    answer = await outline_of(BRIEF, "en", 1_200, 4)
    points = " ".join(plan.key_points[-1] for plan in answer.sections)
    assert "“residents”" in points
    assert "“retailers”" in points


@pytest.mark.parametrize(
    ("topic", "phrase", "title"),
    [
        ("The history of tea", "the history of tea", "The History of Tea"),
        ("Please write a 900 word report on the state of our rivers, with maps", "the state of our rivers", None),
        ("Night trains across Europe", "night trains across Europe", "Night Trains Across Europe"),
        ("An essay on slow reading", "slow reading", "Slow Reading"),
        ("Explain how vaccines work", "how vaccines work", "How Vaccines Work"),
        ("NASA's Artemis programme", "NASA's Artemis programme", "NASA's Artemis Programme"),
        ("Should cities ban cars?", "“Should cities ban cars?”", "Should Cities Ban Cars?"),
        ("C++ for beginners", "C++ for beginners", "C++ for Beginners"),
        ("Rivers, canals and harbours", "Rivers, canals and harbours", "Rivers, Canals and Harbours"),
    ],
)
def test_subjects(topic: str, phrase: str, title: str | None) -> None:
    subject = read_subject(topic, bank_for("en"))
    assert subject.phrase == phrase
    assert title is None or subject.title == title


@pytest.mark.parametrize(
    ("text", "quoted"),
    [
        ("What is tea? A history.", "What is tea – A history"),
        ("Dr. Smith on “tea”", "Dr Smith on tea"),
        ("As shown [@r9], it's late", "As shown, it’s late"),
        ("one two three four five six seven eight nine", "one two three four five six seven eight…"),
        ("...", ""),
    ],
)
def test_what_others_say_ends_no_sentence_of_ours(text: str, quoted: str) -> None:
    assert quotable(text) == quoted


def test_a_source_is_named_without_its_subtitle() -> None:
    assert short_title("The Cost of Heat: A Study") == "The Cost of Heat"
    assert short_title("Heat: A Study of Houses") == "Heat: A Study of Houses"


def test_citations_stand_before_the_full_stop_and_in_no_code() -> None:
    assert cite("It rains.", ["r1"]) == "It rains [@r1]."
    assert cite("It rains [@r1].", ["r3", "r1"]) == "It rains [@r1, @r3]."
    text = "A [@r1]. B [@r2; @r3].\n\n```text\nC [@r4]\n```\n\nD [@r5]\n"
    assert cited_ids(text) == ["r1", "r2", "r3", "r5"]
    assert without_citations(text) == "A. B.\n\n```text\nC [@r4]\n```\n\nD\n"


async def test_sixty_sections_of_an_edited_outline_are_unlike() -> None:
    base = await small(count=12, words=20_000)
    lengths = [40, 55, 80, 120, 200, 333, 500, 900]
    plans = tuple(
        SectionPlan(
            id=f"s{n}",
            title="Same" if n % 3 else base.sections[n % 12].title,
            purpose="p",
            key_points=("It is cheap. It is good!", f"What number {n} is", "x" * 400, f"a | b *c* {n}")[: 1 + n % 4],
            words=lengths[n % 8],
        )
        for n in range(60)
    )
    outline = base.model_copy(update={"sections": plans})
    texts = [await section(outline, "Tea", at) for at in range(60)]
    for at, text in enumerate(texts):
        asked = plans[at].words - outline.lead_in(at)
        assert abs(count_words(text) - asked) <= max(2, 0.05 * asked)
    made = await ask("write_transitions", TransitionsAnswer, **transition_inputs(outline, "en", range(1, 60)))
    said = Counter(s for text in texts for s in sentences_of(text) if not s.startswith("|"))
    said.update(transition.text for transition in made.transitions)
    assert [sentence for sentence, times in said.items() if times > 1] == []


@pytest.mark.parametrize("words", [1, 5, 20, 40, 60, 100, 137, 500, 2_000, 8_000])
async def test_sections_of_any_length(words: int) -> None:
    outline = await small()
    given = section_inputs(outline, "Tea", "en", 1)
    text = await section(outline, "Tea", 1, section={**given["section"], "words": words})
    assert abs(count_words(text) - words) <= max(2, 0.05 * words)


async def test_a_section_without_points_or_outline() -> None:
    outline = await small()
    given = section_inputs(outline, "Tea", "en", 2)
    changes = {"outline": [], "section": {**given["section"], "words": 200, "key_points": []}}
    assert abs(count_words(await section(outline, "Tea", 2, **changes)) - 200) <= 10


@pytest.mark.parametrize("language", LANGUAGES)
async def test_transitions_name_both_sides_and_keep_to_their_length(language: str) -> None:
    outline = planned(await outline_of(TOPICS[language], language, 8_000, 27), TOPICS[language], language, 8_000)
    inputs = transition_inputs(outline, language, range(1, 27))
    made = await ask("write_transitions", TransitionsAnswer, **inputs)
    assert [transition.number for transition in made.transitions] == list(range(2, 28))
    for transition in made.transitions:
        assert abs(count_words(transition.text) - 18) <= 4
        assert transition.text[0].isupper()
        assert "\n" not in transition.text
    # One alone is the same as among many: a section that is written anew keeps the sentences beside it.
    alone = await ask("write_transitions", TransitionsAnswer, **transition_inputs(outline, language, [9]))
    assert alone.transitions[0] in made.transitions


async def test_a_transition_takes_no_markup_and_no_citation_from_a_title() -> None:
    outline = await small()
    title = "Tea [@r1] and *more*. Much more! " * 6
    plans = [plan.model_copy(update={"title": title.strip()[:200]}) for plan in outline.sections]
    edited = outline.model_copy(update={"sections": tuple(plans)})
    made = await ask("write_transitions", TransitionsAnswer, **transition_inputs(edited, "en", [1, 2]))
    texts = [transition.text for transition in made.transitions]
    assert len(set(texts)) == 2
    assert all("@" not in text and len(list(sentences_of(text))) == 1 for text in texts)
    assert all(abs(count_words(text) - 18) <= 6 for text in texts)


# The phrase banks.


async def test_the_steps_of_a_section_do_not_share_an_ending() -> None:
    made = await article(TOPICS["en"], "en", 1_200)
    endings = bank_for("en").families["step"].endings
    for text in made.texts:
        said = [ending for line in text.splitlines() for ending in endings if line.endswith(ending)]
        assert len(said) == len(set(said))


@pytest.mark.parametrize("language", LANGUAGES)
def test_banks_are_complete(language: str) -> None:
    bank, english = bank_for(language), bank_for("en")
    assert bank.language == language
    assert len(bank.angles) == 40
    assert [len(angle.points) for angle in bank.angles] == [len(angle.points) for angle in english.angles]
    assert bank.families.keys() == english.families.keys()
    assert sum(len(family) for family in bank.families.values()) * len(bank.connectors) > 5_000
    assert set(bank.asides).isdisjoint(bank.connectors)
    assert len(set(bank.asides)) == len(english.asides)
    slots = {"point": "p", "return": "p", "subject": "s", "setting": "s", "cite": "x", "term": "xk"}
    for name, family in bank.families.items():
        assert (len(family.beginnings), len(family.endings)) == (
            len(english.families[name].beginnings),
            len(english.families[name].endings),
        )
        for lines in (family.beginnings, family.endings):
            assert len(set(lines)) == len(lines), name
        assert all(f"{{{slot}}}" in line for slot in slots.get(name, "") for line in family.beginnings), name
    assert all("{t}" in line for line in bank.families["transition"].endings)
    for angle in bank.angles:
        assert all(point.split()[0] in bank.questions for point in angle.points)
        assert not angle.named or "{s}" in angle.named
    points = [point for angle in bank.angles for point in angle.points]
    assert len(set(points)) == len(points)
    assert all("{x}" in line for line in (*bank.lines["keyword_points"], bank.wrap))
    assert all("{s}" in line for kind in ("theses", "hooks", "closers") for line in bank.lines[kind])
    found = {name: sorted(re.findall(r"\{\w\}", line)) for name, line in bank.judge.items()}
    assert found == {name: sorted(re.findall(r"\{\w\}", line)) for name, line in english.judge.items()}
