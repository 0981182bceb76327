"""What of long sources goes into a prompt."""

import random
import re

import pytest

from core.contracts.longform import Priority
from core.documents.passages import GAP, LEAST, MOST, SourceText, best_section, select, split, terms, words
from core.documents.text import clean


def prose(seed: int, characters: int, topic: str = "") -> str:
    """Paragraphs of words that mean nothing, with a topic's word in each sentence."""
    draw = random.Random(seed)
    vocabulary = ["".join(draw.choices("bcdfglmnoprstuae", k=draw.randint(2, 9))) for _ in range(400)]
    paragraphs, written = list[str](), 0
    while written < characters:
        sentences = [" ".join([*draw.choices(vocabulary, k=12), topic]).strip() + "." for _ in range(4)]
        paragraphs.append(" ".join(sentences))
        written += len(paragraphs[-1])
    return "\n\n".join(paragraphs)


def source(number: int, text: str, priority: Priority = Priority.NORMAL) -> SourceText:
    return SourceText(id=f"r{number}", title=f"Source {number}", priority=priority, text=text)


def size(chosen: list[SourceText]) -> int:
    return sum(len(one.text) for one in chosen)


@pytest.mark.parametrize(
    ("text", "end"),
    [
        (prose(1, 20_000), r"\n\n$"),
        (prose(1, 20_000).replace("\n\n", "\n"), r"\n$"),
        (prose(1, 20_000).replace("\n\n", " "), r"\. $"),
        (prose(1, 20_000).replace("\n\n", " ").replace(".", ""), r"\s$"),
        ("河流在夜里上涨而没有人知道。" * 1_000, "。$"),
        ("x" * 20_000, "x$"),
    ],
)
def test_passages_end_where_the_text_allows_it(text: str, end: str) -> None:
    passages = split(text)
    assert "".join(passages) == text
    assert len(passages) >= 10
    assert all(LEAST <= len(passage) <= MOST and re.search(end, passage) for passage in passages[:-1])


HOSTILE = {
    "nothing": "",
    "no letter": " \n.\n!\x00",
    "controls": "\x00a\x1b\ud800b\r\nc\u2028d" * 500,
    "overrides": "\u202eabc\u202c \u2066def\u2069 " * 500,
    "spaces": "a" + " " * 20_000 + "b",
    "empty lines": "a" + "\n \n" * 20_000 + "b",
    "dots": "a" + "." * 20_000,
    "quoted dots": '."' * 10_000 + "a",
    "marks": "e" + "\u0301" * 20_000,
    "ligatures": "\ufdfa" * 20_000,
    "one line": "one long line " * 2_000,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_no_passage_of_hostile_text_is_lost(name: str) -> None:
    text = HOSTILE[name]
    passages = split(text)
    kept = [char for char in clean(text) if char.isalnum()]
    assert [char for passage in passages for char in passage if char.isalnum()] == kept
    assert all(len(passage) <= MOST for passage in passages)
    assert not re.search("[\x00\x1b\ud800\r\u202a-\u202e\u2066-\u2069]|\n\\s*\n\\s*\n", "".join(passages))
    chosen = select([source(1, text), source(2, "river " * 1_000)], "river a", 3_000)
    assert size(chosen) <= 3_000


def test_what_fits_goes_in_whole() -> None:
    first, second = prose(1, 5_000), prose(2, 4_000)
    given = [source(1, first, Priority.LOW), source(2, f"\x00{second}\u202e\n"), source(3, "...")]
    whole = [source(1, first, Priority.LOW), source(2, second)]
    assert select(given, "anything", len(first) + len(second)) == whole
    assert select(given, "", 10**6) == whole
    assert select(given, "anything", len(first) + len(second) - 1) != whole
    assert select([], "anything", 100) == []


def test_the_passages_that_fit_the_query_are_found_in_their_order() -> None:
    about = "The Weir of Harlow was rebuilt after the flood. " * 20
    weirs = "Many weirs were rebuilt after floods. " * 24
    text = "\n\n".join([prose(1, 30_000), about, prose(2, 30_000), weirs, prose(3, 30_000)])
    (chosen,) = select([source(1, text)], "How was the weir rebuilt after the flood?", 3_100)
    assert about.strip() in chosen.text
    assert weirs.strip() in chosen.text
    assert chosen.text.index(about.strip()) < chosen.text.index(weirs.strip())
    assert chosen.text.count("[…]") == chosen.text.count(GAP) == 1
    assert (chosen.id, chosen.title, chosen.priority) == ("r1", "Source 1", Priority.NORMAL)


def test_neighbours_stand_together_as_they_did() -> None:
    about = [f"Chapter {n}. " + f"The weir number {n} was rebuilt. " * 35 for n in range(4)]
    text = "\n\n".join([prose(1, 20_000), *about, prose(2, 20_000)])
    (chosen,) = select([source(1, text)], "weir rebuilt", sum(map(len, about)) + 500)
    assert "\n\n".join(about).strip() in chosen.text


def test_every_source_has_its_best_passage_while_there_is_room() -> None:
    given = [source(n, prose(n, 20_000, "weir" if n == 2 else ""), Priority.LOW) for n in range(1, 6)]
    chosen = select(given, "weir", 5 * (MOST + len(GAP)))
    assert [one.id for one in chosen] == ["r1", "r2", "r3", "r4", "r5"]
    # What fits the query is taken first where there is not room for all.
    assert [one.id for one in select(given, "weir", MOST + len(GAP))] == ["r2"]


def test_high_sources_come_before_normal_and_low_ones() -> None:
    topics = {1: Priority.LOW, 2: Priority.NORMAL, 3: Priority.HIGH}
    given = [source(n, prose(n, 20_000, "weir"), priority) for n, priority in topics.items()]
    room = MOST + len(GAP)
    assert [one.id for one in select(given, "weir", room)] == ["r3"]
    assert [one.id for one in select(given, "weir", 2 * room)] == ["r2", "r3"]
    low, normal, high = select(given, "weir", 16 * room)
    assert len(low.text) <= MOST
    assert len(normal.text) <= MOST
    assert len(high.text) > 8 * MOST
    # All of what is high, then all of what is normal, then as much of what is low as there is room for.
    low, normal, high = select(given, "weir", 50_000)
    assert (normal.text, high.text) == (given[1].text, given[2].text)
    assert MOST < len(low.text) < 10_000


def test_what_has_nothing_of_the_query_comes_last_whatever_its_priority() -> None:
    given = [source(1, prose(1, 20_000), Priority.HIGH), source(2, prose(2, 20_000, "weir"), Priority.LOW)]
    high, low = select(given, "weir", 10 * MOST)
    assert len(high.text) <= MOST
    assert len(low.text) > 7 * MOST


def test_without_a_query_the_beginnings_are_taken() -> None:
    given = [source(n, prose(n, 20_000)) for n in range(1, 4)]
    chosen = select(given, "", 9 * MOST)
    assert all(given[n].text.startswith(chosen[n].text[:2_000]) for n in range(3))


@pytest.mark.parametrize("limit", [0, 1, 500, 1_507, 4_000, 24_000, 70_000])
def test_the_limit_holds(limit: int) -> None:
    given = [source(n, prose(n, 12_000, "weir" if n % 2 else ""), list(Priority)[n % 3]) for n in range(1, 7)]
    chosen = select(given, "weir", limit)
    assert size(chosen) <= limit
    # Less room than for a passage stays empty, beside that for gaps.
    assert limit - size(chosen) <= MOST + len(GAP) * (1 + limit // LEAST)
    assert chosen == select(given, "weir", limit)


@pytest.mark.parametrize(
    ("about", "filler", "query"),
    [
        ("הנהר עלה על גדותיו בלילה. ", "אין כאן דבר מעניין לקרוא. ", "נהר: הנהר עלה בלילה"),
        ("ارتفع النهر في الليل. ", "لا شيء هنا للقراءة أبدا. ", "ارتفاع النهر"),
        ("河流的水位在夜里上涨。", "这里没有什么可读的东西。", "水位上涨"),
        ("川の水位が夜に上がった。", "ここには読むものがない。", "水位"),
        ("แม่น้ำขึ้นสูงในเวลากลางคืน ", "ไม่มีอะไรให้อ่านที่นี่ ", "แม่น้ำ"),
        ("नदी का जलस्तर रात में बढ़ा। ", "यहाँ पढ़ने को कुछ नहीं है। ", "नदी का जलस्तर"),
        ("Реки поднялись ночью. ", "Здесь нечего читать. ", "река, рекам: поднявшиеся реки"),
        ("The ﬂood ROSE. ", "Nothing to read here. ", "flood"),
    ],
)
def test_scripts_without_latin_letters_are_searched(about: str, filler: str, query: str) -> None:
    text = "\n\n".join([filler * 60] * 20 + [about * 50] + [filler * 60] * 20)
    (chosen,) = select([source(1, text)], query, 1_600)
    assert about.strip() in chosen.text


def test_words_and_terms() -> None:
    assert words("Don’t re-read “Wörter”, 3.5 नदी!") == ["don", "t", "re", "read", "wörter", "3", "5", "नदी"]
    assert words("水位 rises") == ["水", "位", "rises"]
    assert terms("International rivers: 水位上 川") == ["inter", "river", "水位", "位上", "川"]
    assert terms("international", 4) == ["inte"]
    assert words("") == terms("—") == []


def test_a_source_goes_to_the_section_it_fits_best() -> None:
    queries = [
        "The flood: how the river rose in the night",
        "The weir: how it was rebuilt, and by whom, and what that cost the people of the town in those years",
        "The gauges: how the river is measured",
    ]
    assert best_section(prose(1, 5_000) + " They rebuilt the weir for the town.", queries) == 1
    assert best_section("Gauges measured it. " * 10 + prose(2, 5_000), queries) == 2
    assert best_section("The river rose in the night.", queries) == 0
    assert best_section("水位在夜里上涨", ["天气", "水位上涨"]) == 1


@pytest.mark.parametrize("text", ["", "xyz", "\x00", "weir"])
def test_a_source_that_fits_none_goes_to_the_first(text: str) -> None:
    assert best_section(text, ["river", "flood", ""]) == 0
    assert best_section(text, [""]) == 0


def test_a_section_is_needed() -> None:
    with pytest.raises(ValueError, match="no queries"):
        best_section("river", [])
