"""The simulator: deterministic, valid for any schema, and for `longform` a document worth reading."""

import re
import time
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Any, Literal, Self
from uuid import UUID

import pytest
from markdown_it import MarkdownIt
from pydantic import (
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    FutureDate,
    HttpUrl,
    StringConstraints,
    model_validator,
)

from core.contracts.errors import ErrorType
from core.contracts.llm import ModelName
from core.contracts.longform import MAX_SECTIONS, Outline, OutlineAnswer, SectionAnswer
from core.documents.text import count_words
from core.llm.prompts.library import PromptLibrary
from core.llm.prompts.longform import sentences as longform_sentences
from core.llm.prompts.longform.phrases import LANGUAGES, bank_for
from core.llm.prompts.longform.subject import read_subject
from core.llm.provider import Call, ModelFailure, Prompt, T
from core.llm.simulator import SimulatorProvider, composer_for, seed_of

TOPICS = {
    "en": "Heat pumps in old houses",
    "de": "Wärmepumpen im Altbau",
    "fr": "Les abeilles en ville",
    "es": "El agua en las ciudades",
    "it": "Le biciclette in città",
    "pt": "A leitura em voz alta",
}
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

library = PromptLibrary.load()
simulator = SimulatorProvider()


async def ask(name: str, output: type[T], **inputs: Any) -> T:
    reply = await simulator.ask(Call(model="composer", prompt=library.render(name, **inputs), output=output))
    return reply.output


async def outline_of(topic: str, language: str, words: int, count: int) -> tuple[OutlineAnswer, dict[str, Any]]:
    brief = {"topic": topic, "audience": "curious readers", "tone": "plain", "language": language, "style_guide": ""}
    answer = await ask("longform/decompose_topic", OutlineAnswer, **brief, words=words, section_count=count)
    return answer, brief


def section_inputs(answer: OutlineAnswer, brief: dict[str, Any], index: int, words: int) -> dict[str, Any]:
    plan = answer.sections[index]
    return {
        **brief,
        "title": answer.title,
        "thesis": answer.thesis,
        "outline": [
            {"number": n, "title": s.title, "purpose": s.purpose} for n, s in enumerate(answer.sections, start=1)
        ],
        "number": index + 1,
        "section": {
            "title": plan.title,
            "purpose": plan.purpose,
            "key_points": list(plan.key_points),
            "words": words,
        },
        "previous_purpose": answer.sections[index - 1].purpose if index else "",
        "next_purpose": answer.sections[index + 1].purpose if index + 1 < len(answer.sections) else "",
    }


async def article(topic: str, language: str, words: int, count: int) -> tuple[OutlineAnswer, list[str]]:
    answer, brief = await outline_of(topic, language, words, count)
    texts = [
        (
            await ask(
                "longform/draft_section", SectionAnswer, **section_inputs(answer, brief, index, round(words / count))
            )
        ).markdown
        for index in range(count)
    ]
    return answer, texts


def sentences_of(markdown: str) -> Iterator[str]:
    """Sentences, list items, table rows and lines of code."""
    for line in markdown.splitlines():
        if line.startswith("```") or re.fullmatch(r"[|\s-]*", line):
            continue
        bare = re.sub(r"^(?:- |\d+\. |> )", "", line)
        yield from (part for part in re.split(r"(?<=[.!?])\s+", bare) if part)


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize(("words", "count"), [(20_000, 40), (1_200, 4), (300, 3)])
async def test_no_sentence_twice_and_the_length_holds(language: str, words: int, count: int) -> None:
    answer, texts = await article(TOPICS[language], language, words, count)
    assert len(answer.sections) == count
    for text in texts:
        assert abs(count_words(text) - words / count) <= 0.1 * words / count
        assert longform_sentences.count_words(text) == count_words(text)
    said = Counter(sentence for text in texts for sentence in sentences_of(text))
    assert [sentence for sentence, times in said.items() if times > 1] == []
    assert len({section.title for section in answer.sections}) == count
    assert len({point for section in answer.sections for point in section.key_points}) >= 2 * count


@pytest.mark.parametrize("topic", HARD_TOPICS.values(), ids=HARD_TOPICS)
@pytest.mark.parametrize("language", ["en", "fr", "ja"])
async def test_any_topic_gives_a_valid_document(topic: str, language: str) -> None:
    answer, texts = await article(topic, language, 1_800, 6)
    assert len(answer.title) <= 200
    for text in texts:
        assert abs(count_words(text) - 300) <= 30
        tokens = MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(text)
        kinds = {token.type for token in tokens} | {c.type for t in tokens for c in t.children or ()}
        assert not kinds & {"html_block", "html_inline", "link_open", "image", "heading_open", "em_open", "strong_open"}
        assert not kinds & {"code_inline", "s_open", "code_block", "hr"}
        assert not re.search(r"[\x00-\x08\x0b-\x1f\u202e]", text)
    said = Counter(sentence for text in texts for sentence in sentences_of(text))
    assert max(said.values()) == 1


async def test_markup_in_a_topic_is_shown_as_it_is() -> None:
    _, texts = await article(MARKUP, "en", 1_200, 4)
    tokens = [token for text in texts for token in MarkdownIt("commonmark").parse(text)]
    read = "".join(child.content for token in tokens for child in token.children or ())
    assert "$100 * _why_ <b>HTML</b>" in read


async def test_the_sections_differ_in_form() -> None:
    _, texts = await article(TOPICS["en"], "en", 2_400, 8)
    whole = "\n".join(texts)
    assert re.search(r"^- ", whole, re.MULTILINE)
    assert re.search(r"^1\. ", whole, re.MULTILINE)
    assert re.search(r"^\| --- ", whole, re.MULTILINE)
    assert re.search(r"^> ", whole, re.MULTILINE)
    assert "```" not in whole
    assert not re.search(r"^#", whole, re.MULTILINE)
    lengths = {count_words(p) // 10 for p in whole.split("\n\n") if p[:1].isalpha()}
    assert len(lengths) >= 5


async def test_code_only_where_it_fits() -> None:
    _, texts = await article("Testing Python code in small teams", "en", 1_800, 6)
    assert "```text\n" in "\n".join(texts)


@pytest.mark.parametrize("language", ["xx", "ja", "en-GB", "en"])
async def test_other_languages_fall_back_to_english(language: str) -> None:
    answer, _ = await outline_of("Slow reading", language, 900, 3)
    assert answer.title.startswith("Slow Reading")
    assert "slow reading" in answer.thesis or "“Slow reading”" in answer.thesis


async def test_region_subtags_keep_their_language() -> None:
    answer, _ = await outline_of("Wasser", "de-AT", 900, 3)
    assert answer.thesis == (await outline_of("Wasser", "de-AT", 900, 3))[0].thesis
    assert "„Wasser“" in answer.thesis


async def test_titles_are_headings_of_the_topic() -> None:
    answer, _ = await outline_of("Write an article about heat pumps in old houses: what works", "en", 1_500, 5)
    assert answer.title.startswith("Heat Pumps in Old Houses: ")
    assert any("Heat Pumps in Old Houses" in section.title for section in answer.sections)
    for section in answer.sections:
        assert not re.search(r"\d|^Section", section.title)
        assert len(section.title.split()) <= 9
    assert Outline(
        title=answer.title,
        thesis=answer.thesis,
        sections=tuple({"id": f"s{n}", **s.model_dump(), "words": 300} for n, s in enumerate(answer.sections)),
    )


async def test_a_long_brief_lends_its_words_to_the_key_points() -> None:
    answer, _ = await outline_of(BRIEF, "en", 1_200, 4)
    points = " ".join(section.key_points[-1] for section in answer.sections)
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


async def test_an_edited_outline_still_gives_unlike_sections() -> None:
    answer, brief = await outline_of("Tea", "en", 1_200, 4)
    same = answer.sections[1].model_copy(
        update={"title": "Same", "key_points": ("It is cheap. It is good!", "What it is", "x" * 400, "a | b *c*")}
    )
    edited = answer.model_copy(update={"sections": (same,) * 4})
    texts = [
        (await ask("longform/draft_section", SectionAnswer, **section_inputs(edited, brief, n, 300))).markdown
        for n in range(4)
    ]
    said = Counter(s for text in texts for s in sentences_of(text) if not s.startswith("|"))
    assert max(said.values()) == 1
    assert all(abs(count_words(text) - 300) <= 30 for text in texts)


@pytest.mark.parametrize("words", [1, 5, 20, 40, 60, 100, 137, 500, 2_000, 8_000])
async def test_sections_of_any_length(words: int) -> None:
    answer, brief = await outline_of("Tea", "en", 1_200, 3)
    text = (await ask("longform/draft_section", SectionAnswer, **section_inputs(answer, brief, 1, words))).markdown
    assert abs(count_words(text) - words) <= max(6, 0.1 * words)


async def test_a_section_without_points_or_outline() -> None:
    answer, brief = await outline_of("Tea", "en", 1_200, 3)
    inputs = section_inputs(answer, brief, 2, 200)
    inputs |= {"outline": [], "section": {**inputs["section"], "key_points": []}}
    text = (await ask("longform/draft_section", SectionAnswer, **inputs)).markdown
    assert abs(count_words(text) - 200) <= 20


async def test_the_same_request_gets_the_same_answer_and_usage() -> None:
    prompt = Prompt("longform/decompose_topic", 1, "s" * 100, "u" * 300, {**_brief(), "words": 900, "section_count": 3})
    call = Call(model="composer", prompt=prompt, output=OutlineAnswer)
    first, second = await simulator.ask(call), await SimulatorProvider().ask(call)
    assert first == second
    assert first.simulated
    assert (simulator.name, simulator.simulated) == ("simulator", True)
    assert first.usage.input_tokens == 100
    assert first.usage.output_tokens == round(len(first.output.model_dump_json()) / 4)
    assert first.first_token is None
    other = Prompt(prompt.name, 1, "", "", {**prompt.inputs, "topic": "Coffee"})
    assert seed_of(other) != seed_of(prompt)
    await simulator.aclose()


def _brief() -> dict[str, str]:
    return {"topic": "Tea", "audience": "a", "tone": "t", "language": "en", "style_guide": ""}


async def test_latency_is_waited_for() -> None:
    slow = SimulatorProvider(latency=timedelta(milliseconds=60))
    started = time.perf_counter()
    await slow.ask(Call(model="composer", prompt=Prompt("x/y", 1, "", "", {}), output=SectionAnswer))
    assert time.perf_counter() - started >= 0.059


def test_composers_are_found_by_name() -> None:
    assert composer_for("longform/draft_section") is not None
    assert composer_for("longform/other") is None
    assert composer_for("nowhere/other") is None
    assert composer_for("draft_section") is None
    assert composer_for("../x/y") is None


# The generic composer.


class Colour(StrEnum):
    RED = "red"
    BLUE = "blue"


class Leaf(BaseModel):
    kind: Literal["leaf"] = "leaf"
    text: Annotated[str, StringConstraints(min_length=20, max_length=40)]


class Tree(BaseModel):
    kind: Literal["tree"]
    branches: tuple["Tree | Leaf", ...] = Field(max_length=3)
    parent: "Tree | None" = None


class Everything(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: Annotated[str, StringConstraints(min_length=1, max_length=5)]
    exact: Annotated[str, StringConstraints(min_length=300, max_length=300, strip_whitespace=True)]
    code: Annotated[str, StringConstraints(pattern=r"^s[0-9]{1,3}$")]
    model: ModelName
    phone: Annotated[str, StringConstraints(pattern=r"^(?:\+49|0)[1-9]\d{4,8}$")]
    slug: Annotated[str, StringConstraints(pattern=r"^[^\W_]+(?:-\w+)*$", max_length=40)]
    score: float = Field(ge=0, le=1)
    ratio: float = Field(gt=0, lt=0.001)
    count: int = Field(ge=3, le=7)
    negative: int = Field(lt=-10)
    step: int = Field(multiple_of=5, gt=5, le=100)
    price: Decimal = Field(ge=0, max_digits=6, decimal_places=2)
    colour: Colour
    choice: Literal["a", 2, True]
    flag: bool
    maybe: str | None
    either: int | Leaf
    pair: tuple[int, str]
    leaves: tuple[Leaf, ...] = Field(min_length=2, max_length=2)
    many: list[str] = Field(min_length=4)
    unique: set[int] = Field(min_length=3)
    table: dict[str, int] = Field(min_length=2)
    anything: dict[str, Any]
    day: date
    moment: AwareDatetime
    later: FutureDate
    span: timedelta
    identity: UUID
    url: HttpUrl
    tree: Tree
    tagged: Annotated[Tree | Leaf, Field(discriminator="kind")]
    aliased: str = Field(alias="AliasedName")


class Strict(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True)

    colour: Colour
    moment: datetime
    parts: tuple[int, ...] = Field(min_length=1)


class Ordered(BaseModel):
    low: int = Field(ge=0, le=10)
    high: int = Field(ge=0, le=10)

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.low >= self.high:
            raise ValueError("low is not below high")
        return self


class Impossible(BaseModel):
    value: int

    @model_validator(mode="after")
    def _never(self) -> Self:
        raise ValueError("never")


async def generic(model: type[T], number: int = 0) -> T:
    inputs = {"topic": "Harbours, bridges and the people who build them", "n": number, "more": [{"x": "lanterns"}]}
    return (await simulator.ask(Call(model="m", prompt=Prompt("demo/any", 1, "", "", inputs), output=model))).output


@pytest.mark.parametrize("number", range(15))
async def test_any_schema_is_filled(number: int) -> None:
    made = await generic(Everything, number)
    assert made == await generic(Everything, number)
    assert made.later > datetime.now(UTC).date()


@pytest.mark.parametrize("model", [Strict, Ordered, Tree, OutlineAnswer, Outline])
async def test_strict_validated_and_recursive_models(model: type[BaseModel]) -> None:
    for number in range(5):
        assert await generic(model, number)


async def test_texts_are_made_of_the_requests_words() -> None:
    words = {"harbours", "bridges", "and", "the", "people", "who", "build", "them", "lanterns"}
    text = (await generic(SectionAnswer)).markdown
    assert set(re.findall(r"[a-z]+", text.lower())) <= words


async def test_a_model_that_nothing_satisfies_is_a_typed_failure() -> None:
    with pytest.raises(ModelFailure) as caught:
        await generic(Impossible)
    assert caught.value.type is ErrorType.OUTPUT_INVALID
    assert caught.value.answered


# The phrase banks.


async def test_the_steps_of_a_section_do_not_share_an_ending() -> None:
    _, texts = await article(TOPICS["en"], "en", 1_200, 4)
    endings = bank_for("en").families["step"].endings
    for text in texts:
        said = [ending for line in text.splitlines() for ending in endings if line.endswith(ending)]
        assert len(said) == len(set(said))


@pytest.mark.parametrize("language", LANGUAGES)
def test_banks_are_complete(language: str) -> None:
    bank, english = bank_for(language), bank_for("en")
    assert bank.language == language
    assert len(bank.angles) == MAX_SECTIONS
    assert [len(angle.points) for angle in bank.angles] == [len(angle.points) for angle in english.angles]
    assert bank.families.keys() == english.families.keys()
    assert sum(len(family) for family in bank.families.values()) * len(bank.connectors) > 5_000
    for name, family in bank.families.items():
        assert (len(family.beginnings), len(family.endings)) == (
            len(english.families[name].beginnings),
            len(english.families[name].endings),
        )
        for lines in (family.beginnings, family.endings):
            assert len(set(lines)) == len(lines), name
        slot = {"point": "{p}", "return": "{p}", "subject": "{s}", "setting": "{s}"}.get(name)
        assert all(slot is None or slot in line for line in family.beginnings), name
    for angle in bank.angles:
        assert all(point.split()[0] in bank.questions for point in angle.points)
        assert not angle.named or "{s}" in angle.named
    points = [point for angle in bank.angles for point in angle.points]
    assert len(set(points)) == len(points)
    assert all("{x}" in line for line in (*bank.lines["keyword_points"], bank.wrap))
    assert all("{t}" in line for line in bank.lines["bridges"])
    assert all("{s}" in line for kind in ("theses", "hooks", "closers") for line in bank.lines[kind])
