"""Where in a source stands what is cited: the pages or headings whose words the citing paragraphs take up.

No model is asked.
"""

import re
from collections.abc import Iterable, Iterator, Sequence

from core.contracts.documents import ArticleSection
from core.documents.citations import cited
from core.documents.passages import PAGE_MARK, terms, tidy, weights
from core.documents.text import one_line

LEAST_TERMS = 4
"""Different words of a paragraph that stand on a page, or it says nothing of the page."""
LONGEST_HEADING = 200
"""Characters: what is longer was no heading to its author."""
LEAST_SHARE = 0.5
"""Of what the paragraph has in common with the whole source, by weight: words that stand on few pages count more."""

_BLANK = re.compile(r"\n\s*\n")
_HEADING = re.compile(r" {0,3}#{1,6}[ \t]+(.+)")
_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})")
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
    return _rested_on(paragraphs, _pages(text))


def cited_headings(paragraphs: Iterable[str], text: str, title: str) -> tuple[str, ...]:
    """The headings in a source's Markdown under which stands what these paragraphs rest on, as `cited_pages` has it.

    What stands under none, or under the source's own title, has no place: that names the whole source already.
    """
    parts = _headed(text)
    own = one_line(title).casefold()
    found = _rested_on(paragraphs, [(one_line(tidy(heading)), part) for heading, part in parts])
    return tuple(heading for heading in found if heading and heading.casefold() != own)


def _rested_on(paragraphs: Iterable[str], parts: Sequence[tuple[str, str]]) -> tuple[str, ...]:
    """The names of the parts that the paragraphs rest on, in the order of the parts, each once."""
    held = [frozenset(terms(part, _STEM)) for _, part in parts]
    weight = weights(held)
    found = {_best(frozenset(terms(paragraph, _STEM)), held, weight) for paragraph in paragraphs}
    return tuple(dict.fromkeys(parts[at][0] for at in sorted(at for at in found if at is not None)))


def _pages(text: str) -> list[tuple[str, str]]:
    """The pages that begin in a text, and their texts."""
    marks = list(PAGE_MARK.finditer(text))
    ends = [mark.start() for mark in marks[1:]] + [len(text)]
    return [(mark["pages"], text[mark.end() : end]) for mark, end in zip(marks, ends, strict=False)]


def _headed(text: str) -> list[tuple[str, str]]:
    """The headings of a Markdown text with what stands below each, themselves with it; first what has none."""
    parts: list[tuple[str, list[str]]] = [("", [])]
    fence = ""
    for line in text.splitlines():
        if opened := _FENCE.match(line):
            # Closed by at least as many of its marks, and nothing else.
            if not fence:
                fence = opened[1]
            elif line.strip().startswith(fence) and not line.strip().strip(fence[0]):
                fence = ""
        elif not fence and (heading := _HEADING.match(line)):
            said = heading[1].rstrip()
            closed = said.rstrip("#")
            parts.append((closed if closed.endswith((" ", "\t")) else said, []))
        parts[-1][1].append(line)
    return [(heading[:LONGEST_HEADING], "\n".join(lines)) for heading, lines in parts]


def _best(words: frozenset[str], held: list[frozenset[str]], weight: dict[str, float]) -> int | None:
    known = words & weight.keys()
    whole = sum(map(weight.__getitem__, known))
    scores = [(sum(map(weight.__getitem__, sorted(known & page))), -at) for at, page in enumerate(held)]
    if not scores or not whole:
        return None
    score, at = max(scores)
    return -at if score >= LEAST_SHARE * whole and len(known & held[-at]) >= LEAST_TERMS else None
