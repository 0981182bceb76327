"""Where in a source stands what is cited: the pages whose words the citing paragraphs take up. No model is asked."""

import re
from collections.abc import Iterable, Iterator

from core.contracts.documents import ArticleSection
from core.documents.citations import cited
from core.documents.passages import PAGE_MARK, terms, weights

LEAST_TERMS = 4
"""Different words of a paragraph that stand on a page, or it says nothing of the page."""
LEAST_SHARE = 0.5
"""Of what the paragraph has in common with the whole source, by weight: words that stand on few pages count more."""

_BLANK = re.compile(r"\n\s*\n")
_STEM = 8
"""Letters of a word: more than passages are looked up by, as a page is told from its neighbours."""


def citing(sections: Iterable[ArticleSection], source_id: str) -> Iterator[str]:
    """The paragraphs that cite a source."""
    for section in sections:
        if f"@{source_id}" in section.markdown:
            yield from (part for part in _BLANK.split(section.markdown) if source_id in cited(part))


def cited_pages(paragraphs: Iterable[str], text: str) -> tuple[str, ...]:
    """The pages of a source that these paragraphs rest on, in its order: `12`, `14–15`. `text` has marks of pages.

    A paragraph that rests on no page more than on the others names none: a place is shown only where the words tell it.
    Linear in the text for each paragraph's words.
    """
    pages = _pages(text)
    held = [frozenset(terms(page, _STEM)) for _, page in pages]
    weight = weights(held)
    found = {_best(frozenset(terms(paragraph, _STEM)), held, weight) for paragraph in paragraphs}
    return tuple(dict.fromkeys(pages[at][0] for at in sorted(at for at in found if at is not None)))


def _pages(text: str) -> list[tuple[str, str]]:
    """The pages that begin in a text, and their texts."""
    marks = list(PAGE_MARK.finditer(text))
    ends = [mark.start() for mark in marks[1:]] + [len(text)]
    return [(mark["pages"], text[mark.end() : end]) for mark, end in zip(marks, ends, strict=False)]


def _best(words: frozenset[str], held: list[frozenset[str]], weight: dict[str, float]) -> int | None:
    known = words & weight.keys()
    whole = sum(map(weight.__getitem__, known))
    scores = [(sum(map(weight.__getitem__, sorted(known & page))), -at) for at, page in enumerate(held)]
    if not scores or not whole:
        return None
    score, at = max(scores)
    return -at if score >= LEAST_SHARE * whole and len(known & held[-at]) >= LEAST_TERMS else None
