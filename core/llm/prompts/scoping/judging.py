"""What the simulator answers when it is asked which answers are vague, and what a stage found."""

from collections.abc import Mapping
from typing import Any

from core.contracts.scoping import Verdict
from core.contracts.scoping_charter import FindingsAnswer, FoundStatement, JudgeAnswer
from core.llm.prompts.longform.sentences import count_words
from core.llm.prompts.longform.subject import clean
from core.llm.prompts.scoping.phrases import Phrases, phrases_for
from core.llm.prompts.scoping.reading import Given, answers, joined, quoted, sentences

_QUOTED_WORDS, _QUESTION_WORDS, _INSTEAD_WORDS = 8, 24, 20
_HEDGED_WORDS = 30
"""A longer answer says something beside its hedges."""
_WANTED_CHARACTERS = 120
_STATEMENT_CHARACTERS = 640
_MOST_QUESTIONS = 12
"""That one finding may name."""


def compose_verdicts(inputs: Mapping[str, Any], seed: str) -> JudgeAnswer:
    """An answer is vague that is shorter than its question's rule allows, that hedges, or that has no digit where a
    figure is wanted. Follow-ups count as part of the answer, and a hedge counts in the last of them only."""
    phrases = phrases_for(str(inputs["language"]))
    return JudgeAnswer(verdicts=tuple(_verdict(question, phrases) for question in inputs["questions"]))


def _verdict(question: Given, phrases: Phrases) -> Verdict:
    said = answers(question)
    missing = _missing(question, said, phrases)
    if missing is None:
        return Verdict(question=str(question["id"]), vague=False, reason=phrases.say("clear"))
    reason, wanted = missing
    follow_up = ""
    if question["follow_ups_left"]:
        shown = quoted(phrases.bank, said[-1] if said else "", _QUOTED_WORDS)
        name = "ask_again" if len(said) > 1 else "ask_first" if any(map(str.isalnum, shown)) else "ask_blank"
        follow_up = phrases.say(name, x=shown, w=wanted)
    return Verdict(question=str(question["id"]), vague=True, reason=reason, follow_up=follow_up)


def _missing(question: Given, said: list[str], phrases: Phrases) -> tuple[str, str] | None:
    """What is wrong with an answer and what is wanted of it; None if it is clear."""
    wants = [clean(str(want))[:_WANTED_CHARACTERS] for want in question["wants"]]
    wanted = wants[0] if wants else phrases.say("concrete")
    words, least = sum(map(count_words, said)), int(question["min_words"])
    if words < least:
        return phrases.say("short", n=words, m=least), wanted
    for want in wants:
        if "figure" in want.casefold() and not any(map(str.isdigit, "".join(said))):
            return phrases.say("wanting", w=want), want
    short = said and count_words(said[-1]) < _HEDGED_WORDS
    if short and any(_open_ended(one, phrases) for one in sentences(said[-1])):
        return phrases.say("hedged"), wanted
    return None


def _open_ended(sentence: str, phrases: Phrases) -> bool:
    """Whether it hedges, and gives no figure all the same."""
    return phrases.hedges.search(sentence) is not None and not any(map(str.isdigit, sentence))


def compose_findings(inputs: Mapping[str, Any], seed: str) -> FindingsAnswer:
    """Each finding says what was said, in the answers' own words; where nobody could say, that it is assumed. No
    sentence comes twice."""
    phrases = phrases_for(str(inputs["language"]))
    questions = {str(question["id"]): question for question in inputs["questions"]}
    told: set[str] = set()
    return FindingsAnswer(
        findings=tuple(
            _finding(finding, [questions[str(id)] for id in finding["made_from"]], phrases, told)
            for finding in inputs["findings"]
        )
    )


def _finding(finding: Given, questions: list[Given], phrases: Phrases, told: set[str]) -> FoundStatement:
    """From the questions that have an answer if there are any: the others add nothing that is known."""
    answered = [question for question in questions if answers(question) and question["standing"] != "skipped"]
    used = (answered or questions)[:_MOST_QUESTIONS]
    # In turn, so that the first sentence of each answer has room.
    ranked = [ranked for question in used for ranked in enumerate(_parts(question, phrases))]
    parts = [part for _, part in sorted(ranked, key=lambda one: one[0])]
    fresh = [part for part in dict.fromkeys(parts) if part not in told]
    if not fresh:
        fresh = [f"{clean(str(finding['title']))}: {part}" for part in parts[:1]]
    told.update(fresh)
    return FoundStatement(
        finding=str(finding["id"]),
        statement=joined(fresh, _STATEMENT_CHARACTERS),
        rests_on=tuple(str(question["id"]) for question in used),
    )


def _parts(question: Given, phrases: Phrases) -> list[str]:
    """Sentences about one question, at least one. The last word comes first: it holds above what was said before it.

    Of an answer that does not hold nothing is left but what does.
    """
    shown = quoted(phrases.bank, str(question["question"]), _QUESTION_WORDS)
    because = sentences(str(question["because"]))
    if question["standing"] == "skipped":
        return [phrases.say("assumed", x=shown), *because]
    last, *before = [sentences(said) for said in reversed(answers(question))] or [[]]
    # What left the matter open was asked about, and answered since.
    parts = last + [one for said in before for one in said if not _open_ended(one, phrases)]
    settled = [(word, sentences(str(word["text"]))) for word in question["resolutions"]]
    if any(word["holds"] != "this" for word, _ in settled):
        parts = [_instead(word, parts, phrases) for word, text in settled if word["holds"] == "other" or not text]
    parts += [one for word, text in settled if word["holds"] != "other" for one in text]
    return parts or [phrases.say("assumed", x=shown), *because]


def _instead(word: Given, parts: list[str], phrases: Phrases) -> str:
    """What holds where an answer does not, if nobody put it into words of its own."""
    name, shown = ("instead", str(word["instead"])) if word["holds"] == "other" else ("unsettled", " ".join(parts))
    return phrases.say(name, x=quoted(phrases.bank, shown, _INSTEAD_WORDS))
