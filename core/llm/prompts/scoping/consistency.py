"""What the simulator answers when it is asked which answers contradict each other across stages."""

import re
from collections.abc import Iterator, Mapping
from itertools import combinations
from typing import Any, NamedTuple

from core.contracts.scoping_charter import ConsistencyAnswer, FoundContradiction
from core.llm.prompts.scoping.phrases import Phrases, phrases_for
from core.llm.prompts.scoping.reading import Given, answers, quoted, sentences

_MOST, _QUOTED_WORDS, _ASKED_WORDS = 8, 14, 8
# "1,200 tickets a week": a figure, what is counted, and the period if one is named.
_FIGURE = re.compile(
    r"(?<![\w.,-])(?P<figure>\d{1,3}(?:[.,\u00a0\u202f ]\d{3})+|\d+(?:[.,]\d+)?) (?P<noun>[^\W\d_]{4,})"
    r"(?: (?:an?|per|each|every|pro|je|par|por|al|alla|a la) (?P<period>[^\W\d_]{3,}))?"
)
_GROUPED = re.compile(r"\d{1,3}(?:[.,\u00a0\u202f ]\d{3})+")
# Of these there may be different ones in one project: they measure, and what they measure stands elsewhere.
_UNIT = re.compile(
    r"""percent|per[cs]on\w*|people|times|weeks?|days?|hours?|minutes?|months?|years?|seconds?|euros?|dollars?|pounds?
    |prozent|wochen?|tagen?|stunden?|minuten|monate?n?|jahre?n?|sekunden|semaines?|jours?|heures?|mois|années?|fois
    |pessoas?|semanas?|d[ií]as?|horas?|minutos?|meses|años?|anos?|veces|settiman[ae]|giorn[oi]|minut[oi]|mes[ei]|anni
    |volt[ae]|vezes|thousand|million|from|that|with|more|each|into""",
    re.VERBOSE,
)
_YEAR = re.compile(r"(?:19|20)\d\d")
_DENIED = re.compile(
    r"\b(?:no|without|keine?[mnrs]?|ohne|sans|pas de|sin|ning[uú]n[ao]?|senza|nessun[ao]?|sem|nenhum[a]?) "
    r"(?P<thing>(?!(?:more|other|such|longer|further|idea|ideas)\b)[^\W\d_]{4,} [^\W\d_]{3,})",
    re.IGNORECASE,
)
_DENYING = re.compile(
    r"\b(?:no|not|none|never|nor|without|\w+n['’]t|kein\w*|nicht|nie|ohne|ni|sans|pas|non|sin|nunca|senza|mai|não|sem)\b",
    re.IGNORECASE,
)


class _Claim(NamedTuple):
    """Something that a sentence says of a matter: two claims with different values contradict each other."""

    value: str
    sentence: str


class _Claims(NamedTuple):
    """What the answers to one question claim, by matter; the last claim about a matter holds."""

    stage: int
    question: str
    figures: dict[str, _Claim]
    sentences: list[str]


def compose_consistency(inputs: Mapping[str, Any], seed: str) -> ConsistencyAnswer:
    """Contradictions are the same thing counted differently in two stages ("400 tickets a week", "900 tickets a
    week"), and a thing denied in one stage that another speaks of ("no personal data", "personal data")."""
    phrases = phrases_for(str(inputs["language"]))
    settled = {frozenset((pair["first"], pair["second"])) for pair in inputs["settled"]}
    claims = [
        _claims(int(stage["number"]), question)
        for stage in inputs["stages"]
        for question in stage["questions"]
        if question["standing"] != "skipped"
    ]
    found = []
    for one, other in combinations(claims, 2):
        if one.stage != other.stage and frozenset((one.question, other.question)) not in settled:
            pair = next(_clashes(one, other), None)
            if pair is not None:
                found.append(_contradiction(one, other, pair, phrases))
    return ConsistencyAnswer(contradictions=tuple(found[:_MOST]))


def _claims(stage: int, question: Given) -> _Claims:
    said = [sentence for answer in answers(question) for sentence in sentences(answer)]
    figures = {key: claim for sentence in said for key, claim in _figures(sentence)}
    return _Claims(stage, str(question["id"]), figures, said)


def _figures(sentence: str) -> Iterator[tuple[str, _Claim]]:
    for match in _FIGURE.finditer(sentence):
        figure, noun = match["figure"], match["noun"].casefold()
        if _UNIT.fullmatch(noun) or _YEAR.fullmatch(figure):
            continue
        value = re.sub(r"\D", "", figure) if _GROUPED.fullmatch(figure) else figure.replace(",", ".")
        yield f"{noun.removesuffix('s')}/{(match['period'] or '').casefold()}", _Claim(value, sentence)


def _clashes(one: _Claims, other: _Claims) -> Iterator[tuple[str, str]]:
    """Pairs of sentences that cannot both hold."""
    for matter in one.figures.keys() & other.figures.keys():
        if one.figures[matter].value != other.figures[matter].value:
            yield one.figures[matter].sentence, other.figures[matter].sentence
    for denying, speaking, turned in ((one, other, False), (other, one, True)):
        for denial in denying.sentences:
            for match in _DENIED.finditer(denial):
                affirmed = _affirmed(match["thing"].casefold(), speaking)
                if affirmed is not None:
                    yield (affirmed, denial) if turned else (denial, affirmed)


def _affirmed(thing: str, claims: _Claims) -> str | None:
    """A sentence that speaks of the thing and denies nothing."""
    return next((one for one in claims.sentences if thing in one.casefold() and not _DENYING.search(one)), None)


def _contradiction(one: _Claims, other: _Claims, pair: tuple[str, str], phrases: Phrases) -> FoundContradiction:
    def say(name: str, most: int) -> str:
        x, y = (quoted(phrases.bank, sentence, most) for sentence in pair)
        return phrases.say(name, x=x, y=y)

    return FoundContradiction(
        first=one.question,
        second=other.question,
        why=say("against", _QUOTED_WORDS),
        question=say("which", _ASKED_WORDS),
    )
