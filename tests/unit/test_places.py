"""Pages: which a citation rests on, and that passages keep theirs."""

import pytest

from core.contracts.documents import ArticleSection, Reference
from core.contracts.longform import Priority
from core.documents.citations import source_line
from core.documents.passages import SourceText, select
from core.documents.places import cited_headings, cited_pages, citing

SURVEY = """[p. 1]

# The survey

Forty mills stood at the eastern coast when the survey began in spring.

[p. 2]

Oak wheels lasted thirty years before carpenters replaced their paddles.

[pp. 3–4]

A table of rents follows, which shows what millers paid to the abbey each quarter.

[p. 5]

Mills and wheels and rents: the survey ends here."""


@pytest.mark.parametrize(
    ("paragraphs", "pages"),
    [
        (["Carpenters replaced the paddles of oak wheels every thirty years [@r1]."], ("2",)),
        (["What millers paid to the abbey each quarter is shown [@r1]."], ("3–4",)),
        (
            ["Millers paid rents to the abbey every quarter.", "In spring forty mills stood at the eastern coast."],
            ("1", "3–4"),
        ),
        (["The survey tells of mills [@r1]."], ()),
        (["Nothing of the kind."], ()),
        ([], ()),
    ],
)
def test_a_page_is_named_where_the_words_tell_it(paragraphs: list[str], pages: tuple[str, ...]) -> None:
    assert cited_pages(paragraphs, SURVEY) == pages


def test_a_text_without_pages_names_none() -> None:
    assert cited_pages(["Forty mills stood at the eastern coast."], "Forty mills stood at the eastern coast.") == ()


NOTES = """# Tidal mills

Mills stood at the coast for a thousand years.

## Whe\u202eels ##

Oak wheels lasted thirty years before carpenters replaced their paddles.

```python
# Ponds and sluices: gates fell behind the flood tide
```

Rents
-----

   ### The *abbey*

Millers paid rents to the abbey each quarter, in silver pennies.
"""


@pytest.mark.parametrize(
    ("paragraphs", "headings"),
    [
        (["Carpenters replaced the paddles of oak wheels every thirty years [@r1]."], ("Wheels",)),
        (["Behind the flood tide fell the gates of ponds and sluices [@r1]."], ("Wheels",)),
        (
            ["Silver pennies were paid to the abbey by millers.", "Oak wheels lasted thirty years."],
            ("Wheels", "The *abbey*"),
        ),
        (["For a thousand years mills stood at the coast."], ()),
        (["Nothing of the kind."], ()),
        ([], ()),
    ],
)
def test_a_heading_is_named_where_the_words_tell_it(paragraphs: list[str], headings: tuple[str, ...]) -> None:
    assert cited_headings(paragraphs, NOTES, "Tidal  mills") == headings


def test_a_text_without_headings_names_none() -> None:
    text = "Forty mills stood at the eastern coast.\n\n#no heading\n\n" + "#" * 100_000 + " x"
    # Nor does it take long.
    text += "\n# " + "# " * 150_000 + "x"
    assert cited_headings(["Forty mills stood at the eastern coast."], text, "Mills") == ()


def test_the_list_of_references_shows_pages_or_headings() -> None:
    plain = Reference(number=1, source_id="r1", title="Mills")
    assert source_line(plain.model_copy(update={"places": ("2", "4")})) == "Mills, pp. 2, 4"
    assert source_line(plain.model_copy(update={"headings": ("Wheels", "Rents\nand dues")})) == (
        "Mills, § Wheels; Rents and dues"
    )
    many = plain.model_copy(update={"headings": tuple("abcdefg")})
    assert source_line(many) == "Mills, § a; b; c; d; e; …"


def test_the_paragraphs_that_cite_a_source() -> None:
    text = "One [@r1, @r2].\n\nTwo [@r12].\n\n`[@r1]` is code.\n\n- Item [@r1]."
    section = ArticleSection(id="s1", title="Part", markdown=text)
    assert list(citing([section], "r1")) == ["One [@r1, @r2].", "- Item [@r1]."]


def long(placed: bool) -> SourceText:
    pages = (f"[p. {n}]\n\n" + f"Page {n} tells of {'sluices' if n == 7 else 'wheels'}. " * 150 for n in range(1, 10))
    return SourceText("r1", "Book", Priority.NORMAL, "\n\n".join(pages), placed)


def test_a_passage_says_on_which_page_it_begins() -> None:
    (chosen,) = select([long(placed=True)], "sluices", 4_000)
    assert len(chosen.text) <= 4_000
    parts = chosen.text.split("\n\n[…]\n\n")
    assert all(part.startswith("[p. ") for part in parts)
    assert any(part.startswith("[p. 7]") for part in parts)
    assert "Page 7 tells of sluices" in chosen.text


def test_marks_in_a_text_that_somebody_typed_are_text() -> None:
    (chosen,) = select([long(placed=False)], "sluices", 4_000)
    assert not chosen.text.startswith("[p. ")
