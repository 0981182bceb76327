"""Citations, `[@r1]` or `[@r1, @r3]` in a section's Markdown, and the one Markdown parser, which knows them.

A citation is what a Markdown parser reads as text: in code and in an image's description it stays as it was written.
So does every other bracket, `[@r1, p. 5]` or `[r1]`, which is Markdown's own.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cache

from markdown_it import MarkdownIt
from markdown_it.rules_block import StateBlock, reference
from markdown_it.rules_inline import StateInline
from markdown_it.token import Token

from core.contracts.documents import Reference
from core.documents.text import clean, one_line

MAX_NESTING = 100
"""markdown-it stops at this depth; what lies deeper is left out. No text that is meant to be read comes near."""
MAX_BRACKETS = 20_000
"""markdown-it's time grows with the square of their number; a text with more has no links and no citations."""
HEADINGS_SHOWN = 5
"""Of those of one source, in the list of references."""

Numbers = Mapping[str, int]
"""The numbers of the references by source id."""

# More digits than a source id can have: such a citation is one of nothing, and is left out.
_ID = "@r[0-9]{1,9}"
CITATION = re.compile(rf"\[[ \t]*{_ID}(?:[ \t]*[,;][ \t]*{_ID})*[ \t]*\]")
_IDS = re.compile("r[0-9]+")


def cited(markdown: str) -> tuple[str, ...]:
    """Ids that a section's Markdown cites, in order, each time; not in code."""
    return tuple(id_ for token in parse(clean(markdown)) for cite in citations(token) for id_ in cite.meta["ids"])


def numbers_of(references: Iterable[Reference]) -> Numbers:
    """The numbers of an article's references."""
    return {entry.source_id: entry.number for entry in references}


def shown(ids: Iterable[str], numbers: Numbers) -> list[int]:
    """The numbers that a citation of these ids shows, each once; an unknown id has none."""
    return list(dict.fromkeys(numbers[id_] for id_ in ids if id_ in numbers))


def mark(numbers: Iterable[int]) -> str:
    """How a citation reads: `[1, 3]`."""
    return f"[{', '.join(map(str, numbers))}]"


def source_line(reference: Reference) -> str:
    """How the list of references names a source: title, URL with the day it was read, pages or headings. In no
    language's words."""
    parts = [one_line(reference.title)]
    if reference.url:
        parts.append(reference.url + (f" ({reference.read_on.isoformat()})" if reference.read_on else ""))
    if reference.places:
        several = len(reference.places) > 1 or "–" in reference.places[0]
        parts.append(f"{'pp.' if several else 'p.'} {', '.join(reference.places)}")
    if reference.headings:
        more = ["…"] if len(reference.headings) > HEADINGS_SHOWN else []
        parts.append(f"§ {'; '.join([*map(one_line, reference.headings[:HEADINGS_SHOWN]), *more])}")
    return ", ".join(parts)


def parse(text: str) -> list[Token]:
    """The tokens of cleaned Markdown in the one dialect of all exports."""
    return _parser().parse(text if text.count("[") <= MAX_BRACKETS else text.replace("[", "\\["))


def citations(token: Token) -> Iterator[Token]:
    """The citations of a line: `meta` has their `ids`, and where in `token.content` they start (`at`)."""
    return (child for child in token.children or () if child.type == "citation")


@cache
def _parser() -> MarkdownIt:
    # It keeps no state between texts, so threads may share it.
    parser = MarkdownIt("commonmark", {"html": False, "maxNesting": MAX_NESTING}).enable("table")
    parser.inline.ruler.before("link", "citation", _citation)
    parser.block.ruler.at("reference", _definition)
    return parser


def _citation(state: StateInline, silent: bool) -> bool:
    """markdown-it's rule. It comes before links: `[@r1](…)` is a citation with something in brackets behind it."""
    found = CITATION.match(state.src, state.pos, state.posMax) if state.src[state.pos] == "[" else None
    if found is None:
        return False
    if silent:
        # Asked within the text of a link, which holds no second link: a mere bracket, as it is to that rule.
        state.pos += 1
        return True
    token = state.push("citation", "", 0)
    token.content = found.group()
    token.meta = {"ids": tuple(_IDS.findall(found.group())), "at": state.pos}
    state.pos = found.end()
    return True


def _definition(state: StateBlock, first: int, last: int, silent: bool) -> bool:
    """A paragraph that begins `[@r1]: …` defines no link."""
    if CITATION.match(state.src, state.bMarks[first] + state.tShift[first]):
        return False
    return reference(state, first, last, silent)
