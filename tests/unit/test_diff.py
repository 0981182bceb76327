"""What differs between two versions of an article."""

import random
from itertools import pairwise

import pytest

from core.contracts.documents import Article, ArticleSection, Reference
from core.documents.diff import MOST_BITS, MOST_TOKENS, ArticleDiff, Op, Parts, Run, SectionDiff, SectionStatus, diff

TEXT = "The river rose in the night.\n\nNobody saw it come. It took the bridge.\n\nIn the morning it was gone."


def section(id_: str, markdown: str = TEXT, title: str = "A title", transition: str = "") -> ArticleSection:
    return ArticleSection(id=id_, title=title, markdown=markdown, transition=transition)


def article(*sections: ArticleSection) -> Article:
    return Article(title="Floods", thesis="They rise.", language="en", sections=sections, words=1)


def of(old: str, new: str) -> SectionDiff:
    """The difference of one section's text."""
    (found,) = diff(article(section("s1", old)), article(section("s1", new))).sections
    return found


def runs(found: SectionDiff) -> list[tuple[str, str]]:
    assert found.parts is not None
    return [(run.op.value, run.text) for run in found.parts.markdown]


def text(found: tuple[Run, ...], without: Op) -> str:
    return "".join(run.text for run in found if run.op is not without)


def is_exact(found: SectionDiff, old: ArticleSection, new: ArticleSection) -> bool:
    """Whether the runs are both texts, and no two that follow each other are of one kind."""
    parts = found.parts
    if parts is None:
        return old == new
    return all(
        text(part, Op.INSERT) == getattr(old, name)
        and text(part, Op.DELETE) == getattr(new, name)
        and all(one.op is not other.op for one, other in pairwise(part))
        and all(run.text for run in part)
        for name in ("title", "transition", "markdown")
        for part in [getattr(parts, name)]
    )


def test_a_version_is_the_same_as_itself() -> None:
    one = article(section("s1"), section("s2", "Other."))
    found = diff(one, one)
    assert (found.title_changed, found.thesis_changed, found.references_changed) == (False, False, False)
    assert [(part.status, part.moved, part.parts) for part in found.sections] == [(SectionStatus.SAME, False, None)] * 2
    assert found.summary.model_dump(exclude_defaults=True) == {"same": 2}
    assert diff(article(), article()) == ArticleDiff()


def test_changed_words_are_found() -> None:
    found = of(TEXT, TEXT.replace("the bridge", "an old bridge").replace("gone", "gone, and with it the mill"))
    assert runs(found) == [
        ("equal", "The river rose in the night.\n\nNobody saw it come. It took "),
        ("delete", "the "),
        ("insert", "an old "),
        ("equal", "bridge.\n\nIn the morning it was gone"),
        ("insert", ", and with it the mill"),
        ("equal", "."),
    ]
    assert found.status is SectionStatus.CHANGED
    assert (found.words_before, found.words_after) == (20, 26)


def test_replaced_words_that_follow_each_other_are_one_change() -> None:
    assert runs(of("It took the old stone bridge away.", "It took my new house away.")) == [
        ("equal", "It took "),
        ("delete", "the old stone bridge"),
        ("insert", "my new house"),
        ("equal", " away."),
    ]


def test_a_paragraph_that_is_put_in_leaves_the_others_whole() -> None:
    long = " ".join(f"word{n}" for n in range(4_000))
    found = of(f"First.\n\n{long}\n\nLast.", f"First.\n\n{long}\n\nNew one.\n\nLast.")
    assert runs(found) == [("equal", f"First.\n\n{long}\n\n"), ("insert", "New one.\n\n"), ("equal", "Last.")]


def test_a_text_with_little_in_common_is_replaced() -> None:
    old, new = "The miller fled to the hills before dawn.", "Insurance was what the town talked about for years."
    assert runs(of(old, new)) == [("delete", old), ("insert", new)]


def test_a_huge_changed_paragraph_is_replaced_as_a_whole() -> None:
    old = [f"word{n} " for n in range(MOST_TOKENS)]
    new = [*old[:100], "other ", *old[101:]]
    found = of("Before.\n\n" + "".join(old), "Before.\n\n" + "".join(new))
    assert runs(found) == [("equal", "Before.\n\n"), ("delete", "".join(old)), ("insert", "".join(new))]


def test_long_sections_are_compared_paragraph_by_paragraph() -> None:
    old = [" ".join(f"p{p}w{n}" for n in range(200)) for p in range(60)]
    new = [paragraph.replace("w7 ", "x7 ") for paragraph in old]
    found = of("\n\n".join(old), "\n\n".join(new))
    assert [text for op, text in runs(found) if op == "insert"] == [f"p{p}x7" for p in range(60)]


def test_too_many_paragraphs_are_compared_one_by_one() -> None:
    huge = "word " * MOST_TOKENS + "\n\n"
    some = int(MOST_BITS**0.5) // 2 + 1
    old = [f"old {n}\n\n" for n in range(some)] + [huge] + [f"older {n}\n\n" for n in range(some)]
    new = [f"new {n}\n\n" for n in range(some)] + [huge] + [f"newer {n}\n\n" for n in range(some)]
    found = of("".join(old), "".join(new))
    assert is_exact(found, section("s1", "".join(old)), section("s1", "".join(new)))
    assert ("equal", f" {some - 1}\n\n{huge}") in runs(found)


def test_titles_transitions_and_what_stands_around_the_sections() -> None:
    old = article(section("s1", title="The old bridge", transition="Now the bridge."))
    changed = section("s1", title="The new bridge", transition="")
    new = article(changed).model_copy(
        update={"title": "Other", "references": (Reference(number=1, source_id="r1", title="A"),)}
    )
    found = diff(old, new)
    assert (found.title_changed, found.thesis_changed, found.references_changed) == (True, False, True)
    assert diff(old, old.model_copy(update={"thesis": "They fall."})).thesis_changed
    (only,) = found.sections
    assert (only.title_before, only.title_after, only.status) == ("The old bridge", "The new bridge", "changed")
    assert only.parts == Parts(
        title=(
            Run(op=Op.EQUAL, text="The "),
            Run(op=Op.DELETE, text="old"),
            Run(op=Op.INSERT, text="new"),
            Run(op=Op.EQUAL, text=" bridge"),
        ),
        transition=(Run(op=Op.DELETE, text="Now the bridge."),),
        markdown=(Run(op=Op.EQUAL, text=TEXT),),
    )
    assert (found.summary.words_inserted, found.summary.words_deleted) == (0, 3)


def test_added_and_removed_sections_stand_in_their_places() -> None:
    old = article(*(section(id_, f"{id_} text.") for id_ in ("s1", "s2", "s3", "s4")))
    new = article(*(section(id_, f"{id_} text.") for id_ in ("s2", "s9", "s4")))
    found = diff(old, new)
    assert [(part.section_id, part.status.value, part.moved) for part in found.sections] == [
        ("s1", "removed", False),
        ("s2", "same", False),
        ("s3", "removed", False),
        ("s9", "added", False),
        ("s4", "same", False),
    ]
    removed, added = found.sections[0], found.sections[3]
    assert (removed.title_before, removed.title_after, removed.words_before, removed.words_after) == (
        "A title",
        None,
        2,
        0,
    )
    assert runs(removed) == [("delete", "s1 text.")]
    assert (added.title_before, added.words_before, added.words_after) == (None, 0, 2)
    assert runs(added) == [("insert", "s9 text.")]
    assert found.summary.model_dump(exclude_defaults=True) == {
        "same": 2,
        "added": 1,
        "removed": 2,
        "words_inserted": 2,
        "words_deleted": 4,
    }


@pytest.mark.parametrize(
    ("new", "moved"),
    [
        ("12345", ""),
        ("51234", "5"),
        ("23451", "1"),
        ("13245", "2|3"),
        ("54321", "2345|1345|1245|1235|1234"),
        ("9152", "5|12|2"),
    ],
)
def test_the_fewest_sections_have_moved(new: str, moved: str) -> None:
    found = diff(article(*(section(f"s{n}") for n in "12345")), article(*(section(f"s{n}") for n in new)))
    assert "".join(sorted(part.section_id[1:] for part in found.sections if part.moved)) in moved.split("|")
    assert found.summary.moved == sum(part.moved for part in found.sections)


def test_any_texts_can_be_put_together_again() -> None:
    draw = random.Random(20)
    pieces = [
        "the ",
        "river ",
        "rose",
        "\n\n",
        "\n",
        " ",
        "  \n",
        ".",
        "水",
        "位",
        "नदी",
        "’",
        "\u202e",
        "\x00",
        "[@r1]",
        "é",
    ]

    def some(limit: int) -> str:
        return "".join(draw.choices(pieces, k=draw.randint(0, limit)))

    for _ in range(600):
        old = some(draw.choice((3, 30, 200)))
        cut = draw.randint(0, len(old)), draw.randint(0, len(old))
        new = draw.choice((some(60), old[: min(cut)] + some(10) + old[max(cut) :], old + some(20)))
        before = section("s1", old, draw.choice("ab") + some(2), some(5))
        after = section("s1", new, draw.choice("ab") + some(2), some(5))
        (found,) = diff(article(before), article(after)).sections
        assert is_exact(found, before, after)
        assert (found.status is SectionStatus.SAME) == (before == after)


def test_as_many_words_as_can_be_are_kept() -> None:
    """Against the plain table of longest common subsequences."""
    draw = random.Random(21)
    for _ in range(200):
        old, new = (draw.choices(["a", "b", "c", "d"], k=draw.randint(1, 25)) for _ in range(2))
        best = [[0] * (len(new) + 1) for _ in range(len(old) + 1)]
        for i, one in enumerate(old):
            for j, other in enumerate(new):
                best[i + 1][j + 1] = best[i][j] + 1 if one == other else max(best[i][j + 1], best[i + 1][j])
        # Each word is a paragraph, which has no parts to be compared by.
        found = of("".join(f"{word}\n\n" for word in old), "".join(f"{word}\n\n" for word in new))
        if found.parts is not None:
            kept = sum(len(run.text.split()) for run in found.parts.markdown if run.op is Op.EQUAL)
            assert kept == best[-1][-1]


def test_sections_in_any_order_and_number_are_all_there() -> None:
    draw = random.Random(22)
    for _ in range(200):
        old, new = ([section(f"s{n}", f"{n}") for n in draw.choices(range(8), k=draw.randint(0, 8))] for _ in range(2))
        found = diff(article(*old), article(*new)).sections
        after = [part.section_id for part in found if part.status is not SectionStatus.REMOVED]
        before = [part.section_id for part in found if part.status is not SectionStatus.ADDED]
        assert after == [one.id for one in new]
        assert sorted(before) == sorted(one.id for one in old)


HOSTILE = {
    "one word": ("x" * 50_000, "y" * 50_000),
    "the same word": ("a " * 30_000, "a b " * 15_000),
    "paragraphs of one word": ("a b\n\n" * 6_000, "b a\n\n" * 6_000),
    "marks": ("!" * 50_000, "?!" * 25_000),
    "newlines": ("\n" * 50_000, "\n \n" * 20_000),
    "spaces": (" " * 50_000, "\n" + " " * 50_000 + "x"),
    "Han": ("".join(map(chr, range(0x4E00, 0x9000))), "".join(map(chr, range(0x9000, 0x4E00, -1)))),
    "controls": ("\x00\ud800a" * 1_000, "\u2028\x85\ra" * 1_000),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_texts_are_compared(name: str) -> None:
    old, new = HOSTILE[name]
    assert is_exact(of(old, new), section("s1", old), section("s1", new))
    assert is_exact(of(new, old), section("s1", new), section("s1", old))
