"""From a brief to a subject: a phrase that can stand in a sentence, a title, and words of interest."""

import re
import unicodedata
from collections import Counter
from dataclasses import dataclass

from core.llm.prompts.longform.phrases import Bank

MAX_WORDS, MAX_CHARACTERS, MAX_IDEOGRAPHS = 10, 72, 20
"""Of a subject: longer ones cannot stand in a sentence that is about something else."""
_CUT_WORDS = 7
QUOTED_WORDS = 8
"""Of the title of a source, or of what a person says, inside one of our sentences."""

_SENTENCE_END = re.compile(r"(?<=[.!])\s|(?<=\?)\s|(?<=[。！？؟])")
_SUBTITLE = re.compile(r"\s*[:;]\s|\s[–—-]\s|\s*[：；،、]\s*")
_CITATION_LIKE = re.compile(r"\s*\[@[^\]]*\]?")
_INNER_STOP = re.compile(r"(?:(?P<short>(?<=\b\w\w\w)|(?<=\b\w\w)|(?<=\b\w))\.|[.!?…]+)(?=\s)")
_QUOTES = re.compile(r"[\"“”„«»]")
_CHARACTERS_A_WORD = 16
_MARKDOWN = re.compile(r"([\\`*_{}\[\]<>#|~$&])")


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


# English words that take a small letter inside a title.
_SMALL = _set("a an and as at but by for in nor of on or per the to via")
# Words that open an English topic with a capital only because they stand first.
_COMMON = _set(
    """a an the how why what when where who which whether our their its this these those some many most every all
    old new modern early late small large big great good better best local global public private digital open free
    common simple slow fast safe clean green urban rural young daily everyday first second hidden quiet short long
    heat water food music art city cities home house houses school schools health energy power light sound colour
    color coffee tea bread wine time money work sleep memory language history science nature weather climate soil
    trees plants gardens birds bees cats dogs fish animals children people women men parents friends families books
    films games maps roads bridges ships trains bicycles bikes cars planes machines computers software data code
    databases networks robots batteries sustainable renewable remote electric solar wind
    night day summer winter spring autumn morning evening market markets street streets river rivers sea oceans forest
    forests mountain mountains island islands letters paper rail railway railways tram trams bus buses team teams office
    offices meetings customer customers product products design self small-town second-hand street-level"""
)
_COMMON_ENDINGS = ("ing", "tion", "ment", "ness", "ship", "able", "ous", "ive", "ical", "less", "ful", "ity", "ism")
# An English phrase with one of these is a clause, and cannot stand after a preposition.
_FINITE = _set(
    """is are was were am be been has have had do does did will would shall should can could may might must want
    wants need needs i we you he she they my your please let"""
)
_INDIRECT = _set("how why what when where who which whether")
# Endings of English words that are seldom nouns.
_NO_NOUN = ("ed", "ly", "ing")
_DULL = _set(
    """about above after again because before being between could during every should their there these those through
    under until where which while would article report readers reader please write explain include section sections
    nicht einen einer eines werden wurde sollte zwischen diese dieser durch artikel bericht bitte schreibe
    comme cette entre leurs notre votre avant après article rapport veuillez lecteurs
    sobre entre desde hasta artículo informe donde cuando nuestro nuestra lectores
    della delle degli questo questa articolo relazione nostro nostra lettori
    sobre entre desde artigo relatório nosso nossa leitores"""
)


@dataclass(frozen=True)
class Subject:
    """What a document is about, in the request's own words; all plain text, nothing escaped.

    `phrase` stands in a sentence, with quotation marks where it needs them; `title` stands at the head of a title.
    `inline` says that the phrase needs no quotation marks. `keywords` are further words of a longer brief.
    """

    phrase: str
    title: str
    inline: bool
    keywords: tuple[str, ...]

    @property
    def short(self) -> bool:
        """Whether the phrase can stand in a heading."""
        return len(self.phrase) <= 44 and len(self.phrase.split()) <= 6


def clean(text: str) -> str:
    """One line without control characters: what a user sends may hold anything."""
    # Cf holds the marks that turn the writing direction of what follows; the two joiners belong to words.
    kept = "".join(c if c in "\u200c\u200d" or unicodedata.category(c) not in ("Cc", "Cf", "Cs") else " " for c in text)
    return " ".join(kept.split())


def escape(text: str) -> str:
    """Plain text as Markdown text: no character of it is markup."""
    return _MARKDOWN.sub(r"\\\1", text)


def capitalised(text: str) -> str:
    """The text with its first letter large, whatever sign stands before it."""
    return _first_letter(text, upper=True)


def uncapitalised(text: str) -> str:
    """The text with its first letter small, unless its first word is an abbreviation."""
    first = text.split(" ", 1)[0]
    return text if len(first) > 1 and first.isupper() else _first_letter(text, upper=False)


def title_case(text: str) -> str:
    """English title case; a word with a capital or a digit inside stays as it is."""
    words = text.split(" ")
    last = len(words) - 1
    return " ".join(
        word
        if word.lower() in _SMALL and 0 < index < last and not words[index - 1].endswith((":", "?"))
        else capitalised(word)
        for index, word in enumerate(words)
    )


def quotable(text: str, most: int = QUOTED_WORDS) -> str:
    """Somebody's title or remark as part of one of our sentences: at most so many words, and no end of a sentence."""
    text = _QUOTES.sub("", _CITATION_LIKE.sub("", clean(text)).replace("'", "’"))
    # An abbreviation loses its full stop; at the end of a whole sentence a dash stands for it.
    text = _INNER_STOP.sub(lambda stop: " –" if stop["short"] is None else "", clean(text).strip(" .,:;!?…"))
    words = text.split()
    whole = " ".join(words)
    cut = " ".join(words[:most])[: _CHARACTERS_A_WORD * most].rstrip(" ,;:–")
    return cut if cut == whole else f"{cut}…"


def short_title(title: str) -> str:
    """A source's title as our sentences name it: without its subtitle, cut short."""
    text = clean(title)
    head = _SUBTITLE.split(text, maxsplit=1)[0]
    return quotable(head if len(head.split()) > 1 else text)


def terms(text: str, *, least: int = 6) -> list[str]:
    """The words of a text that may say what it is about, of so many letters or more, the frequent ones first."""
    found = Counter(
        word
        for word in re.findall(rf"[^\W\d_]{{{least},20}}", clean(text))
        if word.casefold() not in _DULL and not word.endswith(_NO_NOUN)
    )
    unique: dict[str, str] = {}
    for word, _ in found.most_common():
        unique.setdefault(word.casefold(), word)
    return list(unique.values())


def read_subject(topic: str, bank: Bank) -> Subject:
    """Find the subject of a brief: its first line, without "write an article about", without a subtitle, cut short."""
    text = clean(topic)
    lines = [line for line in (clean(line) for line in topic.splitlines()) if any(map(str.isalnum, line))]
    phrase = (lines[0] if lines else text).lstrip("#*->•=+ ").strip()
    phrase = _SENTENCE_END.split(phrase, maxsplit=1)[0]
    if (lead := bank.lead.search(phrase[:200])) and any(map(str.isalnum, phrase[lead.end() :])):
        phrase = phrase[lead.end() :]
    head = _SUBTITLE.split(phrase, maxsplit=1)[0]
    phrase = head if sum(map(str.isalnum, head)) > 2 else phrase
    phrase, cut = _shortened(phrase.strip(" .,:;!\"“”„«»'") or text)
    inline = bank.language == "en" and not cut and _inline(phrase)
    title = capitalised(phrase)
    if bank.language == "en" and not cut:
        title = title_case(title)
    return Subject(
        phrase=_in_sentence(phrase) if inline else bank.quoted(phrase),
        title=title,
        inline=inline,
        keywords=_keywords(text, phrase),
    )


def _first_letter(text: str, *, upper: bool) -> str:
    for index, character in enumerate(text):
        if character.isalpha():
            return text[:index] + (character.upper() if upper else character.lower()) + text[index + 1 :]
        if character.isdigit():
            break
    return text


def _shortened(phrase: str) -> tuple[str, bool]:
    """At most `MAX_WORDS` and as many characters as its script allows, cut at a comma if one is near; and whether it
    was cut off in the middle."""
    words = phrase.split()
    # Ideographs say in one sign what takes a word elsewhere, and their writing has no spaces to cut at.
    most = MAX_IDEOGRAPHS if sum(c >= "\u2e80" for c in phrase) > len(phrase) / 2 else MAX_CHARACTERS
    head = phrase.split(", ", 1)[0]
    if 3 <= len(head.split()) <= MAX_WORDS and len(head) <= most:
        return head, False
    if len(words) <= MAX_WORDS and len(phrase) <= most:
        return phrase, False
    words = words[:_CUT_WORDS]
    while len(words) > 2 and (len(words[-1]) <= 3 or len(" ".join(words)) > most):
        words.pop()
    return " ".join(words)[:most].rstrip(" ,;:") + "…", True


def _inline(phrase: str) -> bool:
    """Whether an English phrase reads well after a preposition without quotation marks."""
    words = phrase.split()
    lower = [word.lower().strip(",'’()") for word in words]
    if len(words) > 8 or not phrase.isascii() or not re.fullmatch(r"[\w\s',()&/.+#-]+", phrase):
        return False
    if any(word in _FINITE for word in lower) and lower[0] not in _INDIRECT:
        return False
    content = [word for word in words if word.lower() not in _SMALL]
    # A title in title case is quoted as a title; one proper name, or two, is no title.
    return len(content) < 3 or not all(word[0].isupper() for word in content)


def _in_sentence(phrase: str) -> str:
    first = phrase.split(" ", 1)[0]
    if not first[1:].islower() and len(first) > 1:
        return phrase
    common = first.lower() in _COMMON or first.lower().endswith(_COMMON_ENDINGS)
    return uncapitalised(phrase) if common else phrase


def _keywords(text: str, phrase: str) -> tuple[str, ...]:
    """Words of a longer brief that its subject does not hold, the frequent ones first; at most forty."""
    if len(text.split()) <= 20:
        return ()
    taken = {word.casefold() for word in re.findall(r"\w+", phrase)}
    return tuple(word for word in terms(text) if word.casefold() not in taken)[:40]
