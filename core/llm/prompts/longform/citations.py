"""Citations in a section's Markdown, `[@r1]` or `[@r1, @r3]`, as the simulator writes and reads them."""

import re
from collections.abc import Sequence

CITATION = re.compile(r"\[@r\d{1,3}(?:[,;]\s*@r\d{1,3})*\]")
_ID = re.compile(r"r\d+")
_WITH_SPACE = re.compile(rf"\s*{CITATION.pattern}")
_END = re.compile(r"(?P<group>\s*\[@[^\]]*\])?(?P<stop>[.!?…]*)$")
_CODE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)


def without_citations(markdown: str) -> str:
    """The text with its citations taken out, each with the space before it. Code is no place for citations, and stays
    as it is."""
    if "[@" not in markdown:
        return markdown
    kept = _CODE.findall(markdown)
    rest = [_WITH_SPACE.sub("", part) for part in _CODE.split(markdown)]
    return rest[0] + "".join(code + part for code, part in zip(kept, rest[1:], strict=True))


def cited_ids(markdown: str) -> list[str]:
    """Ids in the order in which the text cites them, each time."""
    return [id_ for group in CITATION.findall(_CODE.sub("", markdown)) for id_ in _ID.findall(group)]


def cite(sentence: str, ids: Sequence[str]) -> str:
    """The sentence with these sources cited before its full stop, beside those that it cites already."""

    def ended(end: re.Match[str]) -> str:
        all_ids = dict.fromkeys([*_ID.findall(end["group"] or ""), *ids])
        return f" [{', '.join(f'@{id_}' for id_ in all_ids)}]{end['stop']}"

    return _END.sub(ended, sentence, count=1)
