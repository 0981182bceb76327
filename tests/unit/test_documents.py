"""Words of a text, its blocks, its citations, and the words that exports add."""

import re
from itertools import product
from string import ascii_lowercase

import pytest

from core.documents.blocks import LONGEST_URL, MAX_BLOCK_DEPTH, SCREEN, WORD_PROCESSOR, Block, parse_blocks, plain_text
from core.documents.citations import MAX_BRACKETS, cited
from core.documents.labels import RUNNING_HEAD, labels, language, running_head
from core.documents.text import clean, count_words
from tests.support.articles import RICH

# Words.


@pytest.mark.parametrize(
    ("markdown", "words"),
    [
        ("", 0),
        ("One two  three.", 3),
        ("well-known and/or don't 3.5 %", 4),
        ("a dash—or – two … end", 5),
        ("# Heading *em* **strong** `code x` ~", 5),
        ("- item\n- [ ] other\n\n1. first\n2) second", 4),
        ("| a | b |\n|:--|--:|\n|c d|e|", 5),
        ("```python\nx = 1\n```", 2),
        ("[the text](https://example.org/a_(b) 'some title') ![alt text](x.png)", 4),
        ("[text][1] end\n\n[1]: https://example.org", 2),
        ("It rose [@r1]; it fell [@r1, @r12]. It [@rose] ebbed.", 7),
        ("> quoted\n> words\n\n---\n\n***", 2),
        ("R&amp;D &nbsp; x", 2),
        ("1984 was 12 a year", 5),
        ("日本語、テスト。", 6),
        ("mix 中文 and words", 5),
        ("한국어 문장", 2),
        ("Ein schöner Tag. Čtvrtek, élève", 5),
        ("שלום עולם", 2),
        ("😀 ✓ → …", 0),
    ],
)
def test_words(markdown: str, words: int) -> None:
    assert count_words(markdown) == words


def test_words_are_those_a_reader_sees() -> None:
    assert count_words(RICH) == count_words(plain_text(parse_blocks(RICH)))


# Blocks.


def test_links_elsewhere_are_text() -> None:
    text = "[a](javascript:alert(1)) [b](ftp://x/y) [c](/x) [d](HTTPS://ok.example) ![pic](http://x/y.png)"
    [block] = parse_blocks(text)
    assert [piece["url"] for piece in block["c"] if piece["t"] == "link"] == ["HTTPS://ok.example"]
    assert plain_text([block]) == "[a](javascript:alert(1)) b c d pic"


def test_a_wide_table_becomes_records() -> None:
    row = "|" + "|".join("abcdefgh") + "|\n"
    [block] = parse_blocks(row + "|-" * 8 + "|\n" + row.upper())
    assert block["t"] == "ul"
    assert plain_text([block]).startswith("a: A\nb: B\n")


def test_depth_is_bounded_and_nothing_is_lost() -> None:
    blocks = parse_blocks("".join(f"{'  ' * n}- item {n}\n" for n in range(40)))
    assert re.findall(r"\d+", plain_text(blocks)) == [str(n) for n in range(40)]

    def depth(tree: list[Block]) -> int:
        return max((1 + depth(item) for block in tree for item in block.get("items", [])), default=0)

    assert depth(blocks) == MAX_BLOCK_DEPTH


def test_clean() -> None:
    assert clean("a\x00b\x1bc\ud800d\ufeff\r\ne\rf\u2028g\th\u2029i") == "abcd\ne\nf\ng\th\n\ni"
    assert clean("e" + "\u0301" * 100) == "e" + "\u0301" * 8


@pytest.mark.parametrize(
    ("url", "links"),
    [
        ("https://example.org:8080/a", True),
        ("http://[::1]/a", True),
        ("http://", False),
        ("http://:80", False),
        ("https://[broken/", False),
        ("https://example.org:port/", False),
        ("https://example.org:99999/", False),
        ("https://e.org/" + "a" * LONGEST_URL, False),
        ("mailto:", False),
        ("mailto:a@b.example", True),
    ],
)
def test_broken_addresses_are_text(url: str, links: bool) -> None:
    [block] = parse_blocks(f"[text](<{url}>)")
    assert [piece["t"] for piece in block["c"]] == ["link" if links else "text"]
    assert plain_text([block]) == "text"


def test_an_entity_cannot_smuggle_in_what_clean_takes_out() -> None:
    assert plain_text(parse_blocks("a&#12;b&#xFEFF;c &#10;&#9;d")) == "abc   d"


def test_each_medium_has_its_tables_and_breaks() -> None:
    wide = "|" + "a|" * 8 + "\n" + "|-" * 8 + "|\n" + "|b" * 8 + "|"
    assert [parse_blocks(wide, {}, medium)[0]["t"] for medium in (SCREEN, WORD_PROCESSOR)] == ["table", "ul"]
    long = "x" * 100 + "\n\n    " + "y" * 100
    assert [block.get("v") or block["c"][0]["v"] for block in parse_blocks(long, {}, SCREEN)] == ["x" * 100, "y" * 100]
    assert "\u200b" in str(parse_blocks(long)[0]["c"][0]["v"])


# Citations.


@pytest.mark.parametrize(
    ("markdown", "ids"),
    [
        ("One [@r1]. Two [@r3, @r2;@r1].", ["r1", "r3", "r2", "r1"]),
        ("[ @r1 ] [@r1 , @r22]", ["r1", "r1", "r22"]),
        ("`[@r1]` ``[@r1]` ``\n\n    [@r1]\n\n```\n[@r1]\n```\n~~~ [@r1]\n", []),
        ("\\[@r1] [r1] [@r1 [@] [@r] [@r1, p. 5] [@r1 @r2] @r1 [@R1] [@x1] [@r1\n, @r2]", []),
        ("[@r1](http://x.example) [@r2][x] [@r3]: http://x.example", ["r1", "r2", "r3"]),
        ("[@r1]: http://x.example\n\n> [@r2]: <x>", ["r1", "r2"]),
        ("[see [@r1], or [@r2]](http://x.example) wow![@r3]", ["r1", "r2", "r3"]),
        ("![a picture [@r1]](x.png)", []),
        ("# [@r1]\n\n- [@r2]\n\n> **[@r3]**", ["r1", "r2", "r3"]),
        ("| [@r4] | `[@r5]` |\n|--|--|\n| [@r6] | x |", ["r4", "r6"]),
        ("[@r123456789] [@r1234567890]", ["r123456789"]),
        ("a\x00[\x01@r1]", ["r1"]),
        ("[" * (MAX_BRACKETS + 1) + "[@r1]", []),
    ],
)
def test_cited(markdown: str, ids: list[str]) -> None:
    assert list(cited(markdown)) == ids


@pytest.mark.parametrize(
    ("markdown", "shown"),
    [
        ("a [@r1] b [@r2; @r1, @r2].", "a [1] b [7, 1]."),
        ("a [@r9].", "a."),
        ("a [@r9, @r1, @r8].", "a [1]."),
        ("[@r9] a", "a"),
        ("a\n[@r9] b", "a b"),
        ("a [@r9]\nb", "a b"),
        ("a\\\n[@r9] b", "a\nb"),
        ("a [@r8] [@r9] [@r1] b", "a [1] b"),
        ("*a* [@r9] b", "a b"),
        ("a[@r9]b", "ab"),
        ("[@r9]", ""),
        ("> [@r9]\n\n- [@r9]", "\n"),
        ("`[@r1]` [x] \\[@r1]", "[@r1] [x] [@r1]"),
    ],
)
def test_citations_show_their_numbers(markdown: str, shown: str) -> None:
    assert plain_text(parse_blocks(markdown, {"r1": 1, "r2": 7})) == shown


def test_many_citations() -> None:
    assert len(cited("[@r1, @r2] " * 9_000)) == 18_000
    assert len(cited("[@r1" * 2_000 + "]" * 2_000)) == 1


# Labels.


def test_labels_are_in_the_language_of_the_text() -> None:
    assert labels("de-AT").references == "Quellen"
    assert labels("pt_BR").contents == "Índice"
    assert labels("nn") == labels("no") == labels("nb")
    assert labels("zh-CN").contents == "目录"
    for tag in ("zh-TW", "zh-Hant", "eo", "", "klingon!"):
        assert labels(tag) == labels("en"), tag
    assert labels("he").language.rtl


def test_no_label_is_missing_or_of_another_language() -> None:
    tags = [tag for tag in map("".join, product(ascii_lowercase, repeat=2)) if labels(tag) != labels("en")]
    tags = [tag for tag in ["en", *tags] if tag not in ("no", "nn")]
    assert {"de", "fr", "es", "it", "pt", "nl", "pl", "sv", "da"} < set(tags)
    assert len({labels(tag).simulator for tag in tags}) == len(tags)
    for tag in tags:
        assert labels(tag).language.code == tag
        assert all(word == clean(word).strip() != "" for word in labels(tag)[1:]), tag


@pytest.mark.parametrize(
    ("tag", "found"),
    [
        ("he", ("he", None, True)),
        ("ar-EG", ("ar", "EG", True)),
        ("pt-BR", ("pt", "BR", False)),
        ("zh-Hant-TW", ("zh", "TW", False)),
        ("az-Arab", ("az", None, True)),
        ("ku-Latn", ("ku", None, False)),
        ("gsw", ("gsw", None, False)),
        ("xx", ("xx", None, False)),
        ("", ("en", None, False)),
        ('en"><script>', ("en", None, False)),
    ],
)
def test_languages(tag: str, found: tuple[str, str | None, bool]) -> None:
    assert language(tag) == found


def test_a_running_head_is_one_line() -> None:
    assert running_head("A short title") == "A short title"
    assert running_head("words and " * 20).removesuffix("…") in "words and " * 20
    assert running_head("x" * 200) == "x" * (RUNNING_HEAD - 1) + "…"
    assert len(running_head("words and " * 20)) <= RUNNING_HEAD
